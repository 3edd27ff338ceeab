"""What the engines and kernels ask of CUDA, whichever library gives it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from focusdepth_core.engine.base import EngineError

CHOICE = "FOCUSDEPTH_CUDA"  # environment variable
LIBRARIES = ("cudart", "pycuda")


@dataclass(frozen=True)
class Device:
    """The GPU. ``compute_capability``: such as "8.7"; ``cuda``: of the runtime library; ``driver``: its version, or the
    newest CUDA that it supports where the system does not tell; ``integrated``: shares the host's memory (Jetson)."""

    name: str
    compute_capability: str
    cuda: str
    driver: str
    memory_mb: int
    integrated: bool


@dataclass(frozen=True)
class Buffer:
    """``host``: uint8, page-locked; ``address``: the GPU's, of the same memory where host and GPU share it."""

    host: np.ndarray
    address: int
    shared: bool


class Cuda(Protocol):
    """Streams and graphs are handles. What fails raises ``EngineError`` with CUDA's name for it and what to do.

    Any thread may call, inside ``current()``; a buffer or stream is of one thread at a time.
    """

    device: Device

    def current(self) -> AbstractContextManager[object]:
        """Makes the GPU the calling thread's."""
        ...

    def buffer(self, size: int) -> Buffer: ...

    def stream(self) -> int: ...

    def upload(self, buffer: Buffer, size: int, stream: int) -> None:
        """The first ``size`` bytes to the GPU, in the order of the stream; nothing where they are shared."""
        ...

    def download(self, buffer: Buffer, size: int, stream: int) -> None: ...

    def synchronize(self, stream: int) -> None: ...

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """What ``work`` puts into the stream, as a graph; it is not run."""
        ...

    def launch(self, graph: int, stream: int) -> None: ...

    def times_ms(self, stream: int, *works: Callable[[], None]) -> list[float]:
        """How long the GPU takes for what each of ``works`` puts into the stream."""
        ...

    def release(self, buffer: Buffer) -> None: ...

    def release_stream(self, stream: int) -> None: ...

    def release_graph(self, graph: int) -> None: ...


def open_cuda() -> Cuda:
    """By the CUDA runtime library, or by PyCUDA where FOCUSDEPTH_CUDA=pycuda says so.

    Raises ``EngineError`` if that library, the driver or a GPU is missing, or the driver is too old.
    """
    choice = os.environ.get(CHOICE, LIBRARIES[0])
    if choice not in LIBRARIES:
        raise EngineError(f"{CHOICE} = '{choice}' is unknown; known: {', '.join(LIBRARIES)}")
    if choice == "pycuda":
        from focusdepth_core.engine.cuda.pycuda_driver import PyCuda

        return PyCuda()
    from focusdepth_core.engine.cuda.cudart import Cudart

    return Cudart()
