"""Metres for a relative network from sparse sensor depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

import cv2
import numpy as np

from focusdepth_core.perception.result import Scale, Space

MIN_POINTS = 20
MAX_POINTS = 4096  # enough for two parameters; more would only cost time
EDGE_KERNEL = np.ones((7, 7), np.uint8)  # 3 px on both sides of a mask's edge, where sensor and network mix surfaces
# Far / near (95 and 5 % of the inliers) below which a free shift does more harm than one of 0: measured with 2 % noise
# of the network, 20 % outliers and a true shift of -0.05 / m.
NARROW_RANGE = 1.3
HUBER = 1.345  # of the robust deviation: 95 % efficiency for Gaussian errors
INLIER = 2.5  # robust deviations
MAD_TO_SIGMA = 1.4826
ITERATIONS = 10


class ScaleFitter:
    """Robust affine fit of raw values to metres in the network's own space, one per frame.

    When the sensor's points lie in a narrow range of depth, the shift keeps the value of the last full fit, 0 before
    the first one, and only the scale is fitted.
    """

    def __init__(self) -> None:
        self._shift = 0.0

    def fit(
        self, raw: np.ndarray, hint_m: np.ndarray, space: Space, masks: Sequence[np.ndarray] = ()
    ) -> Optional[Scale]:
        """Both maps H,W at one size; ``hint_m``: metres, 0 or NaN where nothing was measured; ``masks``: H,W bool.

        Points near the edges of the masks are left out. None if fewer than ``MIN_POINTS`` points remain or the scale
        comes out negative.
        """
        x, z = _points(raw, hint_m, masks)
        if x.size < MIN_POINTS:
            return None
        y = 1 / z if space is Space.AFFINE_DISPARITY else z
        scale, shift, inliers = _robust_line(x, y, None)
        near, far = np.quantile(z[inliers], (0.05, 0.95))
        if far < NARROW_RANGE * near:
            scale, shift, inliers = _robust_line(x, y, self._shift)
        if not scale > 0:
            return None
        self._shift = shift
        fitted = Scale(scale, shift, space, "depth_hint", residual=0.0, inliers=float(inliers.mean()))
        error = np.abs(fitted.to_metres(x[inliers]) / z[inliers] - 1)
        return replace(fitted, residual=float(np.median(error)))


def _points(raw: np.ndarray, hint_m: np.ndarray, masks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Raw values and metres of the points to fit, N each, float64."""
    use = np.isfinite(hint_m) & (hint_m > 0) & np.isfinite(raw)
    for mask in masks:
        use &= cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_GRADIENT, EDGE_KERNEL) == 0
    where = np.flatnonzero(use)
    if where.size > MAX_POINTS:  # drawn, as a stride could fall in step with the sensor's own grid
        where = where[np.random.default_rng(0).integers(0, where.size, MAX_POINTS)]
    return raw.ravel()[where].astype(np.float64), hint_m.ravel()[where].astype(np.float64)


def _robust_line(x: np.ndarray, y: np.ndarray, shift: Optional[float]) -> tuple[float, float, np.ndarray]:
    """Scale, shift and inliers (bool, N): Huber weights by the median residual, then least squares over the inliers."""
    w = np.ones_like(x)
    for _ in range(ITERATIONS):
        error, sigma = _residuals(x, y, *_line(x, y, w, shift))
        w = np.minimum(1, HUBER * sigma / np.maximum(error, HUBER * sigma))
    inliers = error <= INLIER * sigma
    scale, shift = _line(x[inliers], y[inliers], np.ones(inliers.sum()), shift)
    return scale, shift, inliers


def _residuals(x: np.ndarray, y: np.ndarray, scale: float, shift: float) -> tuple[np.ndarray, float]:
    """Absolute residuals, and their robust deviation (kept above 0 for an exact fit)."""
    error = np.abs(scale * x + shift - y)
    return error, MAD_TO_SIGMA * float(np.median(error)) + 1e-9


def _line(x: np.ndarray, y: np.ndarray, w: np.ndarray, shift: Optional[float]) -> tuple[float, float]:
    """Weighted least squares y = scale * x + shift, with the shift given or free. A constant x gives scale 0."""
    if shift is not None:
        return float(w @ (x * (y - shift)) / max(w @ (x * x), 1e-12)), shift
    mean_x, mean_y = w @ x / w.sum(), w @ y / w.sum()
    dx = x - mean_x
    scale = float(w @ (dx * (y - mean_y)) / max(w @ (dx * dx), 1e-12))
    return scale, float(mean_y - scale * mean_x)
