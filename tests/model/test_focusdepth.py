from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.model.focusdepth import Features, FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
from focusdepth_core.model.mssa import MSSAConfig
from focusdepth_core.model.prompt.base import NEGATIVE, PADDING, POSITIVE, Prompt, TextFeatures
from focusdepth_core.model.prompt.lite import LiteConfig

GEOMETRY = DepthAnythingV2Config(
    height=42, width=70, hidden=32, layers=4, heads=2, neck=(8, 8, 16, 16), fusion=16, head=8
)
CONFIG = FocusDepthConfig(GEOMETRY, LiteConfig(width=16, depth=1, heads=2, stem=8))
BOXES = torch.tensor([[[0.4, 0.5, 0.3, 0.4], [0.8, 0.3, 0.2, 0.3], [0.2, 0.7, 0.3, 0.3]]])
ONE, TWO = Prompt.box(BOXES[:, :1]), Prompt.box(BOXES[:, :2])
ABLATIONS = {
    "pyramid": {},
    "tokens": {"grids": "tokens"},
    "shuffled": {"alignment": "shuffled"},
    "shared": {"shared": True},
    "one MLP": {"experts": 1, "rank": 64},
    "no gate": {"gate": False},
    "box raster only": {"source": "box"},
}


def _model(**mssa) -> FocusDepth:
    torch.manual_seed(0)
    return FocusDepth(replace(CONFIG, mssa=MSSAConfig(**mssa), auxiliary_mask=True)).eval()


@pytest.fixture
def model():
    return _model()


def _moved(model: FocusDepth) -> FocusDepth:
    """As if trained: the experts no longer answer zero."""
    for scale in model.mssa.scales:
        torch.nn.init.normal_(scale.expert_out.weight, std=0.5)
    return model


@pytest.mark.parametrize("ablation", ABLATIONS.values(), ids=ABLATIONS)
@pytest.mark.parametrize("prompt", [ONE, TWO], ids=["one", "two"])
@torch.no_grad()
def test_untrained_equals_the_plain_net_bit_for_bit(ablation, prompt):
    model, image = _model(**ablation), torch.randn(1, 3, 42, 70)
    plain = model.geometry.net(image).predicted_depth  # as the library computes it
    assert plain.std() > 0.05 * plain.abs().mean(), "a constant output would prove nothing"
    assert not torch.equal(plain, model.geometry.net(torch.randn(1, 3, 42, 70)).predicted_depth)
    assert torch.equal(model(image, prompt).depth[:, 0], plain)
    each = model(image, prompt, union=False).depth
    assert each.shape == (1, prompt.targets, 42, 70)
    assert torch.allclose(each, plain.expand_as(each), atol=1e-4 * plain.std())  # a batch rounds differently


@pytest.mark.parametrize("ablation", ABLATIONS.values(), ids=ABLATIONS)
@torch.no_grad()
def test_a_target_that_asks_for_nothing_changes_no_depth(ablation):
    model, image = _moved(_model(**ablation)), torch.randn(1, 3, 42, 70)
    nothing = torch.full((1, 2, 1), PADDING)
    plain = model.geometry.net(image).predicted_depth
    assert torch.equal(model(image, Prompt(BOXES[:, :2, None], nothing)).depth[:, 0], plain)
    beside = Prompt(BOXES[:, :2, None], torch.tensor([[[POSITIVE], [PADDING]]]))
    alone = model(image, ONE).depth
    assert (alone - plain).abs().max() > 0.01 * plain.std()
    assert torch.allclose(model(image, beside).depth, alone, atol=1e-4 * plain.std())


@pytest.mark.parametrize("union", [True, False])
@torch.no_grad()
def test_a_text_and_a_mask_ask_as_a_box_does(union):
    torch.manual_seed(0)
    branch = LiteConfig(width=16, depth=1, heads=2, stem=8, text=8, words=("mug",), prior=True, search=8)
    model, image = _moved(FocusDepth(replace(CONFIG, prompt=branch))).eval(), torch.randn(1, 3, 42, 70)
    features, mask = (x[None] for x in model.prompt.encode_text(["mug"]))
    nowhere, place = torch.zeros(1, 1, *model.prompt.mask_grid), torch.zeros(1, 1, *model.prompt.mask_grid)
    place[..., 3, 5] = 0.5
    nothing = replace(Prompt.words(TextFeatures(features, mask & False)), prior=nowhere)
    plain = model.geometry.net(image).predicted_depth
    assert torch.equal(model(image, nothing, union=union).depth[:, 0], plain)
    for asked in (replace(nothing, text=TextFeatures(features, mask)), replace(nothing, prior=place)):
        assert (model(image, asked, union=union).depth - plain).abs().max() > 0.01 * plain.std()


@pytest.mark.parametrize("ablation", ABLATIONS.values(), ids=ABLATIONS)
@torch.no_grad()
def test_a_prompt_changes_the_depth_of_a_trained_net(ablation):
    model, image = _moved(_model(**ablation)), torch.randn(1, 3, 42, 70)
    here, there = (model(image, Prompt.box(BOXES[:, i : i + 1])).depth for i in (0, 1))
    assert (here - there).abs().max() > 1e-3 * here.std()


@torch.no_grad()
def test_ablations_differ_in_what_they_compute():
    image, depths = torch.randn(1, 3, 42, 70), {}
    for name in ("pyramid", "shuffled", "box raster only"):  # the same parameters
        torch.manual_seed(1)
        depths[name] = _moved(_model(**ABLATIONS[name]))(image, ONE).depth
    assert not torch.allclose(depths["pyramid"], depths["shuffled"], atol=1e-3)
    assert not torch.allclose(depths["pyramid"], depths["box raster only"], atol=1e-3)
    assert len(_model(shared=True).mssa.scales) == 1 and len(_model().mssa.scales) == 4
    assert _model(gate=False).mssa.scales[0].gate is None


@torch.no_grad()
def test_one_by_one_a_target_does_not_depend_on_the_others(model):
    image = torch.randn(1, 3, 42, 70)
    _moved(model)
    alone, together = model(image, ONE, union=False), model(image, TWO, union=False)
    assert together.depth.shape == (1, 2, 42, 70) and together.auxiliary.shape == (1, 2, 24, 40)
    assert torch.allclose(alone.depth[0, 0], together.depth[0, 0], atol=1e-4 * alone.depth.std())
    assert torch.allclose(alone.mask_logits[0, 0], together.mask_logits[0, 0], atol=1e-5)
    assert torch.allclose(model(image, ONE).depth, alone.depth, atol=1e-4 * alone.depth.std())
    assert not torch.allclose(together.depth[0, 0], together.depth[0, 1], atol=1e-2 * alone.depth.std())


@torch.no_grad()
def test_in_union_only_the_depth_is_shared(model):
    image = torch.randn(1, 3, 42, 70)
    _moved(model)
    alone, together = model(image, ONE), model(image, TWO)
    assert together.depth.shape == (1, 1, 42, 70) and together.mask_logits.shape == (1, 2, 24, 40)
    assert torch.allclose(alone.mask_logits[0, 0], together.mask_logits[0, 0], atol=1e-5)
    assert not torch.allclose(alone.depth, together.depth, atol=1e-3 * alone.depth.std())


@torch.no_grad()
def test_features_computed_before_give_the_same_depth(model):
    image = torch.randn(1, 3, 42, 70)
    _moved(model)
    tokens = model.geometry.encode(image)
    kept = model.prompt.encode_image(image, tokens)
    maps = model.prompt(kept, TWO)
    cached = model.decode(Features(tokens, model.mssa.align(maps), maps.mask_logits), TWO)
    for got, expected in zip(cached[:3], model(image, TWO)):
        assert torch.equal(got, expected)


@torch.no_grad()
def test_images_of_a_batch_do_not_mix(model):
    images, boxes = torch.randn(2, 3, 42, 70), torch.cat([BOXES[:, :1], BOXES[:, 1:2]])
    _moved(model)
    batched = model(images, Prompt.box(boxes)).depth
    for i in range(2):
        single = model(images[i : i + 1], Prompt.box(boxes[i : i + 1])).depth
        assert torch.allclose(single[0], batched[i], atol=1e-4 * single.std())


@pytest.mark.parametrize("grids", ["pyramid", "tokens"])
@pytest.mark.parametrize(("stage", "decoder_learns"), [(1, False), (2, True)])
def test_gradients_by_stage(grids, stage, decoder_learns):
    model = _moved(_model(grids=grids))
    learning = {id(p) for p in model.set_stage(stage)}
    out = model.train()(torch.randn(2, 3, 42, 70), Prompt.box(BOXES[:, :1].repeat(2, 1, 1)))
    sum(x.std() for x in out if x is not None).backward()
    net = model.geometry.net
    for module, learns in ((net.backbone, False), (net.neck, decoder_learns), (net.head, decoder_learns)):
        assert any(p.grad is not None for p in module.parameters()) == learns
    assert any(p.grad is not None for p in model.auxiliary.parameters()) == decoder_learns
    missing = [n for n, p in model.named_parameters() if id(p) in learning and p.grad is None]
    assert not missing
    assert not net.backbone.training and model.mssa.training and model.prompt.training


def test_pretraining_moves_the_geometry_branch_alone(model):
    learning = {id(p) for p in model.set_geometry()}
    model.train().geometry(torch.randn(2, 3, 42, 70)).std().backward()
    named = dict(model.named_parameters())
    assert {n for n, p in named.items() if p.grad is not None} == {n for n, p in named.items() if id(p) in learning}
    assert all(n.startswith("geometry.") for n, p in named.items() if p.grad is not None)
    assert model.geometry.net.backbone.training


def test_first_step_moves_only_the_experts_last_layer_of_mssa(model):
    model.set_stage(1)
    model.train()(torch.randn(1, 3, 42, 70), ONE).depth.std().backward()
    moved = {n for n, p in model.mssa.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved == {f"scales.{i}.expert_out.weight" for i in range(4)}


def test_a_prompt_without_a_box_covers_the_image():
    text = TextFeatures(torch.zeros(1, 2, 4, 8), torch.ones(1, 2, 4, dtype=torch.bool))
    assert torch.equal(Prompt.words(text).raster((3, 5)), torch.ones(1, 2, 3, 5))


def test_negative_boxes_are_no_target():
    prompt = Prompt(BOXES[:, None], torch.tensor([[[POSITIVE, NEGATIVE, PADDING]]]))
    assert torch.equal(prompt.raster((12, 20)), ONE.raster((12, 20)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 40}, "height = 40 px is not a multiple of the 14 px patch"),
        ({"layers": 6}, "layers = 6"),
        ({"heads": 5}, "hidden = 32 does not divide into 5 heads"),
        ({"heads": 0}, "heads = 0; it must be at least 1"),
        ({"layers": -4}, "layers = -4; it must be at least 1"),
        ({"fusion": 0}, "fusion = 0; it must be at least 1"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(GEOMETRY, **change)


@pytest.mark.parametrize(
    ("change", "message"), [({"stem": 12}, "stem = 12 is no multiple of 8"), ({"heads": 0}, "heads = 0; it must be")]
)
def test_impossible_lite_branches_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LiteConfig(**change)


def test_mssa_without_experts_is_refused():
    with pytest.raises(ValueError, match="experts = 0"):
        MSSAConfig(experts=0)


def test_there_is_no_stage_3(model):
    with pytest.raises(ValueError, match="stage = 3"):
        model.set_stage(3)


@torch.no_grad()
def test_a_box_channel_starts_as_the_net_without_and_shows_where_the_boxes_are(model):
    told = FocusDepth(replace(CONFIG, geometry=replace(GEOMETRY, box_channel=True))).eval()
    told.geometry.adopt(model.geometry.state_dict())
    image = torch.randn(1, 3, 42, 70)
    plain = model.geometry(image)
    assert plain.std() > 0.05 * plain.abs().mean(), "a constant output would prove nothing"
    assert torch.equal(told(image, TWO).depth[:, 0], plain) and torch.equal(told.geometry(image), plain)
    torch.nn.init.normal_(told.geometry.net.backbone.embeddings.patch_embeddings.projection.weight[:, 3:])
    one, two = (told(image, prompt).depth[:, 0] for prompt in (ONE, TWO))
    assert torch.equal(told.geometry(image), plain), "without a prompt the channel is empty"
    for a, b in ((one, plain), (two, plain), (one, two)):
        assert (a - b).abs().max() > 1e-3 * plain.std()
    with pytest.raises(ValueError, match="weights of another depth net, see net"):
        told.geometry.adopt(FocusDepth(replace(CONFIG, geometry=replace(GEOMETRY, hidden=16))).geometry.state_dict())
