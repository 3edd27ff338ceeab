"""The other precisions of an exported network: what they compute, in which types, and where their weights are."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from focusdepth_core.engine.model_folder import ModelFolder, default_model_dir
from focusdepth_core.engine.onnx_file import Artefact, write
from focusdepth_core.engine.open import open_engine
from focusdepth_core.engine.parity import example
from focusdepth_core.engine.precision import PRODUCTS, last_layers, write_variants
from focusdepth_core.engine.prompted import Whole
from focusdepth_core.engine.shared_weights import share
from tests.engine.test_export import CONFIG, trained

RUINED = {"LayerNormalization", "InstanceNormalization", "Softmax", "Exp", "Pow", "ReduceMean", "ReduceSum", "Sqrt"}
BOUND = 0.01  # root mean square of the difference between FP16 and FP32, in standard deviations of the output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """focus.onnx at opset 16, whose LayerNormalization is in steps, and that of the shipped model at 18."""
    folder, model = tmp_path_factory.mktemp("precision"), trained(CONFIG, 0)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(tensor.half())
    for opset in (16, 18):
        (folder / str(opset)).mkdir()
    whole, given = Whole(model), example(model, 3)
    write(Artefact(whole, given, whole.outputs, frozenset({"boxes", "mask_logits"})), folder / "16" / "focus.onnx", 16)
    shipped = ModelFolder.read(default_model_dir()).focus
    onnx.save(onnx.load(shipped), folder / "18" / "focus.onnx")
    for opset in (16, 18):
        write_variants(folder / str(opset) / "focus.onnx")
    return folder


def inputs(path: Path, targets: int) -> dict[str, np.ndarray]:
    """Random, of the shapes that the network takes."""
    random, found = np.random.default_rng(targets), {}
    for value in onnx.load(path).graph.input:
        shape = [axis.dim_value or targets for axis in value.type.tensor_type.shape.dim]
        numbers = random.normal(size=shape) if value.name == "image" else random.uniform(0.2, 0.8, shape)
        found[value.name] = numbers.astype(np.float32)
    return found


@pytest.mark.parametrize("opset", [16, 18])
@pytest.mark.parametrize("precision", ["fp16", "mixed"])
@pytest.mark.parametrize("targets", [1, 4])
def test_it_computes_what_fp32_computes(folder, opset, precision, targets):
    path = folder / str(opset) / "focus.onnx"
    given = inputs(path, targets)
    expected = open_engine(path, threads=1).run(given)
    got = open_engine(path.with_suffix(f".{precision}.onnx"), threads=1).run(given)
    assert got.keys() == expected.keys()
    for name, want in expected.items():
        assert got[name].dtype == np.float32 and got[name].shape == want.shape
        spread = 1.0 if name == "presence" else want.std()  # a single probability has none
        assert np.sqrt(np.mean((got[name] - want) ** 2)) < BOUND * spread
    if precision == "fp16":
        assert any((got[name] != want).any() for name, want in expected.items()), "it computes in FP32"


@pytest.mark.parametrize("opset", [16, 18])
def test_what_fp16_ruins_stays_in_fp32(folder, opset):
    model = onnx.load(folder / str(opset) / "focus.fp16.onnx")
    onnx.checker.check_model(model, full_check=True)
    last, kinds = last_layers(model.graph), Counter()
    dtype = {v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    for node in model.graph.node:
        kind = dtype.get(node.output[0])
        if node.op_type in RUINED or node.output[0] in last:
            assert kind != TensorProto.FLOAT16, node.name
        elif node.op_type in PRODUCTS:
            kinds[kind] += 1
    assert kinds[TensorProto.FLOAT16] > 0.9 * sum(kinds.values())
    assert {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)} == {TensorProto.FLOAT}


def test_mixed_has_products_alone_in_fp16(folder):
    model = onnx.load(folder / "18" / "focus.mixed.onnx")
    dtype = {v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    halves = {node.op_type for node in model.graph.node if dtype.get(node.output[0]) == TensorProto.FLOAT16}
    assert halves <= PRODUCTS | {"Cast"} and "MatMul" in halves


def scaled(path: Path, factor: float, addend: float) -> Path:
    """y = x * factor + addend"""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy"]
    nodes = [helper.make_node("Mul", ["x", "f"], ["p"]), helper.make_node("Add", ["p", "a"], ["q"])]
    nodes.append(helper.make_node("MatMul", ["q", "w"], ["y"]))
    values = {"f": np.float32(factor), "a": np.float32(addend), "w": np.eye(4, dtype=np.float32)}
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()]
    graph = helper.make_graph(nodes, "scaled", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.parametrize(("factor", "addend", "halves"), [(2.0, 0.5, 2), (1e-9, 0.5, 1), (2.0, 1e6, 1), (1e9, 1e-9, 0)])
def test_constants_that_fp16_cannot_hold_stay_in_fp32(tmp_path, factor, addend, halves):
    path = scaled(tmp_path / "net.onnx", factor, addend)
    fp16, _ = write_variants(path)
    graph = onnx.load(fp16).graph
    arithmetic = [node for node in graph.node if node.op_type in ("Mul", "Add")]
    assert sum(node.output[0].endswith(".half") for node in arithmetic) == halves
    x = np.ones((1, 4), np.float32)
    want = open_engine(path).run({"x": x})["y"]
    np.testing.assert_allclose(open_engine(fp16).run({"x": x})["y"], want, rtol=1e-3)


def test_sums_of_large_values_do_not_overflow(tmp_path):
    class Mean(nn.Module):
        def forward(self, x):
            return x.sum(1, keepdim=True) / 1000 @ torch.ones(1, 1)

    write(Artefact(Mean(), {"x": torch.ones(1, 1000)}, ("y",)), tmp_path / "net.onnx", 16)
    fp16, _ = write_variants(tmp_path / "net.onnx")
    kinds = {node.op_type: node.output[0].endswith(".half") for node in onnx.load(fp16).graph.node}
    assert kinds["ReduceSum"] is False and kinds["Div"] is False, "a sum of 1e6 is infinite in FP16"
    got = open_engine(fp16).run({"x": np.full((1, 1000), 1000, np.float32)})["y"]
    np.testing.assert_allclose(got, 1000, rtol=1e-3)


def test_weights_are_stored_once_for_all_precisions(folder, tmp_path):
    shutil.copytree(folder / "18", tmp_path / "shared")
    paths = sorted((tmp_path / "shared").glob("*.onnx"))
    given = inputs(paths[0], 2)
    before = {path: open_engine(path, threads=1).run(given) for path in paths}
    whole = sum(path.stat().st_size for path in paths)
    share(paths, tmp_path / "shared" / "networks.bin")
    weights = (tmp_path / "shared" / "networks.bin").stat().st_size
    single = sum(len(t.raw_data) for t in onnx.load(folder / "18" / "focus.onnx").graph.initializer)
    assert weights < 1.2 * single and sum(path.stat().st_size for path in paths) + weights < whole
    for path in paths:
        onnx.checker.check_model(path)
        for name, want in before[path].items():
            np.testing.assert_array_equal(open_engine(path, threads=1).run(given)[name], want)
