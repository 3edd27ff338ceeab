"""Opens an ONNX file with a backend by name."""

from __future__ import annotations

from pathlib import Path

from focusdepth_core.engine.base import Engine

BACKENDS = ("onnxruntime",)


def open_engine(path: Path, backend: str = "auto", threads: int = 0) -> Engine:
    """The network in the ONNX file ``path``; ``threads``: CPU threads per inference, 0 = the backend's choice.

    Raises ``ValueError`` for an unknown backend or a negative number of threads, ``EngineError`` if the backend is not
    installed or the file is no network.
    """
    if threads < 0:
        raise ValueError(f"threads = {threads}; give a number of CPU threads, or 0 for the backend's choice")
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend '{backend}' is unknown; known: auto, {', '.join(BACKENDS)}")
    from focusdepth_core.engine.onnxruntime_backend import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, threads)
