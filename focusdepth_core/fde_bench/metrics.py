"""Errors of one prediction after one global alignment, by region of its target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

import cv2
import numpy as np

from focusdepth_core.fde_bench.alignment import MIN_PX, Alignment, Prediction, Truth
from focusdepth_core.fde_bench.boundary import boundary_f1
from focusdepth_core.fde_bench.surfaces import Surfaces
from focusdepth_core.perception.result import Space

BANDS = {"band": 10, "band_5px": 5}  # radii in pixels of the ground truth
REGIONS = ("foreground", *BANDS, "background", "global")


@dataclass(frozen=True)
class RegionMetrics:
    """``absrel``: mean of abs(z - gt) / gt; ``delta_1``: share of max(z / gt, gt / z) < 1.25.

    Both are NaN with fewer than ``MIN_PX`` pixels.
    """

    absrel: float
    delta_1: float
    pixels: int


@dataclass(frozen=True)
class EdgeMetrics:
    """``f1`` and ``f1_band``: boundary F1 of the image and of the band, NaN unless the truth is dense.

    ``flying_pixels`` and ``depth_order``: see ``surfaces``; a failed alignment has every pixel flying.
    """

    f1: float
    f1_band: float
    flying_pixels: float
    depth_order: float


@dataclass(frozen=True)
class PairMetrics:
    """``regions``: by the names in ``REGIONS``."""

    regions: Mapping[str, RegionMetrics]
    alignment: Alignment


class Region:
    """One target in the truth of its frame; ``mask``: H,W bool. Only the surroundings of the mask are looked at.

    ``window``: the mask's rows and columns and the widest band around it, at least one pixel.
    """

    def __init__(self, mask: np.ndarray, truth: Truth) -> None:
        self.window = _window(mask, max(BANDS.values()))
        valid, self._mask = truth.valid[self.window], np.ascontiguousarray(mask[self.window])
        self.truth = truth
        self.pixels = {"foreground": self._mask & valid}
        self.pixels |= {name: boundary_band(self._mask, radius) & valid for name, radius in BANDS.items()}

    @cached_property
    def surfaces(self) -> Surfaces:
        band, inside = self.pixels["band"], self.pixels["foreground"]
        return Surfaces(self.truth.depth[self.window], inside, band & ~self._mask, band)


def evaluate_pair(
    raw: np.ndarray, space: Space, gt_m: np.ndarray, mask: np.ndarray, max_depth_m: Optional[float] = None
) -> PairMetrics:
    """A prediction h,w against ground truth H,W in metres for one target, whose mask is H,W bool.

    Raises ``ValueError`` if fewer than ``MIN_PX`` pixels of ground truth count; ``max_depth_m``: see ``Truth``.
    """
    truth = Truth(gt_m, max_depth_m)
    return region_metrics(Prediction(raw, space, truth), Region(mask, truth))


def region_metrics(prediction: Prediction, region: Region) -> PairMetrics:
    """AbsRel and delta_1; what concerns the whole image is worked out once per prediction."""
    error, close = prediction.error[region.window], prediction.close[region.window]
    sums = {name: _sums(error, close, pixels) for name, pixels in region.pixels.items()}
    sums["global"] = np.array(prediction.sums)
    sums["background"] = sums["global"] - sums["foreground"]
    return PairMetrics({name: _means(*sums[name]) for name in REGIONS}, prediction.alignment)


def edge_metrics(prediction: Prediction, region: Region) -> EdgeMetrics:
    """Those of sharpness and order; they cost about twice as much as ``region_metrics``."""
    z = prediction.depth[region.window]
    flying, order = region.surfaces.flying_pixels(z), region.surfaces.depth_order(z)
    if prediction.alignment.failed and np.isfinite(flying):
        flying = 1.0
    f1_band = _band_f1(prediction, region) if region.truth.is_dense else float("nan")
    return EdgeMetrics(prediction.boundary_f1, f1_band, flying, order)


def boundary_band(mask: np.ndarray, radius_px: int = BANDS["band"]) -> np.ndarray:
    """Pixels within ``radius_px`` (Chebyshev) of the mask's edge, H,W bool; the image's own border is no edge."""
    kernel = np.ones((2 * radius_px + 1, 2 * radius_px + 1), np.uint8)
    inside = mask.view(np.uint8)
    return cv2.dilate(inside, kernel) > cv2.erode(inside, kernel)


def _band_f1(prediction: Prediction, region: Region) -> float:
    rows, columns = region.window
    down = slice(rows.start, rows.stop - 1), columns
    right = rows, slice(columns.start, columns.stop - 1)
    crops = [(edges[0][down], edges[1][right]) for edges in (prediction.edges, region.truth.edges)]
    return boundary_f1(*crops, region.pixels["band"])


def _sums(error: np.ndarray, close: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Of the error, of the close pixels, and of all pixels."""
    count = np.count_nonzero(pixels)
    return np.array([cv2.mean(error, pixels.view(np.uint8))[0] * count, np.count_nonzero(close & pixels), count])


def _means(error: float, close: float, pixels: float) -> RegionMetrics:
    if pixels < MIN_PX:
        return RegionMetrics(float("nan"), float("nan"), int(pixels))
    return RegionMetrics(float(error / pixels), float(close / pixels), int(pixels))


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    bottom, right = min(y + height + margin, mask.shape[0]), min(x + width + margin, mask.shape[1])
    return slice(max(y - margin, 0), bottom), slice(max(x - margin, 0), right)
