from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.fde_bench.dataset import Batch
from focusdepth_core.losses import LossWeights
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.prompt.base import PADDING, POSITIVE
from focusdepth_core.model.prompt.lite import LiteConfig, LitePrompt
from focusdepth_core.training.checks import check_prompts
from focusdepth_core.training.prompts import build_prompt, carried, kinds_at
from focusdepth_core.training.recipe import PromptShares
from focusdepth_core.training.step import PARTS, FocusStep, PromptStep
from tests.training.tiny import GEOMETRY, config

EVERYTHING = LiteConfig(width=16, depth=1, heads=2, stem=8, text=8, words=("red", "mug"), prior=True)


def branch(settings=EVERYTHING):
    return LitePrompt(16, (3, 4), settings)


def batch(count):
    mask = torch.zeros(count, 42, 56)
    mask[:, 12:24, 8:20] = 1
    return Batch(
        image=torch.zeros(count, 3, 42, 56),
        prompt_image=None,
        depth=mask,
        mask=mask,
        box=torch.tensor([0.5, 0.5, 0.25, 0.5]).expand(count, 1, 4),
        text=("red mug",) * count,
        focal=torch.zeros(count),
        ids=("",) * count,
        failures=(),
    )


def test_kinds_follow_their_shares_and_positions_alone():
    shares = PromptShares(box=0.5, text=0.2, both=0.3)
    drawn = kinds_at(shares, 0, range(2000))
    assert [round(drawn.count(kind) / 2000, 1) for kind in ("box", "text", "both", "mask")] == [0.5, 0.2, 0.3, 0]
    assert kinds_at(shares, 0, [7, 3]) == [drawn[7], drawn[3]]
    assert kinds_at(shares, 1, range(2000)) != drawn


def test_each_sample_gets_what_its_kind_says():
    kinds, words = ["box", "text", "both", "mask", "box_mask", "text_mask", "absent"], branch()
    given = replace(batch(7), absent=("mug",) * 7)
    prompt = build_prompt(words, given, kinds)
    has_box, has_text, has_mask = (
        [kind in names for kind in kinds]
        for names in (
            ("box", "both", "box_mask"),
            ("text", "both", "text_mask", "absent"),
            ("mask", "box_mask", "text_mask"),
        )
    )
    assert (prompt.labels.flatten() == POSITIVE).tolist() == has_box
    assert set(prompt.labels.flatten().tolist()) == {POSITIVE, PADDING}
    assert prompt.text.mask.any(-1).flatten().tolist() == has_text
    assert prompt.prior.amax((1, 2, 3)).gt(0).tolist() == has_mask
    assert prompt.boxes[1].abs().sum() == 0 and torch.equal(prompt.boxes[0, 0, 0], given.box[0, 0])
    told = words.encode_text(["red mug", "mug"]).features
    assert torch.allclose(prompt.text.features[1, 0], told[0]) and torch.allclose(prompt.text.features[6, 0], told[1])


def test_what_is_not_there_has_no_mask_and_is_nothing_to_be_right_about():
    """The loss of an absent target falls when mask and presence go to nothing, whatever the true mask is."""
    model = FocusDepth(FocusDepthConfig(GEOMETRY, EVERYTHING))
    model.set_stage(1)
    given = replace(batch(2), absent=("mug",) * 2, depth=1 + torch.rand(2, 42, 56))
    step = FocusStep(model, LossWeights(whole=0, gradient=0))
    nothing = dict(zip(PARTS, step(given, ["absent"] * 2).tolist()))
    there = dict(zip(PARTS, step(given, ["text"] * 2).tolist()))
    assert nothing["depth"] == 0 < there["depth"], "of foreground and band alone"
    model.prompt.mask[-1].bias.data.fill_(-20)
    model.prompt.presence[-1].bias.data.fill_(-20)
    after, worse = (dict(zip(PARTS, step(given, [kind] * 2).tolist())) for kind in ("absent", "text"))
    assert after["mask"] + after["presence"] < 0.01 < nothing["presence"]
    assert worse["mask"] > there["mask"] and worse["presence"] > there["presence"]


def test_a_prompt_branch_that_learns_alone_is_judged_on_masks_and_presence_as_in_a_whole_step():
    model = FocusDepth(FocusDepthConfig(GEOMETRY, EVERYTHING))
    model.set_stage(1)
    given, kinds = replace(batch(3), absent=("mug",) * 3, depth=1 + torch.rand(3, 42, 56)), ["box", "text", "absent"]
    whole, alone = (
        dict(zip(PARTS, step(model, LossWeights())(given, kinds).tolist())) for step in (FocusStep, PromptStep)
    )
    assert alone["mask"] == pytest.approx(whole["mask"]) and alone["presence"] == pytest.approx(whole["presence"])
    assert alone["loss"] == pytest.approx(whole["mask"] + whole["presence"]) and alone["depth"] == 0 < whole["depth"]
    assert {id(p) for p in model.set_prompt()} == {id(p) for p in model.prompt.parameters()}


def test_a_carried_mask_lies_where_the_box_is():
    given = batch(1)
    moved = carried(given.mask, given.box, (84, 112))[0, 0]
    rows, columns = (moved > 0.5).nonzero().T
    assert (rows.min(), rows.max() + 1) == (21, 63) and (columns.min(), columns.max() + 1) == (42, 70)
    still = carried(given.mask, torch.tensor([[[14 / 56, 18 / 42, 12 / 56, 12 / 42]]]), (42, 56))[0, 0]
    assert torch.allclose(still, given.mask[0], atol=1e-4)
    assert torch.isfinite(carried(torch.zeros_like(given.mask), given.box, (4, 4))).all()


@pytest.mark.parametrize(
    ("shares", "prompt", "message"),
    [
        (
            PromptShares(text=1),
            replace(EVERYTHING, text=0, words=()),
            "prompts.text = 1: the prompt branch 'lite' takes",
        ),
        (PromptShares(mask=1), replace(EVERYTHING, prior=False), "prompts.mask = 1: the prompt branch 'lite' takes"),
        (PromptShares(mask=1), EVERYTHING, "none has a text, .* would never learn to"),
        (PromptShares(text=1), EVERYTHING, "none has a mask, .* would never learn to"),
    ],
)
def test_prompts_that_do_not_fit_the_branch_are_refused(tmp_path, shares, prompt, message):
    with pytest.raises(ValueError, match=message):
        check_prompts(config(tmp_path, tmp_path, prompts=shares), branch(prompt))


def test_prompts_that_fit_are_not(tmp_path):
    check_prompts(config(tmp_path, tmp_path, prompts=PromptShares(1, 1, 0, 1)), branch())
