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
from focusdepth_core.training.recipe import PromptShares, Stage
from focusdepth_core.training.step import PARTS, FocusStep, PromptStep, SearchStep
from tests.training.tiny import GEOMETRY, STAGES, config

EVERYTHING = LiteConfig(width=16, depth=1, heads=2, stem=8, text=8, words=("red", "mug"), prior=True)


BOXES = LiteConfig(width=16, depth=1, heads=2, stem=8)
SEARCH = Stage("search", "search", 2, "first")


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
    kinds, words = ["box", "text", "both", "mask", "box_mask", "text_mask"], branch()
    given = batch(6)
    prompt = build_prompt(words, given, kinds)
    has_box, has_text, has_mask = (
        [kind in names for kind in kinds]
        for names in (
            ("box", "both", "box_mask"),
            ("text", "both", "text_mask"),
            ("mask", "box_mask", "text_mask"),
        )
    )
    assert (prompt.labels.flatten() == POSITIVE).tolist() == has_box
    assert set(prompt.labels.flatten().tolist()) == {POSITIVE, PADDING}
    assert prompt.text.mask.any(-1).flatten().tolist() == has_text
    assert prompt.prior.amax((1, 2, 3)).gt(0).tolist() == has_mask
    assert prompt.boxes[1].abs().sum() == 0 and torch.equal(prompt.boxes[0, 0, 0], given.box[0, 0])
    assert torch.allclose(prompt.text.features[1, 0], words.encode_text(["red mug"]).features[0])


def test_a_search_is_judged_on_where_and_whether_each_text_is():
    model = FocusDepth(FocusDepthConfig(GEOMETRY, EVERYTHING))
    assert {id(p) for p in model.set_search()} == {id(p) for p in model.prompt.search.parameters()}
    wanted = torch.zeros(2, 2, 42, 56, dtype=torch.uint8)
    wanted[:, 0, 12:24, 8:20] = 1
    given = replace(batch(2), asked=(("red mug", "mug"),) * 2, wanted=wanted)
    step = SearchStep(model, LossWeights())
    before = dict(zip(PARTS, step(given, ["box"] * 2).tolist()))
    optimiser = torch.optim.Adam(model.set_search(), lr=1e-2)
    for _ in range(25):
        optimiser.zero_grad()
        step(given, ["box"] * 2)[0].backward()
        optimiser.step()
    after = dict(zip(PARTS, step(given, ["box"] * 2).tolist()))
    assert after["mask"] < 0.7 * before["mask"] and after["presence"] < 0.7 * before["presence"]
    assert before["loss"] == pytest.approx(before["mask"] + before["presence"]) and before["depth"] == 0
    assert not any(p.requires_grad for p in [*model.geometry.parameters(), *model.prompt.blocks.parameters()])


def test_a_prompt_branch_that_learns_alone_is_judged_on_masks_as_in_a_whole_step_and_leaves_its_search_alone():
    model = FocusDepth(FocusDepthConfig(GEOMETRY, EVERYTHING))
    model.set_stage(1)
    given, kinds = replace(batch(2), depth=1 + torch.rand(2, 42, 56)), ["box", "text"]
    whole, alone = (
        dict(zip(PARTS, step(model, LossWeights())(given, kinds).tolist())) for step in (FocusStep, PromptStep)
    )
    assert alone["loss"] == alone["mask"] == pytest.approx(whole["mask"]) and alone["depth"] == 0 < whole["depth"]
    learning, search = ({id(p) for p in x} for x in (model.set_prompt(), model.prompt.search.parameters()))
    assert learning == {id(p) for p in model.prompt.parameters()} - search


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
            BOXES,
            "prompts.text = 1: the prompt branch 'lite' takes",
        ),
        (PromptShares(mask=1), BOXES, "prompts.mask = 1: the prompt branch 'lite' takes"),
        (PromptShares(mask=1), EVERYTHING, "none learns search, .* would never learn to"),
        (PromptShares(text=1), EVERYTHING, "none has a mask, .* would never learn to"),
    ],
)
def test_prompts_that_do_not_fit_the_branch_are_refused(tmp_path, shares, prompt, message):
    with pytest.raises(ValueError, match=message):
        check_prompts(config(tmp_path, tmp_path, prompts=shares), branch(prompt))


def test_prompts_that_fit_are_not(tmp_path):
    stages = (*STAGES, SEARCH)
    check_prompts(config(tmp_path, tmp_path, stages=stages, prompts=PromptShares(1, 1, 0, 1)), branch())


def test_a_search_needs_a_branch_that_reads_text(tmp_path):
    with pytest.raises(ValueError, match="learns = search, but the prompt branch 'lite' as configured takes no text"):
        check_prompts(config(tmp_path, tmp_path, stages=(*STAGES, SEARCH)), branch(BOXES))
