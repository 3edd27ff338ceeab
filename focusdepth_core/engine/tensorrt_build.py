"""An ONNX file as a TensorRT engine for the GPU of this machine: one way for TensorRT 8.5 to 11 and TensorRT-RTX.

The types in the ONNX file are kept: layers with FP32 outputs compute in FP32, those with FP16 outputs in FP16. TensorRT
10 does that by itself ("strongly typed"); 8 is asked to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cuda.memory import open_cuda
from focusdepth_core.engine.tensorrt_names import Library, library

Shape = tuple[int, ...]
Report = Callable[[float, str], None]

PRECISIONS = ("fp32", "fp16", "int8")
REPORT_EVERY_S = 1.0


@dataclass(frozen=True)
class Runtime:
    """``flavour``: "tensorrt" or "tensorrt_rtx"; ``cuda``: version of the CUDA runtime; ``memory_mb``: of the GPU."""

    flavour: str
    version: str
    gpu: str
    compute_capability: str
    cuda: str
    driver: str
    memory_mb: int


def runtime() -> Runtime:
    """Of this machine. Raises ``EngineError`` without TensorRT, driver or GPU, or where they do not fit together."""
    trt = library()
    gpu = open_cuda().device
    generation = f"SM{gpu.compute_capability.replace('.', '')}"
    if hasattr(trt.api, "ComputeCapability") and trt.member("ComputeCapability", generation) is None:  # RTX has it
        raise EngineError(f"{trt} does not run on {gpu.name} (compute capability {gpu.compute_capability})")
    return Runtime(trt.flavour, trt.version, gpu.name, gpu.compute_capability, gpu.cuda, gpu.driver, gpu.memory_mb)


def build(
    onnx_path: Union[str, Path],
    *,
    precision: str,
    profiles: Mapping[str, tuple[Shape, Shape, Shape]],
    workspace_mb: int,
    report: Report,
) -> bytes:
    """The serialized engine.

    ``precision``: fp32 (no TF32), fp16 (a file with FP16 parts) or int8 (a file with QuantizeLinear and
    DequantizeLinear); ``profiles``: smallest, usual and largest shape of each input with a dynamic axis;
    ``workspace_mb``: the most GPU memory that one layer may use while it computes. ``report(fraction, phase)`` is
    called each second, in this thread; the fraction stays 0 where TensorRT does not tell (8.x).

    Raises ``ValueError`` for an unknown precision, ``EngineError`` if the file is no network, TensorRT lacks one of its
    operations or a shape for an input, or memory does not suffice.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision '{precision}' is unknown; known: {', '.join(PRECISIONS)}")
    trt, name = library(), Path(onnx_path).name
    builder = trt.create("Builder")
    network = builder.create_network(_network_flags(trt))
    parser = trt.api.OnnxParser(network, trt.logger)
    native = trt.member("OnnxParserFlag", "NATIVE_INSTANCENORM")
    if native is not None:
        parser.set_flag(native)  # the default of 10; in 8.6 that layer is else a plugin, which needs cuDNN
    if not parser.parse_from_file(str(onnx_path)):
        raise EngineError(f"{onnx_path} cannot be read by {trt}: {_parse_errors(parser)}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.api.MemoryPoolType.WORKSPACE, workspace_mb << 20)
    _set_precision(trt, config, network, precision)
    _set_tactics(trt, config)
    profile = _profile(builder, network, profiles, name)
    if profile is not None:
        config.add_optimization_profile(profile)
    plan = _built(trt, builder, network, config, report)
    if plan is None:
        raise trt.error(f"{trt} cannot build {name}", "it gave no reason")
    return bytes(plan)


def _network_flags(trt: Library) -> int:
    flags = 0
    strong = trt.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")
    if strong is not None:
        flags |= 1 << int(strong)
    else:
        flags |= 1 << int(trt.api.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)  # the only kind since 10
    return flags


def _parse_errors(parser: Any) -> str:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    return "; ".join(" ".join(f"node {error.node()}: {error.desc()}".split()) for error in errors) or "no reason given"


def _set_precision(trt: Library, config: Any, network: Any, precision: str) -> None:
    if precision == "fp32":
        config.clear_flag(trt.api.BuilderFlag.TF32)
    if trt.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED") is not None:
        return
    single, half = trt.api.DataType.FLOAT, trt.api.DataType.HALF
    layers = [layer for layer in map(network.get_layer, range(network.num_layers)) if layer.num_outputs]
    if precision == "int8":
        config.set_flag(trt.api.BuilderFlag.INT8)
    if not any(layer.get_output(0).dtype == half for layer in layers):
        return
    config.set_flag(trt.api.BuilderFlag.FP16)
    config.set_flag(trt.api.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    for layer in layers:
        if layer.get_output(0).dtype == single and layer.precision == single and not _is_of_shapes(layer):
            layer.precision = single  # it reads as its default, and only what is set constrains


def _is_of_shapes(layer: Any) -> bool:
    return layer.num_inputs > 0 and layer.get_input(0).is_shape_tensor


def _set_tactics(trt: Library, config: Any) -> None:
    """TensorRT 8 as the later ones are: without cuDNN and cuBLAS, which take memory and must be installed."""
    feature = trt.member("PreviewFeature", "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805")
    if feature is None:
        return
    config.set_preview_feature(feature, True)
    sources = trt.api.TacticSource
    kept = (sources.CUBLAS_LT, sources.EDGE_MASK_CONVOLUTIONS, sources.JIT_CONVOLUTIONS)
    config.set_tactic_sources(sum(1 << int(source) for source in kept))


def _profile(builder: Any, network: Any, profiles: Mapping[str, tuple[Shape, Shape, Shape]], name: str) -> Any:
    """None for a network whose shapes are all fixed."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    dynamic = {tensor.name: tuple(tensor.shape) for tensor in inputs if any(side < 0 for side in tensor.shape)}
    if not dynamic:
        return None
    missing = sorted(dynamic.keys() - profiles.keys())
    if missing:
        raise EngineError(f"{name}: input '{missing[0]}' is {list(dynamic[missing[0]])} and no sizes are given for it")
    profile = builder.create_optimization_profile()
    for key in dynamic:
        profile.set_shape(key, *(tuple(int(side) for side in shape) for shape in profiles[key]))
    return profile


def _built(trt: Library, builder: Any, network: Any, config: Any, report: Report) -> Any:
    """The build runs in a thread of its own, so that this one can report and be interrupted."""
    monitor = _monitor(trt)
    if monitor is not None:
        config.progress_monitor = monitor
    found: list[Any] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            found.append(builder.build_serialized_network(network, config))
        except Exception as error:  # is raised below
            errors.append(error)

    trt.errors.clear()
    thread = threading.Thread(target=work, name="TensorRT build", daemon=True)
    thread.start()
    start = time.monotonic()
    try:
        while thread.is_alive():
            thread.join(REPORT_EVERY_S)
            fraction, phase = (0.0, "") if monitor is None else monitor.state()
            report(fraction, phase or f"for {time.monotonic() - start:.0f} s")
    except BaseException:
        if monitor is not None:
            monitor.cancelled = True
        raise
    if errors:
        raise trt.error(f"{trt} cannot build", str(errors[0])) from errors[0]
    return found[0]


def _monitor(trt: Library) -> Optional[Any]:
    """None before TensorRT 10."""
    base: Any = getattr(trt.api, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):
        """Called in threads of TensorRT. Phases nest; each step of a phase is filled by the phase below it."""

        def __init__(self) -> None:
            base.__init__(self)  # the binding refuses super()
            self.cancelled = False
            self._fraction = 0.0
            self._phases: dict[str, list[int]] = {}  # steps done and steps

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            self._phases[phase_name] = [0, max(num_steps, 1)]

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._phases.setdefault(phase_name, [0, 1])[0] = step + 1
            return not self.cancelled

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

        def state(self) -> tuple[float, str]:
            fraction, share = 0.0, 1.0
            phases = dict(self._phases)
            for done, steps in phases.values():
                share /= steps
                fraction += min(done, steps) * share
            self._fraction = min(max(fraction, self._fraction), 1.0)
            return self._fraction, next(reversed(list(phases)), "")

    return Monitor()
