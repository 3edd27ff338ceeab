from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch
from safetensors.torch import load_file, save_file
from transformers import DepthAnythingForDepthEstimation

import focusdepth_core
from focusdepth_core.config import parse
from focusdepth_core.model.geometry.da2 import BASE, LARGE, SMALL, DepthAnythingV2, DepthAnythingV2Config

TINY = DepthAnythingV2Config(
    height=42,
    width=70,
    hidden=32,
    layers=5,
    heads=2,
    taps=(1, 3, 4, 5),
    neck=(8, 8, 16, 16),
    fusion=16,
    head=8,
    positions=56,
    final_relu=True,
)
NANO = Path(focusdepth_core.__file__).parent / "weights" / "nano-sim"


@pytest.fixture(scope="module")
def original():
    """As the library has it, but with an output that is neither all zero nor all positive."""
    torch.manual_seed(0)
    net = DepthAnythingForDepthEstimation(TINY.to_transformers()).eval()
    net.load_state_dict(DepthAnythingV2(TINY).net.state_dict())
    with torch.no_grad():
        net.head.conv3.bias.fill_(-net.head.conv3(torch.ones(1, TINY.head, 1, 1)).item())
    return net


@pytest.fixture
def published(original, tmp_path):
    original.save_pretrained(tmp_path)
    return tmp_path


def _loaded(folder, **changes) -> DepthAnythingV2:
    net = DepthAnythingV2(replace(TINY, **changes)).eval()
    net.load_pretrained(folder)
    return net


def _edit(folder: Path, **changes) -> None:
    """Tensors of the checkpoint; None removes one."""
    path = folder / "model.safetensors"
    state = load_file(path) | changes
    save_file({k: v for k, v in state.items() if v is not None}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("size", [(42, 70), (56, 56)], ids=["stretched positions", "stored positions"])
@torch.no_grad()
def test_a_published_checkpoint_computes_what_the_library_computes_bit_for_bit(original, published, size):
    names = load_file(published / "model.safetensors")
    assert "backbone.encoder.layer.0.attention.attention.query.weight" in names  # as on the hub
    image = torch.randn(2, 3, *size)
    expected = original(image).predicted_depth
    assert 0.05 < (expected == 0).float().mean() < 0.95 and expected.std() > 0.1
    assert torch.equal(_loaded(published)(image), expected)


@torch.no_grad()
def test_the_final_relu_acts_in_evaluation_mode_only(published):
    net, image = _loaded(published), torch.randn(1, 3, 42, 70)
    cut, uncut = net(image), net.train()(image)
    assert (uncut < 0).any()
    assert torch.equal(cut, uncut.relu())
    assert torch.equal(_loaded(published, final_relu=False)(image), uncut)


def test_missing_extra_and_misshaped_tensors_are_listed_and_nothing_is_loaded(published):
    query = "backbone.encoder.layer.0.attention.attention.query.weight"
    _edit(published, **{query: None, "head.conv3.bias": torch.zeros(3), "surplus": torch.zeros(1)})
    net = DepthAnythingV2(TINY)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(ValueError) as error:
        net.load_pretrained(published)
    message = str(error.value)
    assert str(published / "model.safetensors") in message
    assert f"1 missing: {query}" in message and "1 extra: surplus" in message
    assert "1 of another shape: head.conv3.bias (3,) instead of (1,)" in message
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 64}, "hidden = 64, there 32"),
        ({"taps": (1, 2, 3, 5)}, r"taps = \(1, 2, 3, 5\), there \(1, 3, 4, 5\)"),
        ({"positions": 42}, "positions = 42, there 56"),
        ({"heads": 4, "fusion": 8}, "heads = 4, there 2; fusion = 8, there 16"),
    ],
)
def test_another_size_is_refused_with_the_field_and_both_values(published, change, message):
    with pytest.raises(ValueError, match=message):
        _loaded(published, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth_estimation_type": "metric"}, "type = relative, there metric"),
        ({"model_type": "dinov2"}, "model_type = depth_anything, there dinov2"),
        ({"fusion_hidden_size": "wide"}, "is not understood.*fusion_hidden_size"),
    ],
)
def test_a_net_of_another_kind_is_refused(published, change, message):
    path = published / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=f"(?s){path}.*{message}"):
        _loaded(published)


def test_the_shipped_nano_weights_still_fit():
    config = json.loads((NANO / "config.json").read_text())["architecture"]["geometry"]
    net = DepthAnythingV2(parse(DepthAnythingV2Config, config, "nano-sim"))
    state = load_file(NANO / "model.safetensors")
    net.load_state_dict({k.removeprefix("geometry."): v for k, v in state.items() if k.startswith("geometry.")})


@pytest.mark.parametrize(("config", "millions"), [(SMALL, 24.8), (BASE, 97.5), (LARGE, 335.3)], ids="SBL")
def test_published_sizes(config, millions):
    with torch.device("meta"):
        net = DepthAnythingV2(config)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(millions * 1e6, rel=0.002)
    layers = net.net.config.backbone_config.out_indices
    assert list(layers) == ([5, 12, 18, 24] if config is LARGE else [3, 6, 9, 12])


def test_licences():
    assert [c.licence for c in (SMALL, BASE, LARGE)] == ["Apache-2.0", "CC-BY-NC-4.0", "CC-BY-NC-4.0"]
    assert DepthAnythingV2Config().licence == "Apache-2.0"
    assert replace(SMALL, weights="somebody/else").licence == "unknown"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taps": None}, "layers = 5 is no multiple of 4"),
        ({"taps": (1, 3, 3, 5)}, r"taps = \(1, 3, 3, 5\)"),
        ({"taps": (1, 3, 4, 6)}, "at most layers = 5"),
        ({"positions": 50}, "positions = 50 px"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)
