"""A whole training run at toy size: generate, train, resume, export, evaluate."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import onnx
import torch
from safetensors.torch import load_file

from focusdepth_core.engine.export import export, load_run
from focusdepth_core.fde_bench.batches import MEAN, STD, batches
from focusdepth_core.fde_bench.build import build, merge
from focusdepth_core.fde_bench.evaluate import evaluate
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.fde_bench.packed import Packed, open_packed
from focusdepth_core.fde_bench.sources.sim import Sim
from focusdepth_core.model.focusdepth import FocusDepthConfig
from focusdepth_core.model.geometry.da2 import GeometryConfig
from focusdepth_core.model.prompt.lite import LiteConfig
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target
from focusdepth_core.sim.generate import write_scene
from focusdepth_core.sim.render import Renderer
from focusdepth_core.train import Phase, Steps, TrainConfig, phases, run_phase, train

GEOMETRY = GeometryConfig(height=42, width=56, hidden=32, layers=4, heads=2, neck=(8, 8, 16, 16), fusion=16, head=8)
MODEL = FocusDepthConfig(GEOMETRY, LiteConfig(width=16, depth=1, heads=2, stem=8))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    renderer = Renderer(112, 84)
    for split, seed in (("train", 1), ("train", 2), ("test", 950001)):
        write_scene(seed, renderer, folder / split, 8)
    renderer.close()
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    config = TrainConfig(data, tmp_path_factory.mktemp("run"), MODEL, Steps(8, 4, 4, 4), batch=4, device="cpu")
    train(config)
    return config


def test_batches_keep_image_mask_box_and_depth_together(data):
    packed = open_packed(data / "train")
    batch = next(batches(packed, 8, 42, 28, 0.7, seed=(0, 1)))
    assert batch.image.shape == (8, 3, 28, 42) and batch.image.dtype == np.float32
    assert (batch.image * STD[:, None, None] + MEAN[:, None, None]).min() >= 0
    for mask, (cx, cy, w, h) in zip(batch.mask, batch.box[:, 0]):
        assert set(np.unique(mask)) <= {0, 1} and mask.any()
        rows, columns = np.nonzero(mask)
        centre = (columns.min() + columns.max() + 1) / 84, (rows.min() + rows.max() + 1) / 56
        assert np.abs(np.subtract((cx, cy), centre)).max() < 0.15
        assert 0 < w <= 1.01 and 0 < h <= 1.01
    again, other = (next(batches(packed, 8, 42, 28, 0.7, seed=(0, i))) for i in (1, 2))
    assert np.array_equal(batch.image, again.image)
    assert not np.array_equal(batch.image, other.image)


@pytest.mark.parametrize("crop", [1.0, 0.75])
def test_truth_lies_where_the_image_shows_it(crop):
    """An edge in image and depth comes out of crop, resize and letterbox at the same place."""
    edge = np.arange(240) >= 101
    image = np.repeat(np.repeat(np.where(edge, 200, 60)[:, None], 320, 1)[..., None], 3, 2).astype(np.uint8)
    depth = np.repeat(np.where(edge, 5000, 10000)[:, None], 320, 1).astype(np.uint16)
    data = Packed(image[None], depth[None], (depth == 5000).astype(np.uint8)[None], 5000, [[1]])
    source, offsets = batches(data, 1, 168, 126, crop, seed=(0,)), []
    for _ in range(40):
        batch = next(source)
        rows = batch.depth[0, :, 84] > 0
        shown, truth = batch.image[0, 0, rows, 84], batch.depth[0, rows, 84]
        near = (truth < 1.5).sum()
        if 5 < near < len(truth) - 5:
            level = (shown - shown[0]) / (shown[-1] - shown[0])
            offsets.append(level.sum() - near)
    assert len(offsets) > 20 and abs(np.mean(offsets)) < 0.15


def test_training_learns_and_logs(run):
    log = [json.loads(line) for line in (run.out / "train_log.jsonl").read_text().splitlines()]
    assert [entry["phase"] for entry in log] == ["small", "full", "stage1", "stage2", "baseline"]
    assert log[0]["steps"] == 8 and all(np.isfinite(e["loss"]) for e in log)


def test_stages_move_what_they_may(run):
    full, one, two = (load_file(run.out / f"{p}.safetensors") for p in ("full", "stage1", "stage2"))
    encoder = [k for k in full if k.startswith("geometry.net.backbone")]
    decoder = [k for k in full if k.startswith(("geometry.net.neck", "geometry.net.head"))]
    assert all(torch.equal(full[k], two[k]) for k in encoder)
    assert all(torch.equal(full[k], one[k]) for k in decoder)
    assert sum(not torch.equal(one[k], two[k]) for k in decoder) > len(decoder) / 2
    assert all(not torch.equal(full[k], one[k]) for k in full if "expert_out" in k)


def test_finished_phases_are_not_trained_again(run):
    before = (run.out / "stage2.safetensors").stat().st_mtime_ns
    train(run)
    assert (run.out / "stage2.safetensors").stat().st_mtime_ns == before


def test_a_loss_that_is_no_number_stops_the_run(run):
    phase = phases(run)[1]
    broken = Phase(
        phase.name, phase.learning, lambda m, b, r: m.geometry(b["image"]).mean() * float("nan"), 3, 1e-3, None
    )
    source = batches(open_packed(run.data / "train"), 2, 56, 42, 1, (0,))
    with pytest.raises(FloatingPointError, match="loss is nan in step 0 of full"):
        run_phase(broken, load_run(run.out, "full"), run, source)


def test_export_runs_in_the_pipeline_and_equals_torch(run, data, tmp_path):
    parity = export(run.out, tmp_path / "model", "toy")
    assert set(parity) == {"depth", "mask_logits", "plain_depth"} and max(parity.values()) < 1e-3
    for name in ("focus", "plain"):
        proto = onnx.load(tmp_path / "model" / f"{name}.onnx")
        assert proto.opset_import[0].version == 18
        large = [t for t in proto.graph.initializer if np.prod(t.dims) >= 256 and t.data_type == onnx.TensorProto.FLOAT]
        assert not large, "large weights are stored as FP16"
    pipeline = Pipeline.open(tmp_path / "model")
    image = np.random.default_rng(0).integers(0, 255, (84, 112, 3), np.uint8)
    targets = [Target("a", (10, 10, 60, 60)), Target("b", (50, 20, 100, 80))]
    result = pipeline.process(Frame(image), targets)
    assert result.relative_depth.shape == (84, 112) and len(result.targets) == 2
    source = Sim(data)
    build(source, tmp_path / "bench", workers=1)
    merge(source, tmp_path / "bench")
    test = Manifest.open(tmp_path / "bench", "test")
    pairs = evaluate(pipeline, [test])
    assert len(pairs) == len(test) > 0
    assert np.isfinite(pairs.metric("focus", "absrel/global")).all()


def test_export_refuses_a_network_that_onnx_changes(run, tmp_path, monkeypatch):
    monkeypatch.setattr("focusdepth_core.engine.export.TOLERANCE", 0.0)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("kept")
    with pytest.raises(ValueError, match="differs from torch"):
        export(run.out, tmp_path / "model", "toy")
    assert (tmp_path / "model" / "config.json").read_text() == "kept"
