"""Training losses: one global alignment per image, then foreground, boundary band and whole image apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from focusdepth_core.model.geometry.base import CANONICAL_FOCAL
from focusdepth_core.perception.result import Space

MIN_DEPTH = 0.05  # m; nearer truth is treated as missing
MIN_VALID = 64  # px of truth; an image with less has no depth loss
MIN_DEVIATION = 1e-3  # of the truth; a flat image says nothing once its own scale is divided out
BAND_SHARE = 10 / 240  # the 10 px band at 240 rows, as a share of the image's height


@dataclass(frozen=True)
class LossWeights:
    """How much each part of the loss counts. ``foreground`` and ``band`` at 0: the ablation with a global loss only."""

    whole: float = 1.0
    """Depth on the whole image."""
    foreground: float = 1.0
    """Depth on the target."""
    band: float = 1.0
    """Depth within 10 px (of 240 rows) of the target's edge."""
    gradient: float = 0.5
    """Differences of neighbouring depth errors, at four strides: sharp edges and smooth surfaces."""
    mask: float = 1.0
    """Cross entropy and Dice of the prompt branch's mask, where that branch is trained, and of a search for texts."""
    auxiliary: float = 0.5
    """The same of the decoder's segmentation branch (model.auxiliary_mask), where that is trained."""
    presence: float = 0.5
    """Cross entropy of the judgement whether a text is in the image, of a search for texts."""


def boundary_band(mask: torch.Tensor, radius: int) -> torch.Tensor:
    """B,H,W in {0, 1} -> dilation minus erosion by a square of 2 * radius + 1 pixels."""
    size, x = 2 * radius + 1, mask[:, None]
    grown = F.max_pool2d(x, size, 1, radius)
    shrunk = -F.max_pool2d(-x, size, 1, radius)
    return (grown - shrunk)[:, 0]


def depth_loss(
    raw: torch.Tensor,
    depth_m: torch.Tensor,
    space: Space,
    foreground: torch.Tensor | None = None,
    weights: LossWeights | None = None,
    focal_px: torch.Tensor | None = None,
) -> torch.Tensor:
    """L1 in the net's own space (B,H,W each); with ``foreground`` the region loss of FocusDepth.

    The alignment is global: a target is never aligned by itself. An affine space has both sides brought to mean 0 and
    mean absolute deviation 1, as in MiDaS; a least-squares fit would let the prediction shrink wherever it is unsure.
    A metric net is compared in metres, relative to the image's mean depth; ``focal_px`` (B) is then needed, and an
    image where it is 0 has no depth loss, as have images with too little truth.
    """
    weights, raw = weights or LossWeights(), raw.float()
    present = ((depth_m > MIN_DEPTH) & torch.isfinite(depth_m)).float()
    depth = torch.where(present > 0, depth_m, 1.0)
    residual, usable = _residual(raw, depth, present, space, focal_px)
    usable = usable & (present.sum((1, 2)) >= MIN_VALID)
    valid = present * usable[:, None, None]
    loss = weights.whole * _mean(residual.abs(), valid) + weights.gradient * _gradients(residual, valid)
    if foreground is not None:
        band = boundary_band(foreground, max(1, round(BAND_SHARE * raw.shape[1])))
        loss = loss + weights.foreground * _mean(residual.abs(), foreground * valid)
        loss = loss + weights.band * _mean(residual.abs(), band * valid)
    return loss


def mask_loss(logits: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
    """Cross entropy and Dice between B,h,w logits and a B,H,W mask, at the logits' resolution."""
    logits = logits.float()
    truth = F.interpolate(foreground[:, None], size=logits.shape[1:], mode="area")[:, 0]
    probability = torch.sigmoid(logits)
    overlap = 2 * (probability * truth).sum((1, 2)) + 1
    dice = 1 - overlap / (probability.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(logits, truth) + dice.mean()


def naming_loss(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Cross entropy of B,Q,h,w logits of an image's texts on what each of B,Q,H,W names, as a whole.

    So a small thing counts as much as a large one, and a text learns from all that it does not name.
    """
    truth = F.interpolate(wanted, size=logits.shape[2:], mode="area").flatten(2)
    shares = truth / truth.sum(2, keepdim=True).clamp(min=1e-6)  # B,things,h*w
    told = logits.float().flatten(2) @ shares.transpose(1, 2)  # B,texts,things
    fits = (truth @ shares.transpose(1, 2)).clamp(max=1)
    there = (shares.sum(2) > 0.5)[:, None].to(told.dtype).expand_as(told)
    return F.binary_cross_entropy_with_logits(told, fits, there, reduction="sum") / there.sum().clamp(min=1)


def presence_loss(logits: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Cross entropy between B logits and B of 0 and 1."""
    return F.binary_cross_entropy_with_logits(logits.float(), present.float())


def metres(raw: torch.Tensor, focal_px: torch.Tensor) -> torch.Tensor:
    """Output B,h,w of a metric net for images whose focal length in input pixels is ``focal_px``, B."""
    return raw * (focal_px / CANONICAL_FOCAL)[:, None, None]


def normalised(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean 0 and mean absolute deviation 1 over the valid pixels of each image (B,H,W)."""
    centred, deviation = _centred(values, valid)
    return centred / deviation.clamp(min=MIN_DEVIATION)


def _residual(
    raw: torch.Tensor, depth: torch.Tensor, valid: torch.Tensor, space: Space, focal_px: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """B,H,W, and B bool: which images it means anything for."""
    if space is Space.METRIC:
        if focal_px is None:
            raise ValueError("focal_px is missing: a metric net's loss is in metres, which depend on the focal length")
        mean = (depth * valid).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
        return (metres(raw, focal_px) - depth) / mean.clamp(min=MIN_DEPTH)[:, None, None], focal_px > 0
    truth = 1 / depth if space is Space.AFFINE_DISPARITY else depth
    flat = _centred(truth, valid)[1][:, 0, 0] < MIN_DEVIATION
    return normalised(raw, valid) - normalised(truth, valid), ~flat


def _centred(values: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``values`` less their mean over the valid pixels, and their mean absolute deviation there, B,1,1."""
    count = valid.sum((1, 2), keepdim=True).clamp(min=1)
    centred = values - (values * valid).sum((1, 2), keepdim=True) / count
    return centred, (centred.abs() * valid).sum((1, 2), keepdim=True) / count


def _mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the mask per image, then over images: a small target counts as much as a large one."""
    return ((values * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)).mean()


def _gradients(residual: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of neighbouring residuals, at four strides."""
    total = residual.new_zeros(())
    for stride in (1, 2, 4, 8):
        r, v = residual[:, ::stride, ::stride], valid[:, ::stride, ::stride]
        total = total + _mean((r[:, :, 1:] - r[:, :, :-1]).abs(), v[:, :, 1:] * v[:, :, :-1])
        total = total + _mean((r[:, 1:] - r[:, :-1]).abs(), v[:, 1:] * v[:, :-1])
    return total
