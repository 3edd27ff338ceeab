"""One torch module as one ONNX file that TensorRT can take: FP16 weights, FP32 arithmetic, a free number of targets."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from focusdepth_core.engine.settings import TARGETS, Shape

OPSETS = (18, 16)  # 16 for TensorRT 8.5, whose parser knows no LayerNormalization
MOST_TARGETS = 64  # traced for; runtimes take more
MIN_FP16_VALUES = 256  # smaller tensors stay FP32
REFUSED = {
    *("If", "Loop", "Scan"),
    *("Scatter", "ScatterElements", "ScatterND", "TopK", "GridSample", "RoiAlign", "MaxRoiPool"),
    *("Compress", "NonMaxSuppression", "NonZero", "Unique"),
}  # TensorRT lacks them, is slow at them, or cannot plan memory for what they give

Tensors = tuple[torch.Tensor, ...]


class ExportError(ValueError):
    """A network that does not become a usable ONNX file; one sentence."""


@dataclass(frozen=True)
class Artefact:
    """``inputs``: by name, in the module's order; a tuple of tensors called x becomes x_0, x_1, ... in the file.

    ``per_target``: names of the inputs and outputs whose first axis is the targets.
    """

    module: nn.Module
    inputs: Mapping[str, Union[torch.Tensor, Tensors]]
    outputs: tuple[str, ...]
    per_target: frozenset[str] = frozenset()

    @property
    def input_names(self) -> list[str]:
        return [name for key, value in self.inputs.items() for name in _names(key, value)]

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of the inputs by name."""
        found: dict[str, Shape] = {}
        for key, value in self.inputs.items():
            tensors = [value] if isinstance(value, torch.Tensor) else value
            first = (TARGETS,) if key in self.per_target else ()
            found |= {name: (*first, *t.shape[len(first) :]) for name, t in zip(_names(key, value), tensors)}
        return found


def write(artefact: Artefact, path: Path, opset: int) -> None:
    """Raises ``ExportError`` for operations that are refused or unknown, or a file that is not of ``opset``."""
    artefact.module.eval()  # else the exporter, done, puts all parts of it back into training mode
    try:
        with torch.no_grad(), _quiet(), _attention_in_steps():
            (_dynamo if opset == OPSETS[0] else _torchscript)(artefact, path, opset)
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(f"{path.name} cannot be written at opset {opset}: {str(error).splitlines()[0]}") from error
    proto = onnx.load(path)
    check_nodes(proto.graph, path.name)
    _drop_open_masks(proto.graph)
    if opset == OPSETS[0]:
        _store_fp16(proto.graph)  # to TensorRT 8 a cast weight is a computed one, which not every layer takes
    for node in proto.graph.node:
        node.ClearField("metadata_props")  # where in which source it comes from: most of a small file
    onnx.save(proto, path)
    onnx.checker.check_model(path)
    _check_file(path, artefact, opset)


def check_nodes(graph: onnx.GraphProto, network: str) -> None:
    """Raises ``ExportError`` that names a node which engines do not take, or take with sizes from data."""
    for node in graph.node:
        if node.op_type in REFUSED or node.domain not in ("", "ai.onnx"):
            kind = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            raise ExportError(
                f"{network}: node '{node.name}' is a {kind}, which TensorRT does not take or takes with sizes that "
                "depend on data; write that part of the model with plain arithmetic"
            )


def _dynamo(artefact: Artefact, path: Path, opset: int) -> None:
    count = torch.export.Dim(TARGETS, min=1, max=MOST_TARGETS)

    def axes(key: str, value: Union[torch.Tensor, Tensors]) -> object:
        one = {0: count} if key in artefact.per_target else {}
        return one if isinstance(value, torch.Tensor) else tuple(one for _ in value)

    program = torch.onnx.export(
        artefact.module,
        tuple(artefact.inputs.values()),
        dynamo=True,
        opset_version=opset,
        input_names=artefact.input_names,
        output_names=list(artefact.outputs),
        dynamic_shapes=tuple(axes(key, value) for key, value in artefact.inputs.items()),
        verbose=False,
    )
    onnx.save(program.model_proto, path)


def _torchscript(artefact: Artefact, path: Path, opset: int) -> None:
    inputs = [
        name for key in artefact.inputs if key in artefact.per_target for name in _names(key, artefact.inputs[key])
    ]
    outputs = [name for name in artefact.outputs if name in artefact.per_target]
    torch.onnx.export(
        artefact.module,
        tuple(artefact.inputs.values()),
        path,
        dynamo=False,
        opset_version=opset,
        input_names=artefact.input_names,
        output_names=list(artefact.outputs),
        dynamic_axes={name: {0: TARGETS} for name in inputs + outputs},
    )
    _fold(path)


def _fold(path: Path) -> None:
    """TorchScript leaves arithmetic with known shapes, and branches that it decides; ONNX Runtime computes all that."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # standard operators only
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path.read_bytes(), options, ["CPUExecutionProvider"])
    proto = onnx.load(path)
    used = {node.domain for node in proto.graph.node}
    kept = [o for o in proto.opset_import if o.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    _normalise_in_steps(proto)
    onnx.save(proto, path)


def _normalise_in_steps(proto: onnx.ModelProto) -> None:
    """To TensorRT 8.5 InstanceNormalization, which GroupNorm becomes, is a plugin that needs cuDNN."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in [*graph.value_info, *graph.input]}
    nodes = []
    for node in proto.graph.node:
        if node.op_type == "InstanceNormalization":
            nodes += _instance_norm(node, ranks[node.input[0]], proto.graph.initializer)
        else:
            nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _instance_norm(node: onnx.NodeProto, rank: int, constants: list[TensorProto]) -> list[onnx.NodeProto]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, over all axes from the third on."""
    values, scale, bias = node.input
    name = node.output[0]
    epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
    numbers = {"epsilon": np.float32(epsilon), "two": np.float32(2), "axes": np.array([0, *range(2, rank)])}
    constants.extend(numpy_helper.from_array(np.asarray(value), f"{name}.{key}") for key, value in numbers.items())

    def step(kind: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
        whole = [f"{name}.{given[1:]}" if given.startswith(".") else given for given in inputs]
        return helper.make_node(kind, whole, [f"{name}.{output}" if output else name], f"{name}.{output}", **attributes)

    axes = list(range(2, rank))
    return [
        step("ReduceMean", [values], "mean", axes=axes, keepdims=1),
        step("Sub", [values, ".mean"], "centred"),
        step("Pow", [".centred", ".two"], "squares"),
        step("ReduceMean", [".squares"], "variance", axes=axes, keepdims=1),
        step("Add", [".variance", ".epsilon"], "above_zero"),
        step("Sqrt", [".above_zero"], "deviation"),
        step("Div", [".centred", ".deviation"], "normal"),
        step("Unsqueeze", [scale, ".axes"], "scale"),
        step("Unsqueeze", [bias, ".axes"], "bias"),
        step("Mul", [".normal", ".scale"], "scaled"),
        step("Add", [".scaled", ".bias"], ""),
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say about themselves."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def _attention_in_steps() -> Iterator[None]:
    """torch's fused encoder layer has no ONNX form."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _drop_open_masks(graph: onnx.GraphProto) -> None:
    """Attention's scores plus a mask that hides nothing, as encoders of images have it, are the scores."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    softened = {node.input[0] for node in graph.node if node.op_type == "Softmax"}
    masks = {name for name, values in constants.items() if values.ndim == 4 and not values.any()}
    same: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
        if node.op_type == "Where" and _hides_nothing(*(constants.get(name) for name in node.input)):
            masks.add(node.output[0])
        if node.op_type == "Add" and node.output[0] in softened and masks & set(node.input):
            (same[node.output[0]],) = set(node.input) - masks
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input} | {value.name for value in graph.output}
    for field, left in (
        (graph.node, [node for node in kept if used & set(node.output)]),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used]),
    ):
        del field[:]
        field.extend(left)


def _hides_nothing(condition: Optional[np.ndarray], shown: Optional[np.ndarray], hidden: Optional[np.ndarray]) -> bool:
    """Of the inputs of Where, those that are constant."""
    return condition is not None and shown is not None and bool(condition.all()) and not shown.any()


def _store_fp16(graph: onnx.GraphProto) -> None:
    """Keep large FP32 constants that FP16 holds exactly as FP16 behind a cast, which runtimes fold when they load."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < MIN_FP16_VALUES:
            continue
        values, name = numpy_helper.to_array(tensor), tensor.name
        half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.fp16"))
            casts.append(helper.make_node("Cast", [f"{name}.fp16"], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # shapes of intermediates; runtimes infer them


def _check_file(path: Path, artefact: Artefact, opset: int) -> None:
    """What was asked for is what the file says."""
    proto = onnx.load(path)
    found = {o.domain: o.version for o in proto.opset_import}
    if found.get("") != opset:
        raise ExportError(f"{path.name} is of opset {found.get('')}; {opset} was asked for")
    inputs, outputs = ([v.name for v in values] for values in (proto.graph.input, proto.graph.output))
    if inputs != artefact.input_names or outputs != list(artefact.outputs):
        raise ExportError(
            f"{path.name} has inputs {inputs} and outputs {outputs} instead of {artefact.input_names} and "
            f"{list(artefact.outputs)}"
        )


def _names(key: str, value: Union[torch.Tensor, Tensors]) -> list[str]:
    return [key] if isinstance(value, torch.Tensor) else [f"{key}_{i}" for i in range(len(value))]
