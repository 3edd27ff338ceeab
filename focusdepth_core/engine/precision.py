"""The same network with FP16 arithmetic: casts in the graph say what is computed in which precision.

A strongly typed engine does what the file says, on every version of TensorRT that is to come; flags of the builder do
not. Inputs and outputs stay FP32.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from focusdepth_core.engine.model_folder import variant
from focusdepth_core.engine.settings import FP16, MIXED

PRODUCTS = {"MatMul", "Gemm", "Conv", "ConvTranspose"}
# Sums over many values, and what is between two of them: where vision transformers have overflowed in FP16.
SUMS = {"ReduceMean", "ReduceSum", "ReduceL2", "Sqrt", "Reciprocal"}
FP32_OPS = {"LayerNormalization", "InstanceNormalization", "GroupNormalization", "Softmax", "Exp", "Log", "Pow", *SUMS}
UNTYPED = {"Cast", "Constant", "ConstantOfShape", "Range", "Shape"}  # their output's type is no input's


def write_variants(path: Path) -> list[Path]:
    """Beside the FP32 network ``path``: ``fp16``, and ``mixed`` for a GPU on which that is not good enough.

    fp16 has normalisations, softmax, sums and the last layer of each output in FP32; mixed has matrix products and
    convolutions in FP16 and everything else in FP32.
    """
    written = []
    for precision in (FP16, MIXED):
        out = variant(path, precision)
        onnx.save(_Halved(onnx.load(path), only_products=precision == MIXED).model, out)
        onnx.checker.check_model(out)
        written.append(out)
    return written


class _Halved:
    """``model``: rewritten in place. A tensor x of FP32 is called x.half where it is FP16."""

    def __init__(self, model: onnx.ModelProto, only_products: bool) -> None:
        self.model, self._only_products = model, only_products
        graph = model.graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._float = _float_tensors(model)
        self._made_by = {name: node for node in graph.node for name in node.output}
        self._last = last_layers(graph)
        self._there = {value.name for value in graph.input} | set(self._constants)
        nodes = [new for node in graph.node for new in self._rewritten(node)]
        nodes += [cast for value in graph.output for cast in self._as(value.name, half=False)]
        del graph.node[:]
        graph.node.extend(nodes)
        self._drop_unused()

    def _rewritten(self, node: NodeProto) -> Iterator[NodeProto]:
        """The node, after the casts that it needs."""
        half = not self._is_fp32(node)
        for place, name in enumerate(node.input):
            if name in self._float and (node.op_type not in UNTYPED) and not (node.op_type == "Resize" and place > 0):
                yield from self._as(name, half)
                node.input[place] = self._half_name(name) if half else name
            elif name in self._float:
                yield from self._as(name, half=False)
        for place, name in enumerate(node.output):
            if half and name in self._float:
                node.output[place] = f"{name}.half"
        self._there.update(node.output)
        yield node

    def _as(self, name: str, half: bool) -> Iterator[NodeProto]:
        """A cast, if the tensor is there in the other precision only."""
        want, other = (self._half_name(name), name) if half else (name, f"{name}.half")
        if want in self._there:
            return
        if half and other in self._constants:
            values = numpy_helper.to_array(self._constants[other]).astype(np.float16)
            self.model.graph.initializer.append(numpy_helper.from_array(values, want))
        else:
            yield helper.make_node(
                "Cast", [other], [want], f"{want}.cast", to=TensorProto.FLOAT16 if half else TensorProto.FLOAT
            )
        self._there.add(want)

    def _half_name(self, name: str) -> str:
        """Of the tensor in FP16; for a weight that the file holds so, and casts, the weight itself."""
        made = self._made_by.get(name)
        if made is not None and made.op_type == "Cast" and made.input[0] in self._constants:
            return made.input[0]
        return f"{name}.half"

    def _is_fp32(self, node: NodeProto) -> bool:
        if node.op_type in FP32_OPS | UNTYPED or node.output[0] in self._last or not self._fits(node):
            return True
        if self._only_products:
            return node.op_type not in PRODUCTS
        return any(name in self._made_by and self._made_by[name].op_type in SUMS for name in node.input)

    def _fits(self, node: NodeProto) -> bool:
        """Whether FP16 holds its constants: no tiny value becomes zero, no large one infinite."""
        for name in node.input:
            if name in self._constants and name in self._float:
                values = numpy_helper.to_array(self._constants[name])
                with np.errstate(over="ignore"):
                    half = values.astype(np.float16)
                if (np.isfinite(half) != np.isfinite(values)).any() or ((half == 0) != (values == 0)).any():
                    return False
        return True

    def _drop_unused(self) -> None:
        graph = self.model.graph
        used = {value.name for value in graph.output}
        kept = []
        for node in reversed(graph.node):
            if used.intersection(node.output):
                used.update(node.input)
                kept.append(node)
        del graph.node[:]
        graph.node.extend(reversed(kept))
        constants = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(constants)
        del graph.value_info[:]


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all FP32 tensors."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    names = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def last_layers(graph: onnx.GraphProto) -> set[str]:
    """The nodes, by their first output, from the last product before each output of the network on."""
    made_by = {name: node for node in graph.node for name in node.output}
    names = [value.name for value in graph.output]
    seen: set[str] = set()
    while names:
        node = made_by.get(names.pop())
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type not in PRODUCTS:
            names.extend(node.input)
    return seen
