"""Export of a model with SAM3 (tiny): three networks and the texts, run by the pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import numpy as np
import torch

from focusdepth_core.engine.cache import Manifest
from focusdepth_core.engine.export import export
from focusdepth_core.engine.model_folder import ModelFolder, Stages
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
from focusdepth_core.model.prompt.sam3 import Sam3PromptConfig
from focusdepth_core.perception.finder import Finder
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target
from tests.engine import fake_tensorrt
from tests.model import tiny_sam3

GEOMETRY = DepthAnythingV2Config(height=42, width=56, hidden=16, layers=4, heads=2, neck=(8, 8, 8, 8), fusion=8, head=8)
TARGETS = {
    "box": Target("box", (20, 10, 70, 60)),
    "text": Target("text", text="Red mug"),
    "both": Target("both", (40, 30, 100, 80), "cup"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A model of save_pretrained, as if trained."""
    folder = tmp_path_factory.mktemp("trained")
    weights = tiny_sam3.write(folder / "sam3", tiny_sam3.tensors())
    prompt = Sam3PromptConfig(weights=str(weights), side=112, architecture=tiny_sam3.ARCHITECTURE)
    torch.manual_seed(0)
    model = FocusDepth(FocusDepthConfig(GEOMETRY, prompt))
    model.prompt.load_pretrained(str(weights))
    for scale in model.mssa.scales:
        torch.nn.init.normal_(scale.expert_out.weight, std=0.5)
    model.save_pretrained(folder / "focus")
    return folder / "focus"


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> Path:
    """By the faster exporter; the other one has tests of its own for each part."""
    out = tmp_path_factory.mktemp("exported") / "sam3"
    export(trained, out, opset=16, texts=["red  mug", "Cup", "cup"])
    return out


def frame() -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 255, (84, 112, 3), np.uint8))


def test_the_folder_has_three_networks_and_the_texts(exported):
    model = ModelFolder.read(exported)
    assert isinstance(model.focus, Stages) and model.prompts == ("box", "text")
    assert model.prompt_input is not None and model.prompt_input.side == 112
    with np.load(model.texts, allow_pickle=False) as texts:
        assert texts["texts"].tolist() == ["red mug", "cup"]


@pytest.mark.parametrize("names", [["box"], ["text"], ["both"], ["box", "text", "both", "text", "box"]], ids="+".join)
def test_the_pipeline_answers_as_torch_does(exported, names):
    targets = [TARGETS[name] for name in names]
    result = Pipeline.open(exported, "onnxruntime", threads=1).process(frame(), targets)
    expected = Pipeline.open(exported, "torch").process(frame(), targets)
    depth = expected.relative_depth
    assert depth.std() > 0.01 * np.abs(depth).mean(), "a constant output would prove nothing"
    for got, want in zip(result.targets, expected.targets):
        assert np.mean(got.mask != want.mask) < 0.002
    near_same = np.abs(result.relative_depth - depth) < 2e-3 * depth.std()
    assert near_same.mean() > 0.98, "all but where a pixel of a mask has changed sides"


def test_a_text_prompts_another_depth_than_another_text(exported):
    pipeline = Pipeline.open(exported, threads=1)
    depths = [pipeline.process(frame(), [Target("t", text=text)]).relative_depth for text in ("red mug", "cup")]
    assert np.abs(depths[0] - depths[1]).max() > 1e-3 * depths[0].std()


def test_texts_that_were_not_exported_are_refused_by_onnx_and_read_by_torch(exported):
    target = [Target("t", text="red cup")]
    with pytest.raises(ValueError, match="what 'red cup' is; nearest known: red mug, cup"):
        Pipeline.open(exported, "onnxruntime", threads=1).process(frame(), target)
    assert Pipeline.open(exported, "torch").process(frame(), target).relative_depth.shape == (84, 112)


def test_as_a_finder_it_sees_what_the_pipeline_sees(exported):
    targets = [TARGETS["text"], TARGETS["both"]]
    expected = Pipeline.open(exported, "onnxruntime", threads=1).process(frame(), targets).targets
    masks = Finder.open(exported, "onnxruntime", threads=1).find(frame(), targets)
    assert all(np.array_equal(mask, want.mask) for mask, want in zip(masks, expected))


def test_tensorrt_runs_and_judges_the_stages_as_one(exported, tmp_path, monkeypatch):
    fake = fake_tensorrt.install(monkeypatch)
    monkeypatch.setenv("FOCUSDEPTH_CACHE", str(tmp_path))
    said: list[str] = []
    pipeline = Pipeline.open(exported, "tensorrt", report=said.append)
    assert fake.builds == [f"{name}.fp16.onnx" for name in ("vision", "prompt", "geometry", "plain")]
    result = pipeline.process(frame(), list(TARGETS.values()))
    expected = Pipeline.open(exported, "onnxruntime").process(frame(), list(TARGETS.values()))
    deviation = np.sqrt(np.mean((result.relative_depth - expected.relative_depth) ** 2))
    assert deviation < 0.02 * expected.relative_depth.std()
    verdicts = {path.name.partition("-")[0]: Manifest.read(path).verdict for path in tmp_path.rglob("*.json")}
    assert len(verdicts["geometry"]["engines"]) == 3 and verdicts["vision"] is None and verdicts["plain"] is not None
    fake.builds.clear()
    Pipeline.open(exported, "tensorrt")
    assert fake.builds == []
