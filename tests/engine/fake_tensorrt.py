"""A ``tensorrt`` of any version from 8.5 to 11 that computes with ONNX Runtime on the host and can be told to fail.

Every name in it is in the bindings of that version, with the same parameters; ``test_tensorrt_names.py`` holds it to
them. So code that runs here names nothing that the real one lacks.

    fake = fake_tensorrt.install(monkeypatch, "10.3.0")
    fake.outputs_of = lambda name, value: value + 1     # wrong results
    fake.build_error = "..."; fake.run_error = "..."    # what TensorRT logs when it then gives up
    fake.cuda.status = 35; fake.cuda.free = 1000        # no driver; little memory on the GPU
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cuda import cudart, kernels
from tests.engine.fake_cudart import FakeCudart

VERSIONS = ("8.5.3.1", "8.6.1", "10.3.0", "10.13.0.35", "11.4.0.106")
MAGIC = b"fake plan "
NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
FLOAT, HALF = 0, 1


@dataclass
class Fake:
    """``builds``: ONNX files built so far; ``flags`` and others: what the last build asked for."""

    version: str
    flavour: str
    cuda: FakeCudart
    build_error: str = ""
    run_error: str = ""
    outputs_of: Callable[[str, np.ndarray], np.ndarray] = lambda name, value: value
    while_building: Callable[[], object] = lambda: None
    builds: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    network_flags: set[str] = field(default_factory=set)
    layers: list[Any] = field(default_factory=list)
    workspace: int = 0
    cancelled: bool = False
    runs: int = 0

    @property
    def major(self) -> int:
        return 10 if self.flavour == "tensorrt_rtx" else int(self.version.split(".")[0])


class Strict:
    """Takes no attributes but its own, as the bindings' classes do."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name) and name not in type(self).__annotations__:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        super().__setattr__(name, value)


def install(
    monkeypatch: pytest.MonkeyPatch,
    version: str = "10.3.0",
    flavour: str = "tensorrt",
    cuda: Optional[FakeCudart] = None,
) -> Fake:
    """From now on ``import tensorrt`` gives this and the CUDA runtime library is ``cuda``."""
    fake = Fake(version, flavour, cuda or FakeCudart())
    monkeypatch.setattr(cudart, "libraries", lambda: [fake.cuda])
    monkeypatch.setattr(kernels, "driver", _no_driver)  # a real one would be given addresses of the host
    kernels.kernels.cache_clear()
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, module(fake) if name == flavour else None)
    return fake


def _no_driver() -> Any:
    raise EngineError("there is no driver")


def module(fake: Fake) -> Any:
    found = ModuleType(fake.flavour)
    found.__version__ = fake.version  # type: ignore[attr-defined]
    found.__spec__ = ModuleSpec(fake.flavour, None)  # libraries look whether there is a TensorRT
    for name, value in {**_enums(fake), **_building(fake), **_running(fake)}.items():
        setattr(found, name, value)
    return found


def _enums(fake: Fake) -> dict[str, Any]:
    weak, old = fake.major < 11 and fake.flavour == "tensorrt", fake.major < 10
    flags = ["TF32"] + ["FP16", "INT8", "PREFER_PRECISION_CONSTRAINTS"] * weak
    networks = ["EXPLICIT_BATCH"] * weak + ["STRONGLY_TYPED"] * (not old)
    sources = ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"] + ["CUBLAS_LT"] * weak
    features = ["DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"] * old
    enums = {
        **({"OnnxParserFlag": ["NATIVE_INSTANCENORM"]} if fake.version > "8.5.4" or fake.major >= 10 else {}),
        "BuilderFlag": flags,
        "NetworkDefinitionCreationFlag": networks,
        "TacticSource": sources,
        "PreviewFeature": features or ["ALIASED_PLUGIN_IO_10_03"],
        "DataType": ["FLOAT", "HALF", "INT8", "INT32", "BOOL"],
        "TensorIOMode": ["NONE", "INPUT", "OUTPUT"],
        "MemoryPoolType": ["WORKSPACE"],
    }
    if fake.flavour == "tensorrt_rtx":
        enums["ComputeCapability"] = ["SM86", "SM89", "SM120"]
    return {name: IntEnum(name, members, start=0) for name, members in enums.items()}


def _building(fake: Fake) -> dict[str, Any]:
    """Classes whose names a build uses."""

    class ILogger:
        class Severity(IntEnum):
            INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def log(self, severity: Severity, msg: str) -> None:
            raise NotImplementedError

    class IProgressMonitor:
        def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
            raise NotImplementedError

        def step_complete(self, phase_name: str, step: int) -> bool:
            raise NotImplementedError

        def phase_finish(self, phase_name: str) -> None:
            raise NotImplementedError

    class Builder:
        def __init__(self, logger: ILogger) -> None:
            if fake.cuda.status:
                logger.log(ILogger.Severity.ERROR, f"CUDA initialization failure with error: {fake.cuda.status}")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self._logger = logger

        def create_network(self, flags: int = 0) -> INetworkDefinition:
            kinds = _enums(fake)["NetworkDefinitionCreationFlag"]
            fake.network_flags = {kind.name for kind in kinds if flags >> kind & 1}
            assert flags < 1 << len(kinds)
            return INetworkDefinition()

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Optional[bytes]:
            fake.builds.append(network._path.name)
            fake.flags, fake.workspace, fake.layers = config._flags, config._workspace, network._layers
            monitor = getattr(config, "progress_monitor", None)
            if monitor is not None:
                monitor.phase_start("Building", None, 2)
                monitor.step_complete("Building", 0)
            fake.while_building()
            fake.cancelled = monitor is not None and not monitor.step_complete("Building", 1)
            if fake.cancelled:
                return None
            if monitor is not None:
                monitor.phase_finish("Building")
            error = fake.build_error or config._missing(network)
            if error:
                self._logger.log(ILogger.Severity.ERROR, error)
                return None
            return _plan(fake, network._proto, config._shapes)

    class ITensor(Strict):
        name: str
        shape: tuple[int, ...]
        dtype: int
        is_shape_tensor: bool

        def __init__(self, name: str, shape: Sequence[int], dtype: int) -> None:
            self.name, self.shape, self.is_shape_tensor = name, tuple(shape), False
            self.dtype = _enums(fake)["DataType"](dtype)

    class ILayer(Strict):
        num_inputs: int
        num_outputs: int

        def __init__(self, output: ITensor) -> None:
            self._output, self.num_inputs, self.num_outputs = output, 0, 1
            if fake.major < 11 and fake.flavour == "tensorrt":
                self._precision = output.dtype

        def get_output(self, index: int) -> ITensor:
            return self._output

        def get_input(self, index: int) -> ITensor:
            raise AssertionError("there are no inputs")

    def precision(layer: Any, kind: int) -> None:
        layer._precision, layer._constrained = kind, True

    if fake.major < 11 and fake.flavour == "tensorrt":
        ILayer.precision = property(lambda layer: layer._precision, precision)  # type: ignore[attr-defined]

    class INetworkDefinition:
        def __init__(self) -> None:
            self._inputs: list[ITensor] = []
            self._layers: list[ILayer] = []
            self._path, self._proto = Path(), b""

        @property
        def num_inputs(self) -> int:
            return len(self._inputs)

        @property
        def num_layers(self) -> int:
            return len(self._layers)

        def get_input(self, index: int) -> ITensor:
            return self._inputs[index]

        def get_layer(self, index: int) -> ILayer:
            return self._layers[index]

    class ParserError:
        def __init__(self, text: str) -> None:
            self._text = text

        def node(self) -> int:
            return -1

        def desc(self) -> str:
            return self._text

    class OnnxParser:
        def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
            self._network, self._errors, self._native = network, list[ParserError](), False

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> ParserError:
            return self._errors[index]

        def parse_from_file(self, model: str) -> bool:
            import onnx

            self._network._path = Path(model)
            try:
                proto = onnx.load(model)  # with weights that lie beside it
                self._network._proto = proto.SerializeToString()
                session, graph = _session(self._network._proto), proto.graph
            except Exception as error:  # ONNX Runtime's own classes have no other common base
                self._errors.append(ParserError(str(error)))
                return False
            for value in session.get_inputs():
                shape = [side if isinstance(side, int) else -1 for side in value.shape]
                self._network._inputs.append(ITensor(value.name, shape, FLOAT))
            halves = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
            if not self._native and any(node.op_type == "InstanceNormalization" for node in graph.node):
                self._errors.append(ParserError("InstanceNormalization plugin was not found in the plugin registry!"))
                return False
            for node in graph.node:
                to = [attribute.i for attribute in node.attribute if attribute.name == "to"]
                half = to == [onnx.TensorProto.FLOAT16] or (not to and set(node.input) & halves)
                halves |= set(node.output) if half else set()
                self._network._layers.append(ILayer(ITensor(node.output[0], (), HALF if half else FLOAT)))
            constants = [ITensor(name, (), HALF) for name in halves & {tensor.name for tensor in graph.initializer}]
            self._network._layers += [ILayer(constant) for constant in constants]
            return True

    def set_flag(self: Any, flag: Any) -> None:
        self._native = True

    if "OnnxParserFlag" in _enums(fake):
        OnnxParser.set_flag = set_flag  # type: ignore[attr-defined]

    class IOptimizationProfile:
        def __init__(self) -> None:
            self._shapes: dict[str, list[list[int]]] = {}

        def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
            self._shapes[input] = [list(min), list(opt), list(max)]

    class IBuilderConfig(Strict):
        def __init__(self) -> None:
            self._flags, self._workspace, self._shapes = {"TF32"}, 0, dict[str, Any]()

        def set_flag(self, flag: Any) -> None:
            self._flags.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self._flags.discard(flag.name)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self._workspace = pool_size

        def set_preview_feature(self, feature: Any, enable: bool) -> None:
            self._flags |= {feature.name} if enable else set()

        def set_tactic_sources(self, tactic_sources: int) -> bool:
            return True

        def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
            self._shapes = profile._shapes
            return 0

        def _missing(self, network: INetworkDefinition) -> str:
            missing = [i.name for i in network._inputs if -1 in i.shape and i.name not in self._shapes]
            halves = [layer for layer in network._layers if layer.get_output(0).dtype == HALF]
            if fake.major < 10 and halves and "FP16" not in self._flags:
                return "fp16 precision has been set for a layer or layer output, but fp16 is not configured"
            return f"Network has dynamic or shape inputs, but {missing} lack shapes" if missing else ""

    if fake.major >= 10:
        IBuilderConfig.progress_monitor = None  # type: ignore[attr-defined]
    kinds = (ILogger, Builder, ITensor, ILayer, INetworkDefinition, ParserError, OnnxParser, IOptimizationProfile)
    found = {kind.__name__: kind for kind in (*kinds, IBuilderConfig)}
    return found | ({"IProgressMonitor": IProgressMonitor} if fake.major >= 10 else {})


def _running(fake: Fake) -> dict[str, Any]:
    """Classes whose names a run uses."""

    class Runtime:
        def __init__(self, logger: Any) -> None:
            if fake.cuda.status:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Optional[ICudaEngine]:
            error = _fault(fake, serialized_engine)
            if error:
                self._logger.log(self._logger.Severity.ERROR, error)
                return None
            return ICudaEngine(serialized_engine, self._logger)

    class ICudaEngine:
        def __init__(self, plan: bytes, logger: Any) -> None:
            head, network = plan.removeprefix(MAGIC).split(b"\n", 1)
            self._profile = json.loads(head)["shapes"]
            self._session, self._logger = _session(network), logger
            self._inputs, self._outputs = self._session.get_inputs(), self._session.get_outputs()
            self._tensors = {tensor.name: tensor for tensor in (*self._inputs, *self._outputs)}

        @property
        def num_io_tensors(self) -> int:
            return len(self._tensors)

        def get_tensor_name(self, index: int) -> str:
            return list(self._tensors)[index]

        def get_tensor_mode(self, name: str) -> Any:
            mode = _enums(fake)["TensorIOMode"]
            return mode.INPUT if self._tensors[name] in self._inputs else mode.OUTPUT

        def get_tensor_dtype(self, name: str) -> Any:
            kinds = _enums(fake)["DataType"]
            return {"tensor(float)": kinds.FLOAT, "tensor(float16)": kinds.HALF}.get(
                self._tensors[name].type, kinds.INT32
            )

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return tuple(side if isinstance(side, int) else -1 for side in self._tensors[name].shape)

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
            assert profile_index == 0
            return [tuple(shape) for shape in self._profile[name]]

        def create_execution_context(self) -> IExecutionContext:
            return IExecutionContext(self)

    class IExecutionContext:
        def __init__(self, engine: ICudaEngine) -> None:
            self._engine, self._addresses = engine, dict[str, int]()
            self._shapes = {tensor.name: engine.get_tensor_shape(tensor.name) for tensor in engine._inputs}
            self._seen: dict[Any, dict[str, tuple[int, ...]]] = {}

        def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
            low, _, high = self._engine.get_tensor_profile_shape(name, 0)
            self._shapes[name] = tuple(shape)
            return all(a <= b <= c for a, b, c in zip(low, shape, high))

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            """Of the axes that share a name, as ONNX says; what it leaves open TensorRT works out, and a run shows."""
            known: dict[Any, int] = {}
            for tensor in self._engine._inputs:
                known.update(zip(tensor.shape, self._shapes[tensor.name]))
            shape = tuple(known.get(s, -1) if not isinstance(s, int) else s for s in self._engine._tensors[name].shape)
            return shape if -1 not in shape or -1 in known.values() else self._shown()[name]

        def _shown(self) -> dict[str, tuple[int, ...]]:
            key = tuple(self._shapes.items())
            if key not in self._seen:
                inputs = {t.name: np.zeros(self._shapes[t.name], NUMPY[t.type]) for t in self._engine._inputs}
                outputs = [tensor.name for tensor in self._engine._outputs]
                values = self._engine._session.run(outputs, inputs)
                self._seen[key] = {name: value.shape for name, value in zip(outputs, values)}
            return self._seen[key]

        def set_tensor_address(self, name: str, memory: int) -> bool:
            assert memory in fake.cuda.memory
            self._addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            assert stream_handle in fake.cuda.handles
            if fake.run_error:
                self._engine._logger.log(self._engine._logger.Severity.ERROR, fake.run_error)
                return False
            fake.cuda.enqueue(self._compute)
            return True

        def _compute(self) -> None:
            fake.runs += 1
            inputs = {tensor.name: self._memory(tensor) for tensor in self._engine._inputs}
            names = [tensor.name for tensor in self._engine._outputs]
            for tensor, value in zip(self._engine._outputs, self._engine._session.run(names, inputs)):
                self._memory(tensor)[...] = fake.outputs_of(tensor.name, value)

        def _memory(self, tensor: Any) -> np.ndarray:
            kind, shape = np.dtype(NUMPY[tensor.type]), self.get_tensor_shape(tensor.name)
            size = int(np.prod(shape)) * kind.itemsize
            address = self._addresses[tensor.name]
            assert size <= len(fake.cuda.memory[address]), "a buffer is too small"
            return np.frombuffer((ctypes.c_uint8 * size).from_address(address), kind).reshape(shape)

    if fake.flavour == "tensorrt_rtx":
        IExecutionContext.is_stream_capturable = lambda self, stream: fake.runs > 2  # type: ignore[attr-defined]
    return {kind.__name__: kind for kind in (Runtime, ICudaEngine, IExecutionContext)}


def _session(network: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(network, options, ["CPUExecutionProvider"])


def _identity(fake: Fake) -> dict[str, Any]:
    return {"version": fake.version, "flavour": fake.flavour, "gpu": list(fake.cuda.compute_capability)}


def _plan(fake: Fake, network: bytes, shapes: dict[str, Any]) -> bytes:
    digest = hashlib.sha256(network).hexdigest()
    return MAGIC + json.dumps({**_identity(fake), "shapes": shapes, "sha256": digest}).encode() + b"\n" + network


def _fault(fake: Fake, plan: bytes) -> str:
    """What TensorRT says of a plan that it does not load."""
    head, _, network = plan.removeprefix(MAGIC).partition(b"\n")
    if not plan.startswith(MAGIC):
        return "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Magic tag does not match)"
    try:
        values = json.loads(head)
    except ValueError:
        return "Error Code 1: Serialization (Serialized engine is truncated)"
    identity = _identity(fake)
    if (values["version"], values["flavour"]) != (identity["version"], identity["flavour"]):
        return "Error Code 1: Serialization (Version tag does not match)"
    if values["gpu"] != identity["gpu"]:
        return "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible device)"
    if values["sha256"] != hashlib.sha256(network).hexdigest():
        return "Error Code 1: Serialization (Serialized engine is damaged)"
    return ""
