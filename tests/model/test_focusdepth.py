from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import GeometryConfig
from focusdepth_core.model.prompt.lite import LiteConfig

GEOMETRY = GeometryConfig(height=42, width=70, hidden=32, layers=4, heads=2, neck=(8, 8, 16, 16), fusion=16, head=8)
CONFIG = FocusDepthConfig(GEOMETRY, LiteConfig(width=16, depth=1, heads=2, stem=8))
ONE, TWO = torch.tensor([[[0.4, 0.5, 0.3, 0.4]]]), torch.tensor([[[0.4, 0.5, 0.3, 0.4], [0.8, 0.3, 0.2, 0.3]]])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return FocusDepth(CONFIG).eval()


def _moved(model: FocusDepth) -> FocusDepth:
    """As if trained: the experts no longer answer zero."""
    for scale in model.mssa.scales:
        torch.nn.init.normal_(scale.expert_out.weight, std=0.5)
    return model


@pytest.mark.parametrize("boxes", [ONE, TWO])
@torch.no_grad()
def test_untrained_equals_the_plain_net_bit_for_bit(model, boxes):
    image = torch.randn(1, 3, 42, 70)
    plain = model.geometry(image)
    assert plain.std() > 0.05 * plain.abs().mean(), "a constant output would prove nothing"
    assert not torch.equal(plain, model.geometry(torch.randn(1, 3, 42, 70)))
    assert torch.equal(model(image, boxes)[0], plain)


@torch.no_grad()
def test_a_prompt_changes_the_depth_of_a_trained_net(model):
    image = torch.randn(1, 3, 42, 70)
    _moved(model)
    here, there = (model(image, TWO[:, i : i + 1])[0] for i in (0, 1))
    assert (here - there).abs().max() > 1e-3 * here.std()


@torch.no_grad()
def test_mask_of_a_target_does_not_depend_on_other_targets(model):
    image = torch.randn(1, 3, 42, 70)
    alone, together = model(image, ONE)[1], model(image, TWO)[1]
    assert together.shape == (1, 2, 24, 40)
    assert torch.allclose(alone[0, 0], together[0, 0], atol=1e-5)


@torch.no_grad()
def test_images_of_a_batch_do_not_mix(model):
    images, boxes = torch.randn(2, 3, 42, 70), torch.cat([ONE, TWO[:, 1:]])
    _moved(model)
    batched = model(images, boxes)[0]
    for i in range(2):
        assert torch.allclose(model(images[i : i + 1], boxes[i : i + 1])[0][0], batched[i], atol=1e-4)


@pytest.mark.parametrize(("stage", "decoder_learns"), [(1, False), (2, True)])
def test_gradients_by_stage(model, stage, decoder_learns):
    _moved(model)
    learning = {id(p) for p in model.set_stage(stage)}
    depth, logits = model.train()(torch.randn(2, 3, 42, 70), ONE.repeat(2, 1, 1))
    (depth.std() + logits.std()).backward()
    net = model.geometry.net
    for module, learns in ((net.backbone, False), (net.neck, decoder_learns), (net.head, decoder_learns)):
        assert any(p.grad is not None for p in module.parameters()) == learns
    missing = [n for n, p in model.named_parameters() if id(p) in learning and p.grad is None]
    assert not missing
    assert not net.backbone.training and model.mssa.training


def test_first_step_moves_only_the_experts_last_layer_of_mssa(model):
    model.set_stage(1)
    model.train()(torch.randn(1, 3, 42, 70), ONE)[0].std().backward()
    moved = {n for n, p in model.mssa.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved == {f"scales.{i}.expert_out.weight" for i in range(4)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 40}, "height = 40 px is not a multiple of the 14 px patch"),
        ({"layers": 6}, "layers = 6"),
        ({"heads": 5}, "hidden = 32 does not divide into 5 heads"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        GeometryConfig(**{**vars(GEOMETRY), **change})


def test_there_is_no_stage_3(model):
    with pytest.raises(ValueError, match="stage = 3"):
        model.set_stage(3)


def test_config_survives_json():
    assert FocusDepthConfig.from_dict(CONFIG.to_dict()) == CONFIG
