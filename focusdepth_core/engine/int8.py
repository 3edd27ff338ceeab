"""The same network with INT8 matrix products: QuantizeLinear and DequantizeLinear around them, with ranges from images
of a manifest (post-training static quantisation of ONNX Runtime, symmetric as TensorRT needs it)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Optional

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from focusdepth_core.engine.base import Texts
from focusdepth_core.engine.model_folder import ModelFolder, Stages, variant
from focusdepth_core.engine.open import open_network
from focusdepth_core.engine.precision import last_layers
from focusdepth_core.engine.samples import read
from focusdepth_core.engine.self_check import FOCUS, PLAIN, Figures, check
from focusdepth_core.engine.settings import INT8
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.network_inputs import network_inputs
from focusdepth_core.perception.target import Target

QUANTISED = {"MatMul", "Gemm"}  # convolutions, too, cost the masks of nano-sim a fifth of their IoU

Inputs = dict[str, np.ndarray]


def write_int8(model: ModelFolder, texts: Optional[Texts], manifest: Manifest, images: int) -> dict[str, Figures]:
    """Beside each network of ``model`` the one in INT8, if it passes the self-check; the figures, also of one that does
    not.

    Raises ``ValueError`` for a network in stages, and for a model without samples.
    """
    if isinstance(model.focus, Stages) or model.samples is None:
        raise ValueError(
            f"{model.name} gets no INT8 networks: it is in stages, or there are no samples to judge them by"
        )
    found, scenes = {}, read(model.samples)
    for network in (FOCUS, PLAIN):
        (path,) = model.networks(network, "fp32").values()
        _quantise(path, _inputs(model, texts, manifest, images, network), variant(path, INT8))
        found[network] = check(model, open_network(model, network, INT8), network, scenes, texts)
        if found[network].faults(model.engine.thresholds):
            variant(path, INT8).unlink()
    return found


def _inputs(
    model: ModelFolder, texts: Optional[Texts], manifest: Manifest, images: int, network: str
) -> Iterator[Inputs]:
    """Of rows that are spread over the manifest."""
    for i in np.unique(np.linspace(0, len(manifest) - 1, images).astype(int)):
        row = manifest.row(int(i))
        frame = Frame(row.read_image())
        targets = [Target(row.id, row.box)] if network == FOCUS else []
        letterbox = Letterbox(frame.width, frame.height, model.input)
        yield network_inputs(model, frame, letterbox, targets, texts, {})


class _Reader(CalibrationDataReader):
    def __init__(self, inputs: Iterator[Inputs]) -> None:
        self._inputs = inputs

    def get_next(self) -> Optional[Inputs]:
        return next(self._inputs, None)


def _quantise(path: Path, inputs: Iterator[Inputs], out: Path) -> None:
    model = _with_fp32_weights(onnx.load(path))
    nodes = _of_image_with_weights(model.graph)
    with TemporaryDirectory() as folder, _quiet():
        plain = Path(folder) / path.name
        onnx.save(model, plain)
        quantize_static(
            plain,
            out,
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted(QUANTISED),
            nodes_to_quantize=nodes,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
        )


def _of_image_with_weights(graph: onnx.GraphProto) -> list[str]:
    """Products of weights with what is seen in the image alone: nearly all of the time. INT8 has cost much more where
    prompts are read and where two activations meet, in attention."""
    constants = {tensor.name for tensor in graph.initializer}
    last = last_layers(graph)
    prompted = {value.name for value in graph.input if value.name != "image"}
    found = []
    for node in graph.node:
        if prompted & set(node.input):
            prompted.update(node.output)
        elif node.op_type in QUANTISED and constants & set(node.input) and node.output[0] not in last:
            found.append(node.name)
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice to optimise the graph first, in a way that TensorRT does not take."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _with_fp32_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the casts behind weights that are stored in FP16."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
            stored[node.input[0]].CopyFrom(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return model
