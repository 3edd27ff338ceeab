"""A trained folder runs as it is; and the model that is shipped is one."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.model_folder import ModelFolder, default_model_dir
from focusdepth_core.engine.open import open_engine, open_model
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
from focusdepth_core.model.prompt.base import Prompt, TextFeatures
from focusdepth_core.model.prompt.lite import LiteConfig
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target

GEOMETRY = DepthAnythingV2Config(height=42, width=56, hidden=16, layers=4, heads=2, neck=(8, 8, 8, 8), fusion=8, head=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    lite = LiteConfig(width=16, depth=1, heads=2, stem=8, text=8, words=("mug", "red"), prior=True)
    folder = tmp_path_factory.mktemp("trained") / "toy"
    FocusDepth(FocusDepthConfig(GEOMETRY, lite)).save_pretrained(folder)
    return folder


def frame(width: int = 112, height: int = 84) -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))


def test_a_trained_folder_runs_without_onnx_files(folder):
    pipeline = Pipeline.open(folder)
    assert pipeline.backend.startswith("torch, ")
    targets = [Target("box", (10, 10, 60, 60)), Target("text", text="red mug"), Target("both", (5, 5, 50, 50), "mug")]
    result = pipeline.process(frame(), targets)
    assert result.relative_depth.shape == (84, 112) and len(result.targets) == 3
    with pytest.raises(ValueError, match="'blue' is not among the 2 words"):
        pipeline.process(frame(), [Target("t", text="blue mug")])


@pytest.mark.parametrize("by", ["box", "text"])
def test_it_computes_what_the_model_computes(folder, by):
    model, networks = FocusDepth.from_pretrained(folder), open_model(ModelFolder.read(folder), "torch")
    image, boxes = torch.randn(1, 3, 42, 56), torch.rand(2, 4) * 0.4 + 0.2
    words = model.prompt.encode_text(["red mug", "mug"])
    prompt = Prompt.box(boxes[None]) if by == "box" else Prompt.words(TextFeatures(*(x[None] for x in words)))
    told = [networks.texts.nothing() if by == "box" else networks.texts.features(text) for text in ("red mug", "mug")]
    given = {name: np.stack(values) for name, values in zip(("text", "text_mask"), zip(*told))}
    given["has_box"] = np.full(2, by == "box", np.float32)
    given["prior"] = np.zeros((2, *model.prompt.mask_grid), np.float32)
    outputs = networks.focus.run({"image": image.numpy(), "boxes": boxes.numpy(), **given})
    with torch.inference_mode():
        expected, plain = model(image, prompt), model.geometry(image)
    np.testing.assert_allclose(outputs["depth"], expected.depth[0], atol=1e-5)
    np.testing.assert_allclose(outputs["mask_logits"], expected.mask_logits[0], atol=1e-4)
    np.testing.assert_allclose(networks.plain.run({"image": image.numpy()})["depth"], plain, atol=1e-5)


def test_what_cannot_be_run_is_said_with_the_remedy(folder, tmp_path):
    with pytest.raises(
        EngineError, match="toy has no ONNX files; write them with .* export .* OUT`, or choose .* torch"
    ):
        open_model(ModelFolder.read(folder), "onnxruntime")
    with pytest.raises(EngineError, match="focus.onnx is an ONNX file; torch runs whole model folders"):
        open_engine(tmp_path / "focus.onnx", "torch")
    cut = shutil.copytree(folder, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(EngineError, match="model toy cannot be loaded by torch: .*model.safetensors is damaged"):
        open_model(ModelFolder.read(cut), "torch")
    with pytest.raises(EngineError, match=r"'image' of Whole is float32 \[1, 3, 42, 56\]"):
        given = {name: np.zeros(1, np.float32) for name in ("image", "boxes", "has_box", "text", "text_mask", "prior")}
        open_model(ModelFolder.read(folder), "torch").focus.run(given)


@pytest.mark.parametrize(("count", "tolerance"), [(0, 1e-4), (1, 1e-4), (3, 0.02)])
def test_the_shipped_model_equals_its_onnx_files(count, tolerance):
    """Of several targets its ONNX file averages features before they are aligned, the net today after that."""
    onnx, reference = (Pipeline.open(default_model_dir(), backend) for backend in ("onnxruntime", "torch"))
    boxes = [(50, 50, 200, 150), (10, 100, 120, 230), (150, 20, 310, 220)]
    targets = [Target(str(i), box) for i, box in enumerate(boxes[:count])]
    result, expected = (p.process(frame(320, 240), targets) for p in (onnx, reference))
    difference = np.abs(result.relative_depth - expected.relative_depth)
    assert difference.max() < tolerance * expected.relative_depth.std()
    for got, want in zip(result.targets, expected.targets):
        assert np.mean(got.mask != want.mask) < 1e-3
