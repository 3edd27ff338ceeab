"""``pycuda.driver`` on the memory of a ``FakeCudart``: what ``PyCuda`` calls, with the names of the real one."""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.engine.fake_cudart import FakeCudart


class Error(Exception):
    pass


class MemoryError(Error):  # as pycuda calls it
    pass


def install(monkeypatch: pytest.MonkeyPatch, cuda: FakeCudart) -> None:
    """From now on ``import pycuda.driver`` gives this."""
    package, driver = ModuleType("pycuda"), ModuleType("pycuda.driver")
    for name, value in _names(cuda).items():
        setattr(driver, name, value)
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.setenv("FOCUSDEPTH_CUDA", "pycuda")


def _names(cuda: FakeCudart) -> dict[str, Any]:
    stack: list[Any] = []  # contexts that are current

    def allocate(function: str, *arguments: Any) -> int:
        assert stack, "there is no current context"
        pointer = ctypes.c_void_p()
        if getattr(cuda, function)(ctypes.byref(pointer), *arguments):
            raise MemoryError("out of memory")
        return pointer.value or 0

    class Device:
        def __init__(self, number: int) -> None:
            if cuda.status:
                raise Error("cuInit failed: no CUDA-capable device is detected")

        def name(self) -> str:
            return cuda.gpu

        def compute_capability(self) -> tuple[int, int]:
            return cuda.compute_capability

        def total_memory(self) -> int:
            return cuda.free

        def get_attribute(self, attribute: str) -> int:
            return {"INTEGRATED": int(cuda.integrated)}[attribute]

        def retain_primary_context(self) -> Any:
            return Context()

    class Context:
        def push(self) -> None:
            stack.append(self)

        @staticmethod
        def pop() -> None:
            stack.pop()

    class DeviceAllocation:
        def __init__(self, size: int) -> None:
            self._address = allocate("cudaMalloc", size)

        def __int__(self) -> int:
            return self._address

        def free(self) -> None:
            assert stack
            cuda.cudaFree(self._address)

    class HostAllocation(np.ndarray):
        def get_device_pointer(self) -> int:
            return self.ctypes.data

    def pagelocked_empty(shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> np.ndarray:
        assert bool(mem_flags) == cuda.integrated
        if shape > cuda.free:
            raise MemoryError("out of memory")
        host = np.empty(shape, dtype).view(HostAllocation)
        cuda.memory[host.ctypes.data] = host
        return host.view(np.ndarray) if mem_flags == 0 else host[:]

    class Stream:
        def __init__(self, flags: int = 0) -> None:
            self.handle = allocate("cudaStreamCreateWithFlags", flags)

        def __del__(self) -> None:
            cuda.cudaStreamDestroy(self.handle)

        def synchronize(self) -> None:
            assert stack

    class Event:
        def record(self, stream: Stream) -> None:
            assert stack

        def synchronize(self) -> None:
            assert stack

        def time_since(self, event: Event) -> float:
            return 0.5

    def memcpy_htod_async(dest: int, src: np.ndarray, stream: Stream) -> None:
        cuda.cudaMemcpyAsync(dest, src.ctypes.data, src.size, 1, stream.handle)

    def memcpy_dtoh_async(dest: np.ndarray, src: int, stream: Stream) -> None:
        cuda.cudaMemcpyAsync(dest.ctypes.data, src, dest.size, 2, stream.handle)

    return {
        "Error": Error,
        "MemoryError": MemoryError,
        "init": lambda: None,
        "Device": Device,
        "Context": Context,
        "device_attribute": SimpleNamespace(INTEGRATED="INTEGRATED"),
        "host_alloc_flags": SimpleNamespace(DEVICEMAP=2),
        "get_version": lambda: (12, 6, 0),
        "get_driver_version": lambda: 13000,
        "mem_alloc": DeviceAllocation,
        "pagelocked_empty": pagelocked_empty,
        "Stream": Stream,
        "Event": Event,
        "memcpy_htod_async": memcpy_htod_async,
        "memcpy_dtoh_async": memcpy_dtoh_async,
    }
