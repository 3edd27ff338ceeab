"""The one global alignment of a prediction to the truth of its frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Optional

import cv2
import numpy as np

from focusdepth_core.fde_bench.boundary import Edges, boundary_f1, edge_levels
from focusdepth_core.perception.result import Space

MIN_PX = 64  # a region with fewer valid pixels has no metrics
MIN_DEPTH_M = 1e-3  # aligned affine depth may reach 0 or less, where the metrics have no meaning
DELTA_1 = 1.25
DENSE = 0.95  # share of valid pixels from which the truth's edges can be trusted: simulators, not sensors


class Truth:
    """Depth of one frame, H,W float32 metres, and the pixels in which it counts.

    Those are finite, above 0 and at most ``max_depth_m``; None sets the limit at the largest depth. Elsewhere
    ``depth`` is 1. Raises ``ValueError`` if fewer than ``MIN_PX`` pixels count.
    """

    def __init__(self, depth_m: np.ndarray, max_depth_m: Optional[float] = None) -> None:
        self.valid = (depth_m > 0) & (depth_m <= (max_depth_m or np.finfo(np.float32).max))
        self.pixels = int(np.count_nonzero(self.valid))
        if self.pixels < MIN_PX:
            raise ValueError(f"the ground truth has {self.pixels} valid pixels; at least {MIN_PX} are needed")
        self.depth = np.where(self.valid, depth_m, 1).astype(np.float32, copy=False)
        self.max_depth_m = max_depth_m or cv2.minMaxLoc(depth_m, self.valid.view(np.uint8))[1]

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.depth.shape
        return rows, columns

    @property
    def is_dense(self) -> bool:
        return self.pixels >= DENSE * self.depth.size

    @cached_property
    def weight(self) -> np.ndarray:
        """1 where the depth counts, else 0; float32, because numpy sums that several times faster than a choice."""
        return self.valid.astype(np.float32)

    @cached_property
    def disparity(self) -> np.ndarray:
        return 1 / self.depth

    @cached_property
    def edges(self) -> Edges:
        return edge_levels(self.depth)


@dataclass(frozen=True)
class Alignment:
    """The least-squares line from raw values to their space's depth or disparity, over all valid pixels.

    ``clipped``: share of the valid pixels whose aligned depth was beyond the largest one, or below 1 mm; ``failed``:
    the scale was not positive or the prediction not finite, so that the mean of the truth was evaluated everywhere:
    depth in the wrong order earns nothing.
    """

    scale: float
    shift: float
    clipped: float
    failed: bool


class Prediction:
    """A raw map h,w in ``space`` as depth, after one alignment to ``truth``; another size is resized bilinearly.

    ``depth``: H,W float32 metres, clipped to the truth's largest.
    """

    def __init__(self, raw: np.ndarray, space: Space, truth: Truth) -> None:
        raw = raw.astype(np.float32, copy=False)
        if raw.shape != truth.shape:
            raw = cv2.resize(raw, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        self.truth = truth
        self.depth, self.alignment = _aligned(raw, space, truth)

    @cached_property
    def error(self) -> np.ndarray:
        """Relative, abs(z - gt) / gt, H,W float32; 0 where the truth does not count."""
        error = self._ratio - 1
        error *= self.truth.weight
        return np.abs(error, out=error)

    @cached_property
    def close(self) -> np.ndarray:
        """max(z / gt, gt / z) < 1.25, H,W bool; False where the truth does not count."""
        return (self._ratio < DELTA_1) & (self._ratio > 1 / DELTA_1) & self.truth.valid

    @cached_property
    def sums(self) -> tuple[float, int, int]:
        """Of the error, of the close pixels, and of all valid pixels."""
        return cv2.sumElems(self.error)[0], int(np.count_nonzero(self.close)), self.truth.pixels

    @cached_property
    def edges(self) -> Edges:
        return edge_levels(self.depth)

    @cached_property
    def boundary_f1(self) -> float:
        """Of the whole image; NaN unless the truth is dense."""
        return boundary_f1(self.edges, self.truth.edges, self.truth.valid) if self.truth.is_dense else float("nan")

    @cached_property
    def _ratio(self) -> np.ndarray:
        return self.depth / self.truth.depth


def _aligned(raw: np.ndarray, space: Space, truth: Truth) -> tuple[np.ndarray, Alignment]:
    """Clipped z in metres, H,W float32."""
    disparity = space is Space.AFFINE_DISPARITY
    value, scale, shift, failed = _in_space(raw, space, truth)
    low, high = (1 / truth.max_depth_m, 1 / MIN_DEPTH_M) if disparity else (MIN_DEPTH_M, truth.max_depth_m)
    z = np.clip(value, low, high, dtype=np.float32)
    clipped = np.count_nonzero((z != value) & truth.valid) / truth.pixels
    return np.reciprocal(z, out=z) if disparity else z, Alignment(scale, shift, float(clipped), failed)


def _in_space(raw: np.ndarray, space: Space, truth: Truth) -> tuple[np.ndarray, float, float, bool]:
    """Aligned depth or disparity, scale, shift, and whether the alignment failed."""
    goal = truth.disparity if space is Space.AFFINE_DISPARITY else truth.depth
    mean = float(np.vdot(goal, truth.weight)) / truth.pixels
    if not np.isfinite(raw).all():
        return np.full(truth.shape, mean, np.float32), 0.0, mean, True
    if space is Space.METRIC:
        return raw, 1.0, 0.0, False
    mean_raw = float(np.vdot(raw, truth.weight)) / truth.pixels
    value = raw - np.float32(mean_raw)  # centred first, so that a large offset does not eat the float32 digits
    weighted = value * truth.weight
    covariance = float(np.vdot(weighted, goal)) - mean * float(weighted.sum())
    scale = covariance / max(float(np.vdot(weighted, weighted)), 1e-12)
    failed = not scale > 0
    value *= 0 if failed else scale
    value += mean
    return value, scale, mean - scale * mean_raw, failed
