"""Text for the lite branch."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.model.prompt.base import PADDING, POSITIVE, Prompt, TextFeatures
from focusdepth_core.model.prompt.lite import LiteConfig, LitePrompt

GRID, CHANNELS = (3, 5), 32
WORDS = ("old", "red", "blue", "mug", "cup", "left")
CONFIG = LiteConfig(width=16, depth=1, heads=2, stem=8, text=8, words=WORDS, prior=True, search=8)
BOX = Prompt.box(torch.tensor([[[0.25, 0.4, 0.3, 0.4]]]))


@pytest.fixture(scope="module")
def branch():
    torch.manual_seed(0)
    return LitePrompt(CHANNELS, GRID, CONFIG).eval()


@pytest.fixture(scope="module")
def encoded(branch):
    with torch.no_grad():
        return branch.encode_image(torch.randn(1, 3, 42, 70), [torch.randn(1, 15, CHANNELS) for _ in range(4)])


def _words(branch, *texts: str) -> TextFeatures:
    return TextFeatures(*(x[None] for x in branch.encode_text(texts)))


def _all(maps):
    return [*maps.features, maps.mask_logits]


@torch.no_grad()
def test_boxes_and_texts_change_the_maps(branch, encoded):
    mug, cup = (_words(branch, text) for text in ("old red mug", "the blue cup"))
    maps = [branch(encoded, p) for p in (BOX, Prompt.words(mug), Prompt.words(cup))]
    for i, a in enumerate(maps):
        for b in maps[:i]:
            assert all((x - y).abs().max() > 1e-3 for x, y in zip(_all(a), _all(b)))


@torch.no_grad()
def test_a_box_says_where_and_its_text_only_whether(branch, encoded):
    mug, cup = (replace(BOX, text=_words(branch, text)) for text in ("old red mug", "the blue cup"))
    one, other, alone = (branch(encoded, p) for p in (mug, cup, BOX))
    assert all(torch.equal(x, y) and torch.equal(x, z) for x, y, z in zip(_all(one), _all(other), _all(alone)))
    assert one.presence != other.presence
    assert branch(encoded, Prompt.words(mug.text)).presence >= one.presence, "of the whole image, of the box alone"


@torch.no_grad()
def test_what_a_text_finds_serves_as_a_mask(branch, encoded):
    text = _words(branch, "red mug")
    found = branch.search.logits(encoded[2], text.features[:, :, 0])
    mask = torch.sigmoid(torch.nn.functional.interpolate(found, branch.mask_grid, mode="bilinear"))
    by_text, by_mask = branch(encoded, Prompt.words(text)), branch(encoded, Prompt.mask(mask))
    assert all(torch.allclose(x, y, atol=1e-6) for x, y in zip(_all(by_text), _all(by_mask)))
    earlier = torch.ones_like(mask)
    both, alone = branch(encoded, replace(Prompt.words(text), prior=earlier)), branch(encoded, Prompt.mask(earlier))
    assert all(torch.equal(x, y) for x, y in zip(_all(both), _all(alone))), "the mask of an earlier frame goes first"


def test_the_mask_of_a_text_is_learnt_from_the_text(branch):
    """Two texts for one image, each with its own half of it: nothing but the text tells them apart."""
    torch.manual_seed(0)
    pupil = LitePrompt(CHANNELS, GRID, CONFIG)
    image, tokens = torch.randn(1, 3, 42, 70), [torch.randn(1, 15, CHANNELS) for _ in range(4)]
    wanted = torch.zeros(2, 1, *pupil.mask_grid)
    wanted[0, ..., :20], wanted[1, ..., 20:] = 1, 1
    optimiser = torch.optim.Adam(pupil.parameters(), lr=1e-2)
    for _ in range(60):
        logits = pupil(
            pupil.encode_image(image, tokens), Prompt.words(_words(pupil, "red mug", "blue cup"))
        ).mask_logits
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert ((logits > 0) == wanted.bool()).float().mean() > 0.95


@torch.no_grad()
@pytest.mark.parametrize("shift", ["image", "tokens"])
def test_the_search_sees_the_image_and_what_the_depth_net_makes_of_it(branch, shift):
    tokens, image = [torch.randn(1, 15, CHANNELS) for _ in range(4)], torch.randn(1, 3, 42, 70)
    other = (image + 0.5, tokens) if shift == "image" else (image, [t + 0.5 for t in tokens])
    text = _words(branch, "red mug").features[:, :, 0]
    a, b = branch.find(image, tokens, text), branch.find(*other, text)
    assert a.shape == (1, 1, 21, 35) and (a - b).abs().max() > 1e-3


@torch.no_grad()
def test_a_text_can_point_to_a_side_of_an_image_that_looks_the_same_all_over():
    torch.manual_seed(0)
    search = LitePrompt(CHANNELS, GRID, CONFIG).eval().search
    image, tokens = torch.zeros(1, 3, 42, 70), torch.zeros(1, 2 * CHANNELS, *GRID)
    before = search.places(image, tokens)
    right, down = torch.randn(2, 8)
    search.across.weight[:] = torch.stack([right, down], 1)[..., None, None]
    moved = search.places(image, tokens) - before
    for text, axis in (
        (right - down * (right @ down) / (down @ down), 3),
        (down - right * (right @ down) / (right @ right), 2),
    ):
        steps = (moved * text[:, None, None]).sum(1, keepdim=True).diff(dim=axis)
        assert steps.min() > 0 and torch.allclose(steps, steps.mean(), rtol=1e-3)


@torch.no_grad()
def test_a_target_does_not_depend_on_the_others(branch, encoded):
    together = branch(encoded, Prompt.words(_words(branch, "red mug", "the left blue cup")))
    for i, text in enumerate(("red mug", "the left blue cup")):
        alone = branch(encoded, Prompt.words(_words(branch, text)))
        assert all(torch.allclose(a[0], b[i], atol=1e-5) for a, b in zip(_all(alone), _all(together)))


@torch.no_grad()
def test_targets_with_and_without_text_in_one_prompt(branch, encoded):
    features, mask = branch.encode_text(["old cup", "red mug"])
    text = features, mask & torch.tensor([[False], [True]])
    boxes = torch.cat([BOX.boxes, torch.zeros_like(BOX.boxes)], 1)
    mixed = Prompt(boxes, torch.tensor([[[POSITIVE], [PADDING]]]), TextFeatures(*(x[None] for x in text)))
    got = branch(encoded, mixed).mask_logits
    assert torch.allclose(got[:1], branch(encoded, BOX).mask_logits, atol=1e-5)
    assert torch.allclose(got[1:], branch(encoded, Prompt.words(_words(branch, "red mug"))).mask_logits, atol=1e-5)


@torch.no_grad()
def test_order_counts_and_articles_case_punctuation_and_other_texts_do_not(branch):
    a, b, c, d = branch.encode_text(["red mug", "mug red", "  Red, MUG! ", "the red mug"]).features
    assert a.shape == (1, 8) and torch.equal(a, c) and torch.equal(a, d)
    assert not torch.allclose(a, b, atol=1e-3)
    assert torch.allclose(a, branch.encode_text(["red mug", "old red mug left cup"]).features[0], atol=1e-6)


def test_presence_is_learnt_and_a_matter_of_the_text(branch):
    """Of two images one has a mug: told by the text and the image together, by neither alone."""
    torch.manual_seed(0)
    pupil = LitePrompt(CHANNELS, GRID, CONFIG)
    images = [[torch.randn(1, 3, 42, 70), [torch.randn(1, 15, CHANNELS) for _ in range(4)]] for _ in range(2)]
    wanted = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    optimiser = torch.optim.Adam(pupil.parameters(), lr=1e-2)
    for _ in range(40):
        prompt = Prompt.words(_words(pupil, "mug", "cup"))
        logits = torch.stack([pupil(pupil.encode_image(*image), prompt).presence for image in images])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert torch.equal(logits > 0, wanted.bool())
    assert branch.judges_presence and branch.threshold == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red mgu", r"'red mgu': 'mgu' is not among the 6 words that this model knows; try mug"),
        ("Zange", r"'zange' is not among the 6 words that this model knows; try blue, cup, left"),
        ("マグ", r"'マグ' is not among the 6 words"),
        ("", "the text '' has no words"),
        (" !? ", "has no words"),
        ("mug " * 17, "has 17 words, this model reads 16; shorten it"),
    ],
)
def test_what_cannot_be_read_is_refused(branch, text, message):
    with pytest.raises(ValueError, match=message):
        branch.encode_text(["red mug", text])


def test_a_branch_without_words_takes_no_text(branch):
    box_only = LitePrompt(CHANNELS, GRID, replace(CONFIG, text=0, words=(), prior=False))
    assert box_only.takes == {"box"} and branch.takes == {"box", "text", "mask"} and not box_only.judges_presence
    with pytest.raises(ValueError, match="text 'red mug': this model takes no text; give the target a box"):
        box_only.encode_text(["red mug"])
    tokens = [torch.randn(1, 15, CHANNELS) for _ in range(4)]
    with pytest.raises(ValueError, match="the prompt has a text; the lite branch as configured takes: box"):
        box_only(box_only.encode_image(torch.randn(1, 3, 42, 70), tokens), Prompt.words(_words(branch, "red mug")))
