"""Training losses: one global normalisation per image, then foreground, boundary band and whole image apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

MIN_DEPTH = 0.05  # m; nearer truth is treated as missing
BAND_SHARE = 10 / 240  # the 10 px band at 240 rows, as a share of the image's height


@dataclass(frozen=True)
class RegionWeights:
    """Weights of the three regions and of the multi-scale gradient term."""

    whole: float = 1.0
    foreground: float = 1.0
    band: float = 1.0
    gradient: float = 0.5


def boundary_band(mask: torch.Tensor, radius: int) -> torch.Tensor:
    """B,H,W in {0, 1} -> dilation minus erosion by a square of 2 * radius + 1 pixels."""
    size, x = 2 * radius + 1, mask[:, None]
    grown = F.max_pool2d(x, size, 1, radius)
    shrunk = -F.max_pool2d(-x, size, 1, radius)
    return (grown - shrunk)[:, 0]


def normalised(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean 0 and mean absolute deviation 1 over the valid pixels of each image (B,H,W)."""
    count = valid.sum((1, 2), keepdim=True).clamp(min=1)
    centred = values - (values * valid).sum((1, 2), keepdim=True) / count
    deviation = (centred.abs() * valid).sum((1, 2), keepdim=True) / count
    return centred / deviation.clamp(min=1e-3)


def disparity_loss(
    raw: torch.Tensor,
    depth_m: torch.Tensor,
    foreground: torch.Tensor | None = None,
    weights: RegionWeights | None = None,
) -> torch.Tensor:
    """Affine-invariant L1 in disparity (B,H,W each); with ``foreground`` the region loss of FocusDepth.

    The alignment is global: a target is never aligned by itself. Both sides are brought to mean 0 and mean absolute
    deviation 1, as in MiDaS; a least-squares fit would let the prediction shrink wherever it is unsure.
    """
    weights = weights or RegionWeights()
    valid = (depth_m > MIN_DEPTH).to(raw.dtype)
    truth = valid / depth_m.clamp(min=MIN_DEPTH)
    residual = normalised(raw, valid) - normalised(truth, valid)
    loss = weights.whole * _mean(residual.abs(), valid) + weights.gradient * _gradients(residual, valid)
    if foreground is not None:
        band = boundary_band(foreground, max(1, round(BAND_SHARE * raw.shape[1])))
        loss = loss + weights.foreground * _mean(residual.abs(), foreground * valid)
        loss = loss + weights.band * _mean(residual.abs(), band * valid)
    return loss


def mask_loss(logits: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
    """Cross entropy and Dice between B,h,w logits and a B,H,W mask, at the logits' resolution."""
    truth = F.interpolate(foreground[:, None], size=logits.shape[1:], mode="area")[:, 0]
    probability = torch.sigmoid(logits)
    overlap = 2 * (probability * truth).sum((1, 2)) + 1
    dice = 1 - overlap / (probability.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(logits, truth) + dice.mean()


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
