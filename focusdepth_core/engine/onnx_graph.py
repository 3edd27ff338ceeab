"""What the exporters leave in a graph that engines are better without."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MIN_FP16_VALUES = 256  # smaller tensors stay FP32


def drop_open_masks(graph: onnx.GraphProto) -> None:
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
    used = _used(kept, graph)
    kept = [node for node in kept if used & set(node.output)]
    used = _used(kept, graph)
    for field, left in (
        (graph.node, kept),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used]),
    ):
        del field[:]
        field.extend(left)


def _used(nodes: list[onnx.NodeProto], graph: onnx.GraphProto) -> set[str]:
    return {name for node in nodes for name in node.input} | {value.name for value in graph.output}


def _hides_nothing(condition: Optional[np.ndarray], shown: Optional[np.ndarray], hidden: Optional[np.ndarray]) -> bool:
    """Of the inputs of Where, those that are constant."""
    return condition is not None and shown is not None and bool(condition.all()) and not shown.any()


def store_fp16(graph: onnx.GraphProto) -> None:
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


def normalise_in_steps(proto: onnx.ModelProto) -> None:
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

    def step(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
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
