"""How each sample is prompted: by its box, a text, a mask or several of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from focusdepth_core.fde_bench.dataset import Batch
from focusdepth_core.model.grids import Grid
from focusdepth_core.model.prompt.base import PADDING, POSITIVE, Prompt, PromptBranch, TextFeatures
from focusdepth_core.training.recipe import PromptShares

PARTS = {  # what a target of each kind is given
    "box": {"box"},
    "text": {"text"},
    "both": {"box", "text"},
    "mask": {"mask"},
    "box_mask": {"box", "mask"},
    "text_mask": {"text", "mask"},
}


def kinds_at(shares: PromptShares, seed: int, positions: Sequence[int]) -> list[str]:
    """Drawn for each position by itself, so that they do not depend on how the batches are split up."""
    kinds, weights = list(PARTS), np.array([getattr(shares, kind) for kind in PARTS])
    return [str(np.random.default_rng((seed, p)).choice(kinds, p=weights / weights.sum())) for p in positions]


def build_prompt(branch: PromptBranch, batch: Batch, kinds: Sequence[str]) -> Prompt:
    """One target for each image of the batch."""
    has_box, has_text, has_mask = (
        torch.tensor([part in PARTS[kind] for kind in kinds], device=batch.box.device)
        for part in ("box", "text", "mask")
    )
    labels = torch.where(has_box, POSITIVE, PADDING)[:, None, None]
    boxes = torch.where(has_box[:, None, None], batch.box, 0.0)[:, :, None]
    text = prior = None
    # A branch that learns is given everything it takes, so that each of its weights has a gradient in each process.
    if "text" in branch.takes and (not branch.pretrained or bool(has_text.any())):
        features, mask = branch.encode_text(batch.text)
        text = TextFeatures(features[:, None], (mask & has_text[:, None])[:, None])
    if "mask" in branch.takes:
        prior = carried(batch.mask, batch.box, branch.mask_grid) * has_mask[:, None, None, None]
    return Prompt(boxes, labels, text, prior)


def carried(mask: torch.Tensor, box: torch.Tensor, grid: Grid) -> torch.Tensor:
    """``mask`` (B,h,w) as an earlier frame may have had it, B,1,grid: moved from its own tight box to ``box``, B,1,4,
    which is off as a detector's is."""
    sides = [_extent(mask.amax(1)), _extent(mask.amax(2))]  # centre and size of x and of y, B each
    theta = mask.new_zeros(len(mask), 2, 3)
    for axis, (centre, size) in enumerate(sides):
        scale = size / box[:, 0, 2 + axis]
        theta[:, axis, axis] = scale
        theta[:, axis, 2] = (2 * centre - 1) - scale * (2 * box[:, 0, axis] - 1)
    where = F.affine_grid(theta, [len(mask), 1, *grid], align_corners=False)
    return F.grid_sample(mask[:, None], where, align_corners=False)


def _extent(line: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre and length, in [0, 1], from the first to the last 1 in each row of B,n."""
    n = line.shape[1]
    first, last = line.argmax(1), n - line.flip(1).argmax(1)
    return (first + last) / (2 * n), (last - first) / n
