"""Opens networks with a backend by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Optional

from focusdepth_core.engine.base import Engine, EngineError, Texts
from focusdepth_core.engine.model_folder import ModelFolder, Stages
from focusdepth_core.engine.staged import StagedEngine
from focusdepth_core.engine.text_cache import TextCache

BACKENDS = ("onnxruntime", "torch")


class Networks(NamedTuple):
    """Of one model: the prompted network, the one for frames without a target, and what texts mean to the first."""

    focus: Engine
    plain: Engine
    texts: Optional[Texts]


def open_model(
    model: ModelFolder, backend: str = "auto", threads: int = 0, report: Optional[Callable[[str], None]] = None
) -> Networks:
    """``backend``: auto takes the model's ONNX files, or torch for a model that has none; ``threads``: CPU threads per
    inference, 0 = the backend's choice; ``report``: is told in a sentence what takes long, or is not as it should be.

    Raises ``ValueError`` for an unknown backend or a negative number of threads, ``EngineError`` if the backend is not
    installed, the folder lacks what it runs, or a file is no network.
    """
    _check(backend, threads)
    if backend == "torch" or (backend == "auto" and model.focus is None):
        return _open_torch(model, threads)
    if model.focus is None or model.plain is None:
        raise EngineError(
            f"model {model.name} has no ONNX files; write them with `python -m focusdepth_core.engine export "
            f"{model.path} OUT`, or choose the backend torch"
        )
    texts = None if model.texts is None else TextCache(model.texts)
    plain = open_engine(model.plain, backend, threads)
    if not isinstance(model.focus, Stages):
        return Networks(open_engine(model.focus, backend, threads), plain, texts)
    stages = (open_engine(p, backend, threads) for p in (model.focus.vision, model.focus.prompt, model.focus.geometry))
    return Networks(StagedEngine(*stages), plain, texts)


def open_engine(path: Path, backend: str = "auto", threads: int = 0) -> Engine:
    """The network in the ONNX file ``path``. Raises as ``open_model``."""
    _check(backend, threads)
    if backend == "torch":
        raise EngineError(f"{path.name} is an ONNX file; torch runs whole model folders")
    from focusdepth_core.engine.onnxruntime_backend import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, threads)


def _open_torch(model: ModelFolder, threads: int) -> Networks:
    try:
        from focusdepth_core.engine.torch_backend import open_folder
    except ImportError as error:
        raise EngineError(
            f"model {model.name} cannot be run by torch ({error}); install it: pip install focusdepth_core[train]"
        ) from None
    return Networks(*open_folder(model, threads))


def _check(backend: str, threads: int) -> None:
    if threads < 0:
        raise ValueError(f"threads = {threads}; give a number of CPU threads, or 0 for the backend's choice")
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend '{backend}' is unknown; known: auto, {', '.join(BACKENDS)}")
