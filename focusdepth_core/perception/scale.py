"""Metres for a relative network from sparse sensor depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

import cv2
import numpy as np

from focusdepth_core.perception.quantiles import quantiles
from focusdepth_core.perception.result import Scale, Space
from focusdepth_core.perception.target import Box, Target
from focusdepth_core.perception.window import bounds, grown

MIN_POINTS = 20
MAX_POINTS = 2048  # enough for two parameters; more would only cost time
EDGE_KERNEL = np.ones((7, 7), np.uint8)  # 3 px on both sides of a mask's edge, where sensor and network mix surfaces
# Deviation over mean of the points' y below which a free shift does more harm than the one known: it is that of depths
# spread evenly from 1 to 1.3.
NARROW_SPREAD = 0.08
MEMORY_S = 0.45  # after which a frame's points count 1 / e; 0.8 per frame at 10 Hz
# Median relative error beyond which the line of the frames before does not hold for this one, on top of thrice the
# error of its own line.
JUMP = 0.1
# The frames before count by this power of how well their line fits the new frame, as a share of how well its own does.
# On simulated video of the validation split this took half of the lag out of a moving camera's metres, more of it where
# something passed by, and no steadiness from a resting camera's.
DOUBT = 4
EXACT = 0.01  # relative error below which a line is hardly better than another
CUT = 0.25  # of the raw values' range, by which most of them change when the scene does
VIEW = (24, 32)  # rows, columns of raw values that are compared for this
HUBER = 1.345  # of the robust deviation: 95 % efficiency for Gaussian errors
INLIER = 2.5  # robust deviations
MAD_TO_SIGMA = 1.4826
MIN_SIGMA = 1e-3  # of the mean of y: no sensor is better
ITERATIONS = 10
MEDIAN = (0.5,)
CONVERGED = 1e-3  # relative change of the robust deviation, which the next iteration would change by less

Line = tuple[float, float]  # scale, shift


class ScaleFitter:
    """Robust affine fit of raw values to metres in the network's own space, over the frames of a video.

    What is smoothed over time are the normal equations and not the line, so that frames count by their points, and the
    less the worse their line fits the newest one. For a frame whose depths are all alike the shift keeps its value, 0
    at first, and only the scale is fitted. A frame that the line does not fit at all, other targets, a cut and a stamp
    that is not after the last one start anew. Until a frame of these targets has had depths wide apart the ``residual``
    is at least the error that the shift may make.
    """

    def __init__(self) -> None:
        self._stamp = -math.inf
        self._view = np.empty(0)
        self._targets: Sequence[Target] = ()
        self._forget(shift=0.0)

    def restart(self) -> None:
        """After a cut, of which the values may show nothing."""
        self._forget(shift=0.0)

    def _forget(self, shift: float) -> None:
        self._gram = np.zeros((3, 3))  # sum over the inliers of p p^T / sigma^2, with p = (raw, 1, y)
        self._fitted: Optional[Scale] = None
        self._fitted_stamp = -math.inf
        self._shift, self._shift_is_known = shift, False

    def fit(
        self,
        raw: np.ndarray,
        hint_m: Optional[np.ndarray],
        space: Space,
        masks: Sequence[np.ndarray] = (),
        stamp: float = 0.0,
        targets: Sequence[Target] = (),
    ) -> Optional[Scale]:
        """Both maps H,W at one size; ``hint_m``: metres, 0 or NaN where nothing was measured; ``masks``: H,W bool;
        ``stamp``: seconds; ``targets``: what the network was asked for, as its scale and shift depend on that.

        Points near the edges of the masks are left out. Without a hint, with fewer than ``MIN_POINTS`` points, or when
        the scale comes out negative, the last fit holds, with its ``age``; None if there is none.
        """
        view = raw[:: max(1, raw.shape[0] // VIEW[0]), :: max(1, raw.shape[1] // VIEW[1])]
        if stamp <= self._stamp or _is_cut(self._view, view):
            self._forget(shift=0.0)
        elif not are_same(self._targets, targets):
            self._forget(self._shift)
        else:
            self._gram *= math.exp((self._stamp - stamp) / MEMORY_S)
        self._view, self._stamp, self._targets = view.copy(), stamp, targets
        if hint_m is not None:
            self._take(raw, hint_m, space, masks)
        if self._fitted is None:
            return None
        return replace(self._fitted, age=stamp - self._fitted_stamp)

    def _take(self, raw: np.ndarray, hint_m: np.ndarray, space: Space, masks: Sequence[np.ndarray]) -> None:
        """Takes the points of the frame into the fit."""
        x, z = _points(raw, hint_m, masks)
        if x.size < MIN_POINTS:
            return
        y = 1 / z if space is Space.AFFINE_DISPARITY else z
        inliers, sigma, line = free = _robust_line(x, y, None)
        is_wide = _is_wide(_gram(x[inliers], y[inliers], sigma))
        if not is_wide:
            inliers, sigma, line = _robust_line(x, y, self._shift)
        own = Scale(*line, space, "depth_hint", residual=0.0, inliers=float(inliers.mean()))
        x, y, z = x[inliers], y[inliers], z[inliers]
        if self._fitted is not None:
            self._doubt(_error(self._fitted, x, z), _error(own, x, z))
        gram = self._gram + _gram(x, y, sigma)
        scale, shift = _solve(gram, None if is_wide else self._shift)
        if scale > 0:
            fitted = replace(own, scale=scale, shift=shift)
            self._shift, self._shift_is_known = shift, is_wide or self._shift_is_known
            doubt = 0.0 if self._shift_is_known else _difference(fitted, free[2], _levels(raw, masks))
            self._gram, self._fitted_stamp = gram, self._stamp
            self._fitted = replace(fitted, residual=max(doubt, _error(fitted, x, z)))

    def _doubt(self, held: float, own: float) -> None:
        """Forget as much of the frames before as their line is worse for this one than its own; relative errors."""
        if not held < JUMP + 3 * own:
            self._gram[:] = 0
            self._shift_is_known = False
        self._gram *= min(1.0, (own + EXACT) / max(held, EXACT)) ** DOUBT


def _points(raw: np.ndarray, hint_m: np.ndarray, masks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Raw values and metres of the points to fit, N each, float64."""
    use = hint_m > 0
    for mask in masks:
        window = grown(bounds(mask), len(EDGE_KERNEL), mask.shape)
        if mask[window].size:
            use[window] &= cv2.morphologyEx(mask[window].view(np.uint8), cv2.MORPH_GRADIENT, EDGE_KERNEL) == 0
    where = drawn(use)
    x, z = raw.ravel()[where].astype(np.float64), hint_m.ravel()[where].astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(z)
    return x[finite], z[finite]


def drawn(use: np.ndarray, most: int = MAX_POINTS) -> np.ndarray:
    """Flat places where ``use`` is true, at most ``most``; drawn, as a stride could fall in step with the sensor's own
    grid."""
    rng = np.random.default_rng(0)
    count = np.count_nonzero(use)
    if count > max(most, use.size // 8):  # of so many it takes longer to list all than to try
        tried = rng.integers(0, use.size, int(1.1 * most * use.size / count))
        return tried[use.ravel()[tried]][:most]
    where = np.flatnonzero(use)
    return where if where.size <= most else where[rng.integers(0, where.size, most)]


def _is_cut(before: np.ndarray, now: np.ndarray) -> bool:
    if before.shape != now.shape:
        return before.size > 0
    low, high = np.nanquantile(before, (0.05, 0.95))
    return bool(np.nanmedian(np.abs(now - before)) > CUT * (high - low))


def are_same(before: Sequence[Target], now: Sequence[Target]) -> bool:
    """Boxes may have moved, as long as each still touches where it was."""
    return len(before) == len(now) and all(
        a.id == b.id and a.text == b.text and _overlap(a.box, b.box) for a, b in zip(before, now)
    )


def _overlap(a: Optional[Box], b: Optional[Box]) -> bool:
    if a is None or b is None:
        return a == b
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def _levels(raw: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Raw values by which a scale is judged: each target's, or without a target those of near, middle and far."""
    found = [mask for mask in masks if mask.any()]
    return np.array([np.nanmedian(raw[mask]) for mask in found] or np.nanquantile(raw, (0.05, 0.5, 0.95)))


def _difference(scale: Scale, line: Line, levels: np.ndarray) -> float:
    """Largest relative depth difference between the two at ``levels``; infinite where one gives no depth."""
    other = replace(scale, scale=line[0], shift=line[1])
    return float(np.nan_to_num(np.abs(scale.to_metres(levels) / other.to_metres(levels) - 1), nan=np.inf).max())


def _error(scale: Scale, x: np.ndarray, z: np.ndarray) -> float:
    """Median relative depth error; where the line gives no depth it is infinite."""
    error = np.nan_to_num(np.abs(scale.to_metres(x) / z - 1), nan=np.inf)
    return float(quantiles(error, MEDIAN)[0])


def _robust_line(x: np.ndarray, y: np.ndarray, shift: Optional[float]) -> tuple[np.ndarray, float, Line]:
    """Inliers (bool, N), robust deviation, and the line through the inliers: Huber weights by the median residual, then
    least squares over the inliers."""
    w, before = np.ones_like(x), math.inf
    for _ in range(ITERATIONS):
        error, sigma = _residuals(x, y, _line(x, y, w, shift))
        if abs(sigma - before) < CONVERGED * sigma:
            break
        w, before = np.minimum(1, HUBER * sigma / np.maximum(error, HUBER * sigma)), sigma
    inliers = error <= INLIER * sigma
    return inliers, sigma, _line(x[inliers], y[inliers], np.ones(inliers.sum()), shift)


def _residuals(x: np.ndarray, y: np.ndarray, line: Line) -> tuple[np.ndarray, float]:
    """Absolute residuals, and their robust deviation (kept above 0 for an exact fit)."""
    error = np.abs(line[0] * x + line[1] - y)
    return error, MAD_TO_SIGMA * float(quantiles(error, MEDIAN)[0]) + MIN_SIGMA * float(np.mean(y))


def _line(x: np.ndarray, y: np.ndarray, w: np.ndarray, shift: Optional[float]) -> Line:
    p = np.stack([x, np.ones_like(x), y])
    return _solve((p * w) @ p.T, shift)


def _gram(x: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
    p = np.stack([x, np.ones_like(x), y])
    return p @ p.T / sigma**2


def _is_wide(gram: np.ndarray) -> bool:
    mean = gram[1, 2] / gram[1, 1]
    return bool(gram[2, 2] / gram[1, 1] - mean**2 > (NARROW_SPREAD * mean) ** 2)


def _solve(gram: np.ndarray, shift: Optional[float]) -> Line:
    """Least squares y = scale * x + shift, with the shift given or free. A constant x gives scale 0."""
    xx, sum_x, xy, n, sum_y = gram[0, 0], gram[0, 1], gram[0, 2], gram[1, 1], gram[1, 2]
    if shift is not None:
        return float((xy - shift * sum_x) / max(xx, 1e-12)), shift
    scale = (xy - sum_x * sum_y / n) / max(xx - sum_x**2 / n, 1e-9 * xx + 1e-12)
    return float(scale), float((sum_y - scale * sum_x) / n)
