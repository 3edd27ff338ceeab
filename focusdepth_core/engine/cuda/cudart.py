"""The CUDA runtime library by ctypes.

ctypes rather than cuda-bindings: whatever runs TensorRT has libcudart already, from CUDA 11.4 of JetPack 5 to 13, while
cuda-bindings needs an installation that fits the CUDA and the Python of each of them.
"""

from __future__ import annotations

import ctypes
import glob
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from focusdepth_core.engine.base import EngineError, OutOfMemory
from focusdepth_core.engine.cuda.memory import Buffer, Device

_HANDLE = POINTER(c_void_p)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaGetDeviceProperties": (c_void_p, c_int),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    "cudaRuntimeGetVersion": (POINTER(c_int),),
    "cudaDriverGetVersion": (POINTER(c_int),),
    "cudaMalloc": (_HANDLE, c_size_t),
    "cudaFree": (c_void_p,),
    "cudaHostAlloc": (_HANDLE, c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaHostGetDevicePointer": (_HANDLE, c_void_p, c_uint),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreateWithFlags": (_HANDLE, c_uint),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, _HANDLE),
    "cudaGraphInstantiateWithFlags": (_HANDLE, c_void_p, c_ulonglong),  # alike in all since CUDA 11.4
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
    "cudaEventCreate": (_HANDLE,),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventSynchronize": (c_void_p,),
    "cudaEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cudaEventDestroy": (c_void_p,),
    "cudaGetErrorName": (c_int,),
    "cudaGetLastError": (),
}
# Of cudaDeviceAttr, cudaMemcpyKind, cudaHostAlloc's flags, cudaStreamFlags and cudaStreamCaptureMode.
INTEGRATED, MAJOR, MINOR = 18, 75, 76
TO_DEVICE, TO_HOST = 1, 2
MAPPED, NON_BLOCKING, RELAXED = 2, 1, 2
OUT_OF_MEMORY, DRIVER_MISSING_OR_OLD, NO_DEVICE = 2, 35, 100
REMEDIES = {
    OUT_OF_MEMORY: "the GPU's memory is used up; close other programs, or take a smaller model or fewer targets",
    DRIVER_MISSING_OR_OLD: "the NVIDIA driver is missing or older than this CUDA; `nvidia-smi` shows what it supports",
    NO_DEVICE: "no GPU is visible; see `nvidia-smi` and the variable CUDA_VISIBLE_DEVICES",
}
PROPERTIES_BYTES = 8192  # more than cudaDeviceProp of any version, which begins with the name
DRIVER_VERSION = Path("/sys/module/nvidia/version")


class Cudart:
    """See ``Cuda``. The first GPU that is visible, in the process's primary context, which TensorRT and torch share."""

    def __init__(self) -> None:
        self._lib = _usable_library()
        self.device = self._device()

    def current(self) -> AbstractContextManager[object]:
        return nullcontext()  # the runtime library does it at each thread's first call

    def buffer(self, size: int) -> Buffer:
        shared, size = self.device.integrated, max(size, 1)
        pointer = self._new("cudaHostAlloc", size, MAPPED if shared else 0)
        host = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))
        try:
            address = self._new("cudaHostGetDevicePointer", pointer, 0) if shared else self._new("cudaMalloc", size)
        except EngineError:
            self._lib.cudaFreeHost(pointer)
            raise
        return Buffer(host, address, shared)

    def stream(self) -> int:
        return self._new("cudaStreamCreateWithFlags", NON_BLOCKING)

    def upload(self, buffer: Buffer, size: int, stream: int) -> None:
        if not buffer.shared:
            self._call("cudaMemcpyAsync", buffer.address, buffer.host.ctypes.data, size, TO_DEVICE, stream)

    def download(self, buffer: Buffer, size: int, stream: int) -> None:
        if not buffer.shared:
            self._call("cudaMemcpyAsync", buffer.host.ctypes.data, buffer.address, size, TO_HOST, stream)

    def synchronize(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        self._call("cudaStreamBeginCapture", stream, RELAXED)
        graph = c_void_p()
        try:
            work()
        except BaseException:
            self._lib.cudaStreamEndCapture(stream, byref(graph))
            if graph:
                self._lib.cudaGraphDestroy(graph)
            self._lib.cudaGetLastError()
            raise
        self._call("cudaStreamEndCapture", stream, byref(graph))
        try:
            return self._new("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            self._lib.cudaGraphDestroy(graph)

    def launch(self, graph: int, stream: int) -> None:
        self._call("cudaGraphLaunch", graph, stream)

    def times_ms(self, stream: int, *works: Callable[[], None]) -> list[float]:
        events = [self._new("cudaEventCreate") for _ in range(len(works) + 1)]
        try:
            self._call("cudaEventRecord", events[0], stream)
            for work, event in zip(works, events[1:]):
                work()
                self._call("cudaEventRecord", event, stream)
            self._call("cudaEventSynchronize", events[-1])
            return [self._elapsed(*pair) for pair in zip(events, events[1:])]
        finally:
            for event in events:
                self._lib.cudaEventDestroy(event)

    def release(self, buffer: Buffer) -> None:
        if not buffer.shared:
            self._lib.cudaFree(buffer.address)
        self._lib.cudaFreeHost(buffer.host.ctypes.data)

    def release_stream(self, stream: int) -> None:
        self._lib.cudaStreamDestroy(stream)

    def release_graph(self, graph: int) -> None:
        self._lib.cudaGraphExecDestroy(graph)

    def _elapsed(self, first: int, second: int) -> float:
        ms = c_float()
        self._call("cudaEventElapsedTime", byref(ms), first, second)
        return ms.value

    def _new(self, function: str, *arguments: Any) -> int:
        """What the function puts into its first argument."""
        handle = c_void_p()
        self._call(function, byref(handle), *arguments)
        return handle.value or 0

    def _call(self, function: str, *arguments: Any) -> None:
        self._check(getattr(self._lib, function)(*arguments), function)

    def _check(self, status: int, function: str) -> None:
        if status:
            self._lib.cudaGetLastError()  # forgets it, else another user of the library takes it for its own
            kind = OutOfMemory if status == OUT_OF_MEMORY else EngineError
            raise kind(f"{function} failed: {_reason(self._lib, status)}")

    def _device(self) -> Device:
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        self._call("cudaGetDeviceProperties", properties, 0)
        free, total = c_size_t(), c_size_t()
        self._call("cudaMemGetInfo", byref(free), byref(total))
        driver = DRIVER_VERSION.read_text().strip() if DRIVER_VERSION.is_file() else ""
        return Device(
            name=properties.value.decode(errors="replace"),
            compute_capability=f"{self._attribute(MAJOR)}.{self._attribute(MINOR)}",
            cuda=self._version("cudaRuntimeGetVersion"),
            driver=driver or f"for CUDA {self._version('cudaDriverGetVersion')}",
            memory_mb=total.value >> 20,
            integrated=bool(self._attribute(INTEGRATED)),
        )

    def _attribute(self, attribute: int) -> int:
        value = c_int()
        self._call("cudaDeviceGetAttribute", byref(value), attribute, 0)
        return value.value

    def _version(self, function: str) -> str:
        value = c_int()
        self._call(function, byref(value))
        return f"{value.value // 1000}.{value.value % 1000 // 10}"


def libraries() -> list[Any]:
    """The CUDA runtimes of this machine: of the system, of Python packages, and beside the compiler."""
    names = [f"libcudart.so.{version}" for version in ("13", "12", "11.0")]
    patterns = [f"{folder or '.'}/nvidia/*/lib/libcudart.so.*" for folder in sys.path]
    patterns += ["/usr/local/cuda*/lib64/libcudart.so.*", "/usr/local/cuda*/targets/*/lib/libcudart.so.*"]
    found = []
    for name in [*names, *(path for pattern in patterns for path in sorted(glob.glob(pattern), reverse=True))]:
        try:
            found.append(declared(ctypes.CDLL(name)))
        except (OSError, AttributeError):  # not there, or of another machine or CUDA
            continue
    return found


def declared(library: Any) -> Any:
    """With the types of what is called. Raises ``AttributeError`` if it lacks a function."""
    for name, arguments in SIGNATURES.items():
        getattr(library, name).argtypes = arguments
    library.cudaGetErrorName.restype = c_char_p
    return library


def _usable_library() -> Any:
    """The first that the driver supports: one machine may have several."""
    reason = (
        "no libcudart.so of CUDA 11 to 13 is here; it comes with JetPack, CUDA or `pip install nvidia-cuda-runtime`"
    )
    count = c_int()
    for library in libraries():
        status = library.cudaGetDeviceCount(byref(count))
        if not status and count.value:
            return library
        reason = _reason(library, status or NO_DEVICE)
    raise EngineError(f"CUDA cannot be used: {reason}")


def _reason(library: Any, status: int) -> str:
    name = library.cudaGetErrorName(status).decode()
    return f"{name}; {REMEDIES[status]}" if status in REMEDIES else name
