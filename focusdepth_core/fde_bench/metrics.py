"""Errors of one prediction after one global alignment, by region of its target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

import cv2
import numpy as np

from focusdepth_core.perception.result import Space

RADIUS_PX = 10  # of the boundary band, at the size of the ground truth
MIN_PX = 64  # a region with fewer valid pixels has no metrics
MIN_DEPTH_M = 1e-3  # aligned affine depth may reach 0 or less, where the metrics have no meaning
DELTA_1 = 1.25


@dataclass(frozen=True)
class RegionMetrics:
    """``absrel``: mean of abs(z - gt) / gt; ``delta_1``: share of max(z / gt, gt / z) < 1.25.

    Both are NaN with fewer than ``MIN_PX`` pixels.
    """

    absrel: float
    delta_1: float
    pixels: int


@dataclass(frozen=True)
class Alignment:
    """The least-squares line from raw values to their space's depth or disparity, over all valid pixels.

    ``clipped``: share of the valid pixels whose aligned depth was beyond the largest one, or below 1 mm; ``failed``:
    the scale was not positive, so that the constant ``shift + scale * mean(raw)`` was evaluated: depth in the wrong
    order earns nothing.
    """

    scale: float
    shift: float
    clipped: float
    failed: bool


@dataclass(frozen=True)
class PairMetrics:
    """``regions``: foreground, band, background and global."""

    regions: Mapping[str, RegionMetrics]
    alignment: Alignment


def evaluate_pair(
    raw: np.ndarray,
    space: Space,
    gt_m: np.ndarray,
    mask: np.ndarray,
    max_depth_m: Optional[float] = None,
    radius_px: int = RADIUS_PX,
) -> PairMetrics:
    """A prediction h,w against ground truth H,W in metres for one target, whose mask is H,W bool.

    Ground truth counts where it is finite, above 0 and at most ``max_depth_m``; None sets the limit at the largest
    ground truth. Aligned depth is clipped there. A prediction of another size is resized bilinearly. Raises
    ``ValueError`` if the prediction is not finite or fewer than ``MIN_PX`` pixels of ground truth count.
    """
    raw = raw.astype(np.float32, copy=False)
    if raw.shape != gt_m.shape:
        raw = cv2.resize(raw, gt_m.shape[::-1], interpolation=cv2.INTER_LINEAR)
    if not np.isfinite(raw).all():
        raise ValueError(f"the prediction has {np.count_nonzero(~np.isfinite(raw))} values that are not finite")
    valid = (gt_m > 0) & (gt_m <= (max_depth_m or np.finfo(np.float32).max))
    if np.count_nonzero(valid) < MIN_PX:
        raise ValueError(f"the ground truth has {np.count_nonzero(valid)} valid pixels; at least {MIN_PX} are needed")
    gt = np.where(valid, gt_m, 1).astype(np.float32, copy=False)  # 1: any depth, for these pixels have no weight
    z, alignment = _aligned(raw, space, gt, valid, max_depth_m or float(gt_m[valid].max()))
    ratio = np.divide(z, gt, out=z)
    close = (ratio < DELTA_1) & (ratio > 1 / DELTA_1)
    ratio -= 1
    error = np.abs(ratio, out=ratio)
    regions = {
        "foreground": mask & valid,
        "band": boundary_band(mask, radius_px) & valid,
        "background": valid & ~mask,
        "global": valid,
    }
    return PairMetrics({name: _region(error, close, region) for name, region in regions.items()}, alignment)


def boundary_band(mask: np.ndarray, radius_px: int = RADIUS_PX) -> np.ndarray:
    """Pixels within ``radius_px`` (Chebyshev) of the mask's edge, H,W bool; the image's own border is no edge."""
    kernel = np.ones((2 * radius_px + 1, 2 * radius_px + 1), np.uint8)
    inside = mask.view(np.uint8)
    return cv2.dilate(inside, kernel) > cv2.erode(inside, kernel)


def _aligned(
    raw: np.ndarray, space: Space, gt: np.ndarray, valid: np.ndarray, max_depth_m: float
) -> tuple[np.ndarray, Alignment]:
    """Clipped z in metres, H,W float32."""
    disparity = space is Space.AFFINE_DISPARITY
    low, high = (1 / max_depth_m, 1 / MIN_DEPTH_M) if disparity else (MIN_DEPTH_M, max_depth_m)
    if space is Space.METRIC:
        scale, shift, failed, value = 1.0, 0.0, False, raw
    else:
        scale, mean_x, mean_y = _line(raw, 1 / gt if disparity else gt, valid)
        shift, failed = mean_y - scale * mean_x, not scale > 0
        value = raw - np.float32(mean_x)
        value *= 0 if failed else scale
        value += mean_y
    clipped = float(np.count_nonzero(valid & ((value < low) | (value > high))) / np.count_nonzero(valid))
    z = np.clip(value, low, high, dtype=np.float32)
    return np.reciprocal(z, out=z) if disparity else z, Alignment(scale, shift, clipped, failed)


def _line(x: np.ndarray, y: np.ndarray, valid: np.ndarray) -> tuple[float, float, float]:
    """Slope and both means of the least-squares line through the valid pixels; a constant ``x`` gives slope 0."""
    weight = valid.astype(np.float32)
    count = int(np.count_nonzero(valid))
    mean_x, mean_y = float(np.vdot(x, weight)) / count, float(np.vdot(y, weight)) / count
    dx = x - np.float32(mean_x)
    dx *= weight
    slope = float(np.vdot(dx, y - np.float32(mean_y))) / max(float(np.vdot(dx, dx)), 1e-12)
    return slope, mean_x, mean_y


def _region(error: np.ndarray, close: np.ndarray, region: np.ndarray) -> RegionMetrics:
    pixels = int(np.count_nonzero(region))
    if pixels < MIN_PX:
        return RegionMetrics(np.nan, np.nan, pixels)
    absrel = float(np.vdot(error, region.astype(np.float32))) / pixels
    return RegionMetrics(absrel, int(np.count_nonzero(close & region)) / pixels, pixels)
