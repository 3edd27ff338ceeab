from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.fde_bench.dataset import Batch
from focusdepth_core.model.prompt.base import PADDING, POSITIVE
from focusdepth_core.model.prompt.lite import LiteConfig, LitePrompt
from focusdepth_core.training.checks import check_prompts
from focusdepth_core.training.prompts import build_prompt, carried, kinds_at
from focusdepth_core.training.recipe import PromptShares
from tests.training.tiny import config

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
    prompt = build_prompt(branch(), batch(4), ["box", "text", "both", "mask"])
    assert prompt.labels.flatten().tolist() == [POSITIVE, PADDING, POSITIVE, PADDING]
    assert prompt.text.mask.any(-1).flatten().tolist() == [False, True, True, False]
    assert prompt.prior.amax((1, 2, 3)).gt(0).tolist() == [False, False, False, True]
    assert prompt.boxes[1].abs().sum() == 0 and torch.equal(prompt.boxes[0, 0, 0], batch(1).box[0, 0])


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
