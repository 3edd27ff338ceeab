from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch
from safetensors.torch import load_file, save_file

from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
from focusdepth_core.model.prompt.base import Prompt
from focusdepth_core.model.prompt.lite import LiteConfig

GEOMETRY = DepthAnythingV2Config(
    height=42, width=56, hidden=32, layers=4, heads=2, neck=(8, 8, 16, 16), fusion=16, head=8
)
CONFIG = FocusDepthConfig(GEOMETRY, LiteConfig(width=16, depth=1, heads=2, stem=8), auxiliary_mask=True)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = FocusDepth(CONFIG)
    for scale in model.mssa.scales:
        torch.nn.init.normal_(scale.expert_out.weight)
    return model.eval()


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "model", "toy")
    return tmp_path / "model"


@torch.no_grad()
def test_a_saved_model_answers_as_before(model, folder):
    image, prompt = torch.randn(1, 3, 42, 56), Prompt.box(torch.tensor([[[0.4, 0.5, 0.3, 0.4]]]))
    loaded = FocusDepth.from_pretrained(folder)
    assert loaded.config == CONFIG and not loaded.training
    for got, expected in zip(loaded(image, prompt)[:2], model(image, prompt)):
        assert torch.equal(got, expected)


def test_the_config_says_what_the_running_side_must_know(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["name"] == "toy" and config["space"] == "affine_disparity" and config["prompts"] == ["box"]
    assert config["input"]["width"] == 56 and config["license"] == "Apache-2.0"


def test_saving_again_keeps_other_files(model, folder):
    (folder / "README.md").write_text("card")
    model.save_pretrained(folder, "again")
    assert (folder / "README.md").read_text() == "card"
    assert json.loads((folder / "config.json").read_text())["name"] == "again"
    assert sorted(p.name for p in folder.parent.iterdir()) == ["model"]


def test_a_save_that_fails_leaves_the_old_model(model, folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    monkeypatch.setattr("focusdepth_core.model.hub.save_file", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        model.save_pretrained(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_missing_extra_and_misshaped_weights_are_listed(folder):
    weights = load_file(folder / "model.safetensors")
    weights["auxiliary.2.bias"] = torch.zeros(7)
    weights["surplus"] = torch.zeros(1)
    del weights["mssa.scales.0.gate.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError) as error:
        FocusDepth.from_pretrained(folder)
    assert all(name in str(error.value) for name in ("auxiliary.2.bias", "surplus", "mssa.scales.0.gate.bias"))


def test_truncated_weights_are_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        FocusDepth.from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "has no 'architecture'"),
        ('{"architecture": {"geometry": {"kind": "depth_anything_v2", "height": 40}}}', "height = 40 px"),
        ('{"architecture": {"mssa": {"expert": 3}}}', "unknown field mssa.expert"),
    ],
)
def test_other_configs_are_refused(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        FocusDepth.from_pretrained(folder)


def test_branches_start_from_their_pretrained_weights(model, tmp_path):
    model.geometry.net.save_pretrained(tmp_path / "da2")
    geometry = replace(GEOMETRY, weights=str(tmp_path / "da2"))
    fresh = FocusDepth.from_branches(replace(CONFIG, geometry=geometry))
    for name, tensor in model.geometry.state_dict().items():
        assert torch.equal(fresh.geometry.state_dict()[name], tensor), name
