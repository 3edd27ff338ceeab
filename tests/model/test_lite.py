from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch
from safetensors.torch import load_file

from focusdepth_core.model.hub import read_config
from focusdepth_core.model.prompt.base import NEGATIVE, PADDING, POSITIVE, Prompt
from focusdepth_core.model.prompt.lite import LiteConfig, LitePrompt

SHIPPED = Path(__file__).parents[2] / "focusdepth_core" / "weights" / "nano-sim" / "model.safetensors"
GRID, CHANNELS = (3, 5), 32
CONFIG = LiteConfig(width=16, depth=1, heads=2, stem=8, prior=True)
HERE, THERE = [0.25, 0.4, 0.3, 0.4], [0.75, 0.6, 0.3, 0.4]
BOX, TWO = Prompt.box(torch.tensor([[HERE]])), Prompt.box(torch.tensor([[HERE, THERE]]))


def _branch(config=CONFIG) -> LitePrompt:
    torch.manual_seed(0)
    return LitePrompt(CHANNELS, GRID, config).eval()


def _encode(branch, images=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    tokens = [torch.randn(images, 15, CHANNELS, generator=generator) for _ in range(4)]
    return branch.encode_image(torch.randn(images, 3, 42, 70, generator=generator), tokens)


def _all(maps):
    return [*maps.features, maps.mask_logits]


@pytest.fixture(scope="module")
def branch():
    return _branch()


@pytest.fixture(scope="module")
def encoded(branch):
    with torch.no_grad():
        return _encode(branch)


def _mask(branch, seed=3):
    return (torch.rand(1, 1, *branch.mask_grid, generator=torch.Generator().manual_seed(seed)) > 0.7).float()


def test_shipped_weights_fit():
    state = {k.removeprefix("prompt."): v for k, v in load_file(SHIPPED).items() if k.startswith("prompt.")}
    config = read_config(SHIPPED.parent)
    LitePrompt(config.geometry.hidden, config.geometry.grid, config.prompt).load_state_dict(state)


@torch.no_grad()
def test_what_an_image_shares_is_taken_out_of_the_stem_exactly(branch, encoded):
    """As if image, boxes and mask went through it together."""
    generator = torch.Generator().manual_seed(1)
    [torch.randn(1, 15, CHANNELS, generator=generator) for _ in range(4)]
    image = torch.randn(1, 3, 42, 70, generator=generator)
    resized = torch.nn.functional.interpolate(image, size=branch.mask_grid, mode="bilinear")
    inputs = []
    handle = branch.stem[1].register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    branch(encoded, replace(BOX, prior=_mask(branch)))
    handle.remove()
    together = branch.stem[0](torch.cat([resized, BOX.raster(branch.mask_grid), _mask(branch)], 1))
    assert torch.allclose(inputs[0], together, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@torch.no_grad()
def test_maps_have_the_sizes_that_the_branch_declares(device):
    with torch.device(device):
        branch = LitePrompt(CHANNELS, GRID, CONFIG).eval()
        encoded = branch.encode_image(torch.zeros(1, 3, 42, 70), [torch.zeros(1, 15, CHANNELS)] * 4)
        maps = branch(encoded, Prompt.box(torch.zeros(1, 2, 4)))
    assert [tuple(f.shape) for f in maps.features] == [(2, 16, *grid) for grid in branch.feature_grids]
    assert maps.mask_logits.shape == (2, 1, *branch.mask_grid)


@torch.no_grad()
def test_a_target_does_not_depend_on_the_others(branch, encoded):
    together = branch(encoded, TWO)
    for i in range(2):
        alone = branch(encoded, Prompt.box(TWO.boxes[:, i : i + 1, 0]))
        assert all(torch.allclose(a[0], b[i], atol=1e-5) for a, b in zip(_all(alone), _all(together)))
    assert not torch.allclose(together.mask_logits[0], together.mask_logits[1], atol=1e-2)


@torch.no_grad()
def test_images_of_a_batch_do_not_mix(branch):
    both, boxes = _encode(branch, images=2), torch.tensor([[HERE, THERE], [THERE, HERE]])
    second = branch(tuple(x[1:] for x in both), Prompt.box(boxes[1:]))
    together = branch(both, Prompt.box(boxes))
    assert all(torch.allclose(a, b[2:], atol=1e-5) for a, b in zip(_all(second), _all(together)))


@torch.no_grad()
def test_several_boxes_are_their_union(branch, encoded):
    several = Prompt(torch.tensor([[[HERE, THERE, HERE]]]), torch.tensor([[[POSITIVE, POSITIVE, PADDING]]]))
    got = branch(encoded, several).mask_logits
    assert all(not torch.allclose(got, branch(encoded, TWO).mask_logits[i : i + 1], atol=1e-2) for i in range(2))


@torch.no_grad()
def test_the_mask_of_an_earlier_frame_changes_the_maps(branch, encoded):
    mask = _mask(branch)
    maps = [
        branch(encoded, p) for p in (BOX, replace(BOX, prior=mask), Prompt.mask(mask), Prompt.mask(_mask(branch, 4)))
    ]
    for i, a in enumerate(maps):
        for b in maps[:i]:
            assert all((x - y).abs().max() > 1e-2 for x, y in zip(_all(a), _all(b)))


@torch.no_grad()
def test_a_target_without_a_mask_gets_its_box_in_its_place(branch, encoded):
    mask, nothing = _mask(branch), torch.zeros(1, 1, *branch.mask_grid)
    mixed = branch(encoded, replace(TWO, prior=torch.cat([mask, nothing], 1))).mask_logits
    assert torch.allclose(mixed[:1], branch(encoded, replace(BOX, prior=mask)).mask_logits, atol=1e-5)
    assert torch.allclose(mixed[1:], branch(encoded, TWO).mask_logits[1:], atol=1e-5)
    box_as_mask = replace(BOX, prior=BOX.raster(branch.mask_grid))
    assert torch.equal(branch(encoded, BOX).mask_logits, branch(encoded, box_as_mask).mask_logits)


def test_every_parameter_learns():
    branch = _branch(replace(CONFIG, text=8, words=("red", "mug"))).train()
    text = branch.encode_text(["red mug"])
    prompt = replace(BOX, text=type(text)(*(x[None] for x in text)), prior=_mask(branch))
    maps = branch(_encode(branch), prompt)
    sum(x.square().mean() for x in [*_all(maps), maps.presence]).backward()
    assert not [n for n, p in branch.named_parameters() if p.grad is None]


@pytest.mark.parametrize(
    ("change", "prompt", "message"),
    [
        ({}, replace(BOX, labels=torch.tensor([[[NEGATIVE]]])), "has negative boxes; the lite branch takes: box"),
        (
            {"prior": False},
            Prompt.mask(torch.ones(1, 1, 24, 40)),
            "has a mask; the lite branch as configured takes: box",
        ),
    ],
)
def test_what_it_does_not_take_is_refused(change, prompt, message):
    branch = _branch(replace(CONFIG, **change))
    with pytest.raises(ValueError, match=message):
        branch(_encode(branch), prompt)


def test_there_are_no_weights_to_load(branch):
    with pytest.raises(ValueError, match="owner/name: the lite branch is trained with the model"):
        branch.load_pretrained("owner/name")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "width = 16 does not divide into 3 heads"),
        ({"text": 7, "words": ("mug",)}, "text = 7 does not divide into 2 heads"),
        ({"text": 8}, "text = 8 with 0 words"),
        ({"words": ("mug",)}, "text = 0 with 1 words"),
        ({"text": 8, "words": ("mug",), "prior": False}, "text = 8 with prior = false"),
        ({"search": 12}, "search = 12 is no multiple of 8"),
        ({"text": 8, "words": ("red mug",)}, "words has 'red mug'; give single words in lower case"),
        ({"text": 8, "words": ("Mug",)}, "words has 'Mug'"),
        ({"text": 8, "words": ("mug", "cup", "mug")}, "words has mug more than once"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)
