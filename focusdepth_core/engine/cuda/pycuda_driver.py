"""PyCUDA in place of the CUDA runtime library, for those who have the rest of their program on it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from focusdepth_core.engine.base import EngineError, OutOfMemory
from focusdepth_core.engine.cuda.cudart import NON_BLOCKING
from focusdepth_core.engine.cuda.memory import Buffer, Device


class PyCuda:
    """See ``Cuda``; it has no graphs. The first GPU's primary context, which TensorRT and torch use too."""

    def __init__(self) -> None:
        try:
            driver: Any = importlib.import_module("pycuda.driver")
        except ImportError as error:
            raise EngineError(
                f"pycuda cannot be imported ({error}); install it: pip install pycuda, or leave FOCUSDEPTH_CUDA unset"
            ) from None
        self._driver = driver
        self._allocations: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        try:
            driver.init()
            gpu = driver.Device(0)
            self._context = gpu.retain_primary_context()
        except driver.Error as error:
            raise EngineError(f"CUDA cannot be used by pycuda: {error}; see `nvidia-smi`") from None
        major, minor = gpu.compute_capability()
        self.device = Device(
            name=gpu.name(),
            compute_capability=f"{major}.{minor}",
            cuda=".".join(map(str, driver.get_version()[:2])),
            driver=f"for CUDA {driver.get_driver_version() // 1000}.{driver.get_driver_version() % 1000 // 10}",
            memory_mb=gpu.total_memory() >> 20,
            integrated=bool(gpu.get_attribute(driver.device_attribute.INTEGRATED)),
        )

    def current(self) -> AbstractContextManager[object]:
        return self._pushed()

    @contextmanager
    def _pushed(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        except self._driver.MemoryError as error:
            raise OutOfMemory(f"{error}; close other programs, or take a smaller model or fewer targets") from None
        except self._driver.Error as error:
            raise EngineError(str(error)) from None
        finally:
            self._driver.Context.pop()

    def buffer(self, size: int) -> Buffer:
        shared, size = self.device.integrated, max(size, 1)
        flags = self._driver.host_alloc_flags.DEVICEMAP if shared else 0
        host = self._driver.pagelocked_empty(size, np.uint8, mem_flags=flags)
        if shared:
            return Buffer(host, int(host.base.get_device_pointer()), shared)
        allocation = self._driver.mem_alloc(size)
        self._allocations[int(allocation)] = allocation
        return Buffer(host, int(allocation), shared)

    def stream(self) -> int:
        stream = self._driver.Stream(NON_BLOCKING)
        self._streams[stream.handle] = stream
        return int(stream.handle)

    def upload(self, buffer: Buffer, size: int, stream: int) -> None:
        if not buffer.shared:
            self._driver.memcpy_htod_async(buffer.address, buffer.host[:size], self._streams[stream])

    def download(self, buffer: Buffer, size: int, stream: int) -> None:
        if not buffer.shared:
            self._driver.memcpy_dtoh_async(buffer.host[:size], buffer.address, self._streams[stream])

    def synchronize(self, stream: int) -> None:
        self._streams[stream].synchronize()

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        raise EngineError("pycuda cannot capture")

    def launch(self, graph: int, stream: int) -> None:
        raise EngineError("pycuda has no graphs")

    def times_ms(self, stream: int, *works: Callable[[], None]) -> list[float]:
        events = [self._driver.Event() for _ in range(len(works) + 1)]
        events[0].record(self._streams[stream])
        for work, event in zip(works, events[1:]):
            work()
            event.record(self._streams[stream])
        events[-1].synchronize()
        return [later.time_since(event) for event, later in zip(events, events[1:])]

    def release(self, buffer: Buffer) -> None:
        """The page-locked memory goes with its array."""
        with self._pushed():
            if not buffer.shared:
                self._allocations.pop(buffer.address).free()

    def release_stream(self, stream: int) -> None:
        with self._pushed():
            del self._streams[stream]

    def release_graph(self, graph: int) -> None:
        """There are none."""
