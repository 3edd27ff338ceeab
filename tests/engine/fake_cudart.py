"""The CUDA runtime library on host memory: what ``Cudart`` calls, as ctypes would take it.

Streams run at once, except while they are captured; then what is put into them becomes the graph.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from focusdepth_core.engine.cuda import cudart

NAMES = {0: b"cudaSuccess", 2: b"cudaErrorMemoryAllocation", 35: b"cudaErrorInsufficientDriver"}
NAMES |= {100: b"cudaErrorNoDevice", 901: b"cudaErrorStreamCaptureInvalidated"}
GIB = 1 << 30


@dataclass
class FakeCudart:
    """``status``: of the first call, 35 without a driver or with an old one, 100 without a GPU; ``free``: bytes."""

    gpu: str = "NVIDIA Fake"
    compute_capability: tuple[int, int] = (9, 0)
    integrated: bool = False
    status: int = 0
    free: int = GIB
    capturable: bool = True
    memory: dict[int, Any] = field(default_factory=dict)  # device and host allocations by address
    handles: set[int] = field(default_factory=set)  # streams, events and graphs that live
    graphs: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    launched: int = 0
    _captured: Any = None
    _count: int = 0

    def enqueue(self, work: Callable[[], None]) -> None:
        """What TensorRT or a copy puts into a stream."""
        if self._captured is None:
            work()
        else:
            self._captured.append(work)

    def cudaGetDeviceCount(self, count: Any) -> int:
        count._obj.value = 0 if self.status else 1
        return self.status

    def cudaGetDeviceProperties(self, properties: Any, device: int) -> int:
        properties.value = self.gpu.encode()
        return 0

    def cudaDeviceGetAttribute(self, value: Any, attribute: int, device: int) -> int:
        major, minor = self.compute_capability
        known = {cudart.MAJOR: major, cudart.MINOR: minor, cudart.INTEGRATED: int(self.integrated)}
        value._obj.value = known[attribute]
        return 0

    def cudaMemGetInfo(self, free: Any, total: Any) -> int:
        free._obj.value = total._obj.value = self.free
        return 0

    def cudaRuntimeGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0

    cudaDriverGetVersion = cudaRuntimeGetVersion

    def cudaMalloc(self, pointer: Any, size: int) -> int:
        if size > self.free:
            return 2
        allocation = ctypes.create_string_buffer(size)
        self.free -= size
        pointer._obj.value = ctypes.addressof(allocation)
        self.memory[pointer._obj.value] = allocation
        return 0

    def cudaHostAlloc(self, pointer: Any, size: int, flags: int) -> int:
        assert flags == (cudart.MAPPED if self.integrated else 0)
        return self.cudaMalloc(pointer, size)

    def cudaHostGetDevicePointer(self, pointer: Any, host: int, flags: int) -> int:
        assert self.integrated and host in self.memory
        pointer._obj.value = host
        return 0

    def cudaFree(self, address: int) -> int:
        self.free += len(self.memory.pop(address))
        return 0

    cudaFreeHost = cudaFree

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> int:
        assert stream in self.handles and size <= len(self.memory[to]) and size <= len(self.memory[source])
        self.enqueue(lambda: ctypes.memmove(to, source, size))
        return 0

    def _new(self, handle: Any) -> int:
        self._count += 1
        handle._obj.value = self._count
        self.handles.add(self._count)
        return 0

    def _destroy(self, handle: int) -> int:
        self.handles.remove(handle)
        return 0

    def cudaStreamCreateWithFlags(self, stream: Any, flags: int) -> int:
        return self._new(stream)

    cudaStreamDestroy = cudaEventDestroy = cudaGraphExecDestroy = _destroy

    def cudaStreamSynchronize(self, stream: int) -> int:
        return 0 if stream in self.handles and self._captured is None else 901

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> int:
        assert stream in self.handles and self._captured is None
        self._captured = []
        return 0

    def cudaStreamEndCapture(self, stream: int, graph: Any) -> int:
        works, self._captured = self._captured, None
        if not self.capturable:
            return 901
        self._new(graph)
        self.graphs[graph._obj.value] = works
        return 0

    def cudaGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: int) -> int:
        self._new(executable)
        self.graphs[executable._obj.value] = self.graphs[graph.value]
        return 0

    def cudaGraphDestroy(self, graph: Any) -> int:
        return self._destroy(graph.value)

    def cudaGraphLaunch(self, executable: int, stream: int) -> int:
        assert executable in self.handles and stream in self.handles
        self.launched += 1
        for work in self.graphs[executable]:
            work()
        return 0

    def cudaEventCreate(self, event: Any) -> int:
        return self._new(event)

    def cudaEventRecord(self, event: int, stream: int) -> int:
        assert event in self.handles and stream in self.handles
        return 0

    def cudaEventSynchronize(self, event: int) -> int:
        return 0

    def cudaEventElapsedTime(self, ms: Any, first: int, second: int) -> int:
        assert first in self.handles and second in self.handles
        ms._obj.value = 0.5
        return 0

    def cudaGetLastError(self) -> int:
        return 0

    def cudaGetErrorName(self, status: int) -> bytes:
        return NAMES[status]
