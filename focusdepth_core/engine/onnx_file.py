"""One torch module as one ONNX file that TensorRT can take: FP16 weights, FP32 arithmetic, a free number of targets."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Union

import onnx
import onnxruntime
import torch
from torch import nn

from focusdepth_core.engine.onnx_graph import drop_open_masks, normalise_in_steps, store_fp16
from focusdepth_core.engine.settings import TARGETS, Shape

OPSETS = (18, 16)  # 16 for TensorRT 8.5, whose parser knows no LayerNormalization
MOST_TARGETS = 64  # traced for; runtimes take more
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
    """``inputs``: by the names that the module gives them, in its order; a tuple of tensors called x becomes x_0, x_1,
    ... in the file.

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
    drop_open_masks(proto.graph)
    if opset == OPSETS[0]:
        store_fp16(proto.graph)  # to TensorRT 8 a cast weight is a computed one, which not every layer takes
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
        kwargs=dict(artefact.inputs),
        dynamo=True,
        opset_version=opset,
        input_names=artefact.input_names,
        output_names=list(artefact.outputs),
        dynamic_shapes={key: axes(key, value) for key, value in artefact.inputs.items()},
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
        (),
        path,
        kwargs=dict(artefact.inputs),
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
    normalise_in_steps(proto)
    onnx.save(proto, path)


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
