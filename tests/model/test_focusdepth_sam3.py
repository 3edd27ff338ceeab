"""SAM3 beside Depth Anything, as in the paper: prompt features fused on the token grids."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
from focusdepth_core.model.mssa import MSSAConfig
from focusdepth_core.model.prompt.base import POSITIVE, Prompt, TextFeatures
from focusdepth_core.model.prompt.sam3 import Sam3PromptConfig
from tests.model.tiny_sam3 import ARCHITECTURE, tensors, write

GEOMETRY = DepthAnythingV2Config(
    height=42, width=70, hidden=32, layers=4, heads=2, neck=(8, 8, 16, 16), fusion=16, head=8
)
BOXES = torch.tensor([[[0.4, 0.5, 0.3, 0.4], [0.8, 0.3, 0.2, 0.3]]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sam3"), tensors())


@pytest.fixture
def model(folder):
    torch.manual_seed(0)
    prompt = Sam3PromptConfig(weights=str(folder), side=112, architecture=ARCHITECTURE)
    config = FocusDepthConfig(GEOMETRY, prompt, MSSAConfig(grids="tokens"), auxiliary_mask=True)
    return FocusDepth.from_branches(config).eval()


@pytest.fixture
def image():
    torch.manual_seed(1)
    return torch.randn(1, 3, 42, 70), torch.randn(1, 3, 112, 112)


def prompts(model: FocusDepth) -> dict[str, Prompt]:
    text = TextFeatures(*(x[None] for x in model.prompt.encode_text(["red mug", "cup"])))
    labels = torch.full((1, 2, 1), POSITIVE)
    return {"box": Prompt.box(BOXES), "text": Prompt.words(text), "both": Prompt(BOXES[:, :, None], labels, text)}


def _moved(model: FocusDepth) -> FocusDepth:
    for scale in model.mssa.scales:
        torch.nn.init.normal_(scale.expert_out.weight, std=0.5)
    return model


@pytest.mark.parametrize("kind", ["box", "text", "both"])
@torch.no_grad()
def test_untrained_equals_the_plain_net_bit_for_bit(model, image, kind):
    plain = model.geometry.net(image[0]).predicted_depth
    assert plain.std() > 0.05 * plain.abs().mean()
    assert torch.equal(model(image[0], prompts(model)[kind], image[1]).depth[:, 0], plain)


@torch.no_grad()
def test_box_text_and_both_give_different_depth(model, image):
    _moved(model)
    depths = [model(image[0], p, image[1]).depth for p in prompts(model).values()]
    for i in range(3):
        assert not torch.allclose(depths[i], depths[i - 1], atol=1e-2 * depths[i].std())


@torch.no_grad()
def test_one_by_one_a_target_does_not_depend_on_the_others(model, image):
    _moved(model)
    together = model(image[0], Prompt.box(BOXES), image[1], union=False)
    alone = model(image[0], Prompt.box(BOXES[:, 1:]), image[1], union=False)
    assert torch.allclose(together.depth[0, 1], alone.depth[0, 0], atol=1e-4 * alone.depth.std())
    assert torch.allclose(together.mask_logits[0, 1], alone.mask_logits[0, 0], atol=1e-4)


@pytest.mark.parametrize("stage", [1, 2])
def test_sam3_gets_no_gradient_and_stays_in_evaluation_mode(model, image, stage):
    learning = {id(p) for p in _moved(model).set_stage(stage)}
    out = model.train()(image[0], prompts(model)["both"], image[1])
    (out.depth.std() + out.auxiliary.std()).backward()
    assert not any(m.training for m in model.prompt.modules())
    assert all(p.grad is None for p in [*model.prompt.parameters(), *model.geometry.encoder.parameters()])
    missing = [n for n, p in model.named_parameters() if id(p) in learning and p.grad is None]
    assert not missing
    assert any(p.grad is not None for p in model.auxiliary.parameters()) == (stage == 2)


def test_the_prompt_branch_needs_its_own_image(model, image):
    with pytest.raises(ValueError, match="prompt_image is missing: .* 112 px"):
        model(image[0], Prompt.box(BOXES))


@torch.no_grad()
def test_sam3_is_loaded_from_its_owner_and_never_stored_again(model, image, tmp_path):
    _moved(model).save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 1e6
    loaded = FocusDepth.from_pretrained(tmp_path / "model")
    prompt = prompts(model)["text"]
    got, expected = (net(image[0], prompt, image[1]) for net in (loaded, model))
    assert torch.equal(got.depth, expected.depth) and torch.equal(got.mask_logits, expected.mask_logits)


@torch.no_grad()
def test_random_sam3_is_stored(image, tmp_path):
    prompt = Sam3PromptConfig(weights=None, side=112, architecture=ARCHITECTURE)
    model = FocusDepth(FocusDepthConfig(GEOMETRY, prompt)).eval()
    model.save_pretrained(tmp_path / "model")
    loaded = FocusDepth.from_pretrained(tmp_path / "model")
    assert torch.equal(
        loaded(image[0], Prompt.box(BOXES), image[1])[1], model(image[0], Prompt.box(BOXES), image[1])[1]
    )


def test_the_licence_names_both_branches(model):
    assert model.config.licence == "Apache-2.0 AND LicenseRef-SAM"
    clean = replace(model.config, prompt=Sam3PromptConfig(weights=None))
    assert clean.licence == "Apache-2.0"
