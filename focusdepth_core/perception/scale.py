"""Metres for a relative network from sparse sensor depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Optional, Union

import cv2
import numpy as np

from focusdepth_core.perception.frame_depth import FrameDepth
from focusdepth_core.perception.quantiles import median, quantiles
from focusdepth_core.perception.result import Scale, Space
from focusdepth_core.perception.sensor_depth import SensorDepth
from focusdepth_core.perception.target import Box, Target
from focusdepth_core.perception.window import Part, grown

MIN_POINTS = 20
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
CONVERGED = 1e-3  # relative change of the robust deviation, which the next iteration would change by less

Line = tuple[float, float]  # scale, shift
Raw = Union[np.ndarray, FrameDepth]  # H,W


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
        raw: Raw,
        hint: Optional[SensorDepth],
        space: Space,
        masks: Sequence[Part] = (),
        stamp: float = 0.0,
        targets: Sequence[Target] = (),
    ) -> Optional[Scale]:
        """Both maps H,W at one size; ``masks``: bool, the smallest part around each; ``stamp``: seconds; ``targets``:
        what the network was asked for, as its scale and shift depend on that.

        Points near the edges of the masks are left out. Without a hint, with fewer than ``MIN_POINTS`` points, or when
        the scale comes out negative, the last fit holds, with its ``age``; None if there is none.
        """
        view = _view(raw)
        if stamp <= self._stamp or _is_cut(self._view, view):
            self._forget(shift=0.0)
        elif not are_same(self._targets, targets):
            self._forget(self._shift)
        else:
            self._gram *= math.exp((self._stamp - stamp) / MEMORY_S)
        self._view, self._stamp, self._targets = view, stamp, targets
        if hint is not None:
            self._take(raw, hint, space, masks)
        if self._fitted is None:
            return None
        return replace(self._fitted, age=stamp - self._fitted_stamp)

    def _take(self, raw: Raw, hint: SensorDepth, space: Space, masks: Sequence[Part]) -> None:
        """Takes the points of the frame into the fit."""
        x, z = _points(raw, hint, masks)
        if x.size < MIN_POINTS:
            return
        y = 1 / z if space is Space.AFFINE_DISPARITY else z
        p = np.stack([x, np.ones_like(x), y])
        inliers, sigma, line = free = _robust_line(p, None)
        is_wide = _is_wide(_gram(p[:, inliers], sigma))
        if not is_wide:
            inliers, sigma, line = _robust_line(p, self._shift)
        own = Scale(*line, space, "depth_hint", residual=0.0, inliers=float(inliers.mean()))
        p, x, z = p[:, inliers], x[inliers], z[inliers]
        if self._fitted is not None:
            self._doubt(_error(self._fitted, x, z), _error(own, x, z))
        gram = self._gram + _gram(p, sigma)
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


def _points(raw: Raw, hint: SensorDepth, masks: Sequence[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Raw values and metres of the points to fit, N each, float64."""
    for mask in masks:
        if mask.values.size:
            window = grown(mask.window, len(EDGE_KERNEL), raw.shape)
            around = Part(window, np.zeros(hint.measured[window].shape, np.uint8))
            around.within(mask.window)[:] = mask.values
            hint.leave_out(window, cv2.morphologyEx(around.values, cv2.MORPH_GRADIENT, EDGE_KERNEL) == 0)
    rows, columns = hint.drawn()
    x, z = raw[rows, columns].astype(np.float64), hint.metres(rows, columns)
    finite = np.isfinite(x) & np.isfinite(z)
    return (x, z) if finite.all() else (x[finite], z[finite])


def _view(raw: Raw) -> np.ndarray:
    """Of a network's own samples, as far as the frame reaches."""
    values = raw.samples if isinstance(raw, FrameDepth) else raw
    down, across = (max(1, side // count) for side, count in zip(values.shape, VIEW))
    return values[::down, ::across].copy()


def _is_cut(before: np.ndarray, now: np.ndarray) -> bool:
    if before.shape != now.shape:
        return before.size > 0
    known, change = before[~np.isnan(before)], np.abs(now - before)
    change = change[~np.isnan(change)]
    if not change.size:
        return False
    low, high = quantiles(known, (0.05, 0.95)).tolist()
    return bool(median(change) > CUT * (high - low))


def are_same(before: Sequence[Target], now: Sequence[Target]) -> bool:
    """In any order; boxes may have moved, as long as each still touches where it was."""
    pairs = zip(*(sorted(targets, key=lambda target: target.id) for targets in (before, now)))
    return len(before) == len(now) and all(
        a.id == b.id and a.text == b.text and _overlap(a.box, b.box) for a, b in pairs
    )


def _overlap(a: Optional[Box], b: Optional[Box]) -> bool:
    if a is None or b is None:
        return a == b
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def _levels(raw: Raw, masks: Sequence[Part]) -> np.ndarray:
    """Raw values by which a scale is judged: each target's, or without a target those of near, middle and far."""
    found = [np.nanmedian(raw[mask.window][mask.values]) for mask in masks if mask.values.size]
    return np.array(found or np.nanquantile(np.asarray(raw), (0.05, 0.5, 0.95)))


def _difference(scale: Scale, line: Line, levels: np.ndarray) -> float:
    """Largest relative depth difference between the two at ``levels``; infinite where one gives no depth."""
    other = replace(scale, scale=line[0], shift=line[1])
    return float(np.nan_to_num(np.abs(scale.to_metres(levels) / other.to_metres(levels) - 1), nan=np.inf).max())


def _error(scale: Scale, x: np.ndarray, z: np.ndarray) -> float:
    """Median relative depth error; where the line gives no depth it is infinite."""
    error = np.abs(scale.to_metres(x) / z - 1)
    error[np.isnan(error)] = np.inf
    return median(error)


def _robust_line(p: np.ndarray, shift: Optional[float]) -> tuple[np.ndarray, float, Line]:
    """Inliers (bool, N), robust deviation, and the line through the inliers of ``p``, 3,N of x, 1, y: Huber weights by
    the median residual, then least squares over the inliers."""
    w, before, least = np.ones_like(p[0]), math.inf, MIN_SIGMA * float(np.mean(p[2]))  # above 0 for an exact fit
    for _ in range(ITERATIONS):
        scale, offset = _solve((p * w) @ p.T, shift)
        error = np.abs(scale * p[0] + offset - p[2])
        sigma = MAD_TO_SIGMA * median(error) + least
        if abs(sigma - before) < CONVERGED * sigma:
            break
        w, before = np.minimum(1, HUBER * sigma / np.maximum(error, HUBER * sigma)), sigma
    inliers = error <= INLIER * sigma
    return inliers, sigma, _solve(_gram(p[:, inliers], 1.0), shift)


def _gram(p: np.ndarray, sigma: float) -> np.ndarray:
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
