"""TensorRT: a serialized engine on the GPU that it was built for."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from threading import Lock
from typing import Any, Optional

import numpy as np

from focusdepth_core.engine.base import EngineError, OutOfMemory, check_inputs
from focusdepth_core.engine.cuda.frames import Frames
from focusdepth_core.engine.cuda.memory import Cuda, open_cuda
from focusdepth_core.engine.tensorrt_names import library
from focusdepth_core.engine.tensorrt_tensor import Shape, Tensor, input_limits, numpy_type, size
from focusdepth_core.perception.frame_input import FrameInput

LOG = logging.getLogger(__name__)
IMAGE = "image"  # the input that a frame may be given for
WARM_RUNS = 2  # of the same shapes before they are captured: TensorRT settles what depends on shapes in the first


class StalePlan(EngineError):
    """A plan that this TensorRT does not load here: damaged, or of another version or GPU. Building it again helps."""


class Graph:
    """At most one CUDA graph. ``handle``: 0 if there is none."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda, self.handle = cuda, 0

    def drop(self) -> None:
        if self.handle:
            self._cuda.release_graph(self.handle)
        self.handle = 0


class TensorRtEngine:
    """See ``Engine``. Any thread may call ``run``; calls wait for each other.

    ``plan``: from ``tensorrt_build.build``; ``network``: its name in messages. Runs whose shapes are those of the
    runs before are replayed as a CUDA graph, where that can be captured. ``takes_frames``: the image may be given as a
    ``FrameInput``, which the GPU then prepares; so where it has proven to do that right. ``frames_by``: what prepares
    them, and why it is not the GPU.

    Raises ``StalePlan`` for a plan that does not load, ``EngineError`` without TensorRT, driver, GPU or enough memory.
    """

    def __init__(self, plan: bytes, network: str) -> None:
        self._trt, self._cuda, self._network = library(), open_cuda(), network
        self.name = f"{self._trt}, {self._cuda.device.name}"
        self._wants_graph, self._graph, self._runs, self._lock = True, Graph(self._cuda), 0, Lock()
        self._resources = ExitStack()
        self._finalizer = weakref.finalize(self, self._resources.close)
        self._finalizer.atexit = False  # the process takes its memory along
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._stream = 0
        self._inputs: dict[str, Tensor] = {}
        self._outputs: list[Tensor] = []
        self._shapes: dict[str, Shape] = {}  # of the inputs, as the context has them
        self._frame: Optional[FrameInput] = None  # in place of the image of this run
        with self._cuda.current():
            try:
                self._load(plan)
            except BaseException:
                self.close()
                raise
            self._frames, self.frames_by = self._proven_frames()
        self.takes_frames = self._frames is not None

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Engine.run``. Raises ``EngineError`` also for more targets than the plan was built for."""
        with self._lock, self._cuda.current():
            self._give(inputs)
            self._prepare()
            if self._graph.handle:
                self._cuda.launch(self._graph.handle, self._stream)
            else:
                self._enqueue()
            self._cuda.synchronize(self._stream)
            self._runs += 1
            if self._wants_graph and self._runs >= WARM_RUNS and not self._graph.handle:
                self._capture()
            return {tensor.name: tensor.host(self._shape(tensor.name)).astype(np.float32) for tensor in self._outputs}

    @property
    def replays(self) -> bool:
        """Whether the next run, if its shapes are those of the last, is a graph's."""
        return bool(self._graph.handle)

    def stages_ms(self, inputs: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How long the GPU takes in a run without a graph: to prepare a frame, get the other inputs, compute, and give
        the outputs."""
        with self._lock, self._cuda.current():
            self._give(inputs)
            works = {
                "prepare": self._prepare,
                "upload": self._upload,
                "compute": self._execute,
                "download": self._download,
            }
            return dict(zip(works, self._cuda.times_ms(self._stream, *works.values())))

    def close(self) -> None:
        """Frees what it has on the GPU; it cannot run any more."""
        with self._lock:
            self._context = self._engine = self._runtime = None
            self._finalizer()

    def _load(self, plan: bytes) -> None:
        self._runtime = self._trt.create("Runtime")
        self._trt.errors.clear()
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._load_error()
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._trt.error(f"{self._network} cannot be made ready by {self._trt}", "it gave no reason")
        self._stream = self._cuda.stream()
        self._resources.callback(self._cuda.release_stream, self._stream)
        self._resources.callback(self._graph.drop)
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        mode = self._trt.api.TensorIOMode.INPUT
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        self._inputs = {name: self._tensor(name, *input_limits(self._engine, name)) for name in inputs}
        self._declared = {name: [None if s < 0 else s for s in tensor.shape] for name, tensor in self._inputs.items()}
        self._set_shapes({name: tensor.most for name, tensor in self._inputs.items()})
        shapes = {name: self._shape(name) for name in names if name not in inputs}  # the largest
        self._outputs = [self._tensor(name, shape, shape, shape) for name, shape in shapes.items()]
        for tensor in (*self._inputs.values(), *self._outputs):
            self._context.set_tensor_address(tensor.name, tensor.buffer.address)

    def _load_error(self) -> EngineError:
        error = self._trt.error(f"the engine of {self._network} cannot be loaded by {self._trt}", "it is damaged")
        return error if isinstance(error, OutOfMemory) else StalePlan(str(error))

    def _tensor(self, name: str, shape: Shape, least: Shape, most: Shape) -> Tensor:
        dtype = numpy_type(self._trt, self._engine, name)
        buffer = self._cuda.buffer(size(most, dtype))
        self._resources.callback(self._cuda.release, buffer)
        return Tensor(name, dtype, shape, least, most, buffer)

    def _proven_frames(self) -> tuple[Optional[Frames], str]:
        image = self._inputs.get(IMAGE)
        if image is None or image.dtype != np.float32 or -1 in image.shape:
            return None, f"the CPU: the network has no '{IMAGE}' of a fixed size in FP32"
        try:
            frames = Frames(self._cuda)
            self._resources.callback(frames.release)
            with self._cuda.current():  # which makes EngineErrors of PyCUDA's
                frames.prove(image.shape[3], image.shape[2], image.buffer, self._stream)
        except (EngineError, ValueError) as error:
            return None, f"the CPU: {error}"
        return frames, "the GPU"

    def _give(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Checks the inputs and puts them where the GPU gets them from."""
        if self._context is None:
            raise EngineError(f"{self._network} is closed")
        check_inputs(self._network, self._declared, inputs)
        image: object = inputs.get(IMAGE)
        frame = image if isinstance(image, FrameInput) and self.takes_frames else None
        shapes = {name: value.shape for name, value in inputs.items()}
        if shapes != self._shapes or (frame is None) != (self._frame is None):
            self._graph.drop()  # it may not outlive a change of the context that it was captured from
            self._runs = 0
            self._set_shapes(shapes)
        self._frame = frame
        for name, value in inputs.items():
            if value is not frame:
                self._inputs[name].host(value.shape)[...] = value

    def _set_shapes(self, shapes: dict[str, Shape]) -> None:
        for name, shape in shapes.items():
            tensor = self._inputs[name]
            if not tensor.takes(shape):
                raise EngineError(
                    f"the engine of {self._network} was built for '{name}' from {list(tensor.least)} to "
                    f"{list(tensor.most)}, but was given {list(shape)}; give fewer targets, or build it for more"
                )
        self._shapes = {}
        for name, shape in shapes.items():
            if -1 in self._inputs[name].shape and not self._context.set_input_shape(name, shape):
                raise self._trt.error(f"{self._network} does not take {list(shape)} for '{name}'", "no reason given")
        self._shapes = shapes

    def _shape(self, name: str) -> Shape:
        shape = tuple(self._context.get_tensor_shape(name))
        if -1 in shape:
            raise EngineError(f"{self._network}: the shape of '{name}' depends on values, {list(shape)}")
        return shape

    def _capture(self) -> None:
        capturable = getattr(self._context, "is_stream_capturable", None)  # of RTX, which compiles while it runs
        if capturable is not None and not capturable(self._stream):
            return
        try:
            self._graph.handle = self._cuda.capture(self._stream, self._enqueue)
        except EngineError as error:
            self._wants_graph = False
            LOG.warning("%s runs without a CUDA graph: %s", self._network, error)

    def _prepare(self) -> None:
        """Outside the graph, as frames may change their size."""
        if self._frame is not None and self._frames is not None:
            self._frames.fill(self._frame, self._inputs[IMAGE].buffer.address, self._stream)

    def _enqueue(self) -> None:
        self._upload()
        self._execute()
        self._download()

    def _upload(self) -> None:
        for name, shape in self._shapes.items():
            tensor = self._inputs[name]
            if name != IMAGE or self._frame is None:
                self._cuda.upload(tensor.buffer, tensor.size(shape), self._stream)

    def _execute(self) -> None:
        self._trt.errors.clear()
        if not self._context.execute_async_v3(self._stream):
            raise self._trt.error(f"{self._network} cannot be run by {self._trt}", "it gave no reason")

    def _download(self) -> None:
        for tensor in self._outputs:
            self._cuda.download(tensor.buffer, tensor.size(self._shape(tensor.name)), self._stream)
