"""Opens networks with a backend by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Optional

from focusdepth_core.engine.base import Engine, EngineError, Texts
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.proven import TensorRtModel
from focusdepth_core.engine.self_check import FOCUS, PLAIN
from focusdepth_core.engine.settings import FP32
from focusdepth_core.engine.staged import joined
from focusdepth_core.engine.tensorrt_build import runtime
from focusdepth_core.engine.text_cache import TextCache

TENSORRT, ONNXRUNTIME, TORCH, COMPILED = BACKENDS = ("tensorrt", "onnxruntime", "torch", "torch-compiled")

Report = Callable[[str], None]


class Networks(NamedTuple):
    """Of one model: the prompted network, the one for frames without a target, what texts mean to the first, and
    ``why`` they run on what they run."""

    focus: Engine
    plain: Engine
    texts: Optional[Texts]
    why: str = "chosen"


def open_model(
    model: ModelFolder, backend: str = "auto", threads: int = 0, report: Optional[Report] = None
) -> Networks:
    """``backend``: auto takes TensorRT where that and a GPU can be used, else ONNX Runtime, else torch; and torch for a
    model without ONNX files. ``torch-compiled`` is torch in FP16 with CUDA graphs. ``threads``: CPU threads per
    inference, 0 = the backend's choice; ``report``: is told in a sentence what takes long, or is not as it should be,
    and at the end what was chosen and why.

    Raises ``ValueError`` for an unknown backend or a negative number of threads, ``EngineError`` if the backend is not
    installed, the folder lacks what it runs, or a file is no network.
    """
    _check(backend, threads)
    report = report or (lambda sentence: None)
    networks = _auto(model, threads, report) if backend == "auto" else _open(model, backend, threads, report)
    report(f"runs on {networks.focus.name}: {networks.why}")
    return networks


def open_engine(path: Path, backend: str = "auto", threads: int = 0) -> Engine:
    """The network in the ONNX file ``path``, by ONNX Runtime; other backends run whole folders. Raises as
    ``open_model``."""
    _check(backend, threads)
    if backend not in ("auto", ONNXRUNTIME):
        raise EngineError(f"{path.name} is an ONNX file; {backend} runs whole model folders")
    from focusdepth_core.engine.onnxruntime_backend import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, threads)


def open_network(model: ModelFolder, network: str, precision: str, threads: int = 0) -> Engine:
    """``network``: focus or plain; by ONNX Runtime. Raises as ``open_model``."""
    return joined([open_engine(path, ONNXRUNTIME, threads) for path in model.networks(network, precision).values()])


def _auto(model: ModelFolder, threads: int, report: Report) -> Networks:
    if model.focus is None:
        return _open(model, TORCH, threads, report)._replace(why="the model has no ONNX files")
    try:
        runtime()
    except EngineError as error:
        why = str(error)
    else:
        try:
            return _open(model, TENSORRT, threads, report)
        except EngineError as error:
            why = str(error)
            report(f"TensorRT is not used: {why}")
    if find_spec("onnxruntime") is None:
        return _open(model, TORCH, threads, report)._replace(why=f"onnxruntime is not installed; {why}")
    return _open(model, ONNXRUNTIME, threads, report)._replace(why=why)


def _open(model: ModelFolder, backend: str, threads: int, report: Report) -> Networks:
    if backend in (TORCH, COMPILED):
        return _open_torch(model, threads, backend == COMPILED)
    if model.focus is None or model.plain is None:
        raise EngineError(
            f"model {model.name} has no ONNX files; write them with `python -m focusdepth_core.engine export "
            f"{model.path} OUT`, or choose the backend torch"
        )
    texts = None if model.texts is None else TextCache(model.texts)
    if backend == TENSORRT:
        return _open_tensorrt(model, texts, report)
    return Networks(open_network(model, FOCUS, FP32, threads), open_network(model, PLAIN, FP32, threads), texts)


def _open_tensorrt(model: ModelFolder, texts: Optional[Texts], report: Report) -> Networks:
    tensorrt = TensorRtModel(model, texts, report)
    focus, plain = tensorrt.open(FOCUS), tensorrt.open(PLAIN)
    preparation = dict.fromkeys(built.parts[-1].engine.frames_by for built in (focus, plain))  # the last has the image
    why = (
        f"TensorRT and a GPU are there; focus in {focus.precision}, plain in {plain.precision}; frames are prepared by "
        f"{', '.join(preparation)}"
    )
    return Networks(focus.engine, plain.engine, texts, why)


def _open_torch(model: ModelFolder, threads: int, compiled: bool) -> Networks:
    try:
        from focusdepth_core.engine.torch_backend import open_folder
    except ImportError as error:
        raise EngineError(
            f"model {model.name} cannot be run by torch ({error}); install it: pip install focusdepth_core[train]"
        ) from None
    return Networks(*open_folder(model, threads, compiled))


def _check(backend: str, threads: int) -> None:
    if threads < 0:
        raise ValueError(f"threads = {threads}; give a number of CPU threads, or 0 for the backend's choice")
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend '{backend}' is unknown; known: auto, {', '.join(BACKENDS)}")
