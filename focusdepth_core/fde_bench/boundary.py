"""Scale-invariant boundary F1 as in Depth Pro (arXiv 2410.02073), for a whole image or within a region.

An edge lies between two neighbours whose depths differ by more than a factor t; it has one of four directions: the
farther pixel is to the right, left, below or above. An edge is found if the prediction has one at the same place and in
the same direction. F1 is averaged over ten factors with weights proportional to t.

Unlike there, for regions may be small: a direction in which neither map has an edge is left out of the means over
directions, and a factor at which the truth has none is left out of the mean over factors.
"""

from __future__ import annotations

import numpy as np

FACTORS = np.linspace(1.05, 1.25, 10)
LEVELS = len(FACTORS)

Edges = tuple[np.ndarray, np.ndarray]


def edge_levels(depth: np.ndarray) -> Edges:
    """How many of the factors each step exceeds, negative if the depth falls: H-1,W downwards and H,W-1 to the right.

    ``depth``: H,W float32, above 0. The maps are int8.
    """
    return _levels(depth[:-1], depth[1:]), _levels(depth[:, :-1], depth[:, 1:])


def _levels(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    ratio = second / first
    steps = np.flatnonzero((ratio > FACTORS[0]) | (ratio < 1 / FACTORS[0]))
    step = ratio.ravel()[steps]
    rises = step > 1
    exceeded = np.searchsorted(FACTORS, np.where(rises, step, 1 / step))
    levels = np.zeros(ratio.shape, np.int8)
    levels.ravel()[steps] = np.where(rises, exceeded, -exceeded)
    return levels


def boundary_f1(predicted: Edges, true: Edges, region: np.ndarray) -> float:
    """Of the edges whose two pixels lie in ``region`` (H,W bool); NaN if the truth has none there.

    ``predicted`` and ``true``: from ``edge_levels`` of maps of the region's size.
    """
    inside = region[:-1] & region[1:], region[:, :-1] & region[:, 1:]
    found, claimed, real = np.moveaxis([_counts(*maps) for maps in zip(predicted, true, inside)], 0, 1)
    found, claimed, real = (counts.reshape(-1, LEVELS) for counts in (found, claimed, real))
    directions = np.maximum(np.count_nonzero(claimed + real, axis=0), 1)
    precision = (found / np.maximum(claimed, 1)).sum(0) / directions
    recall = (found / np.maximum(real, 1)).sum(0) / directions
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    weights = FACTORS * real.any(axis=0)
    return float(f1 @ weights / weights.sum()) if weights.any() else float("nan")


def _counts(predicted: np.ndarray, true: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Edges found, claimed and real, for the rising and the falling direction and each factor: 3,2,LEVELS."""
    places = np.flatnonzero((predicted | true).astype(bool) & inside)
    p, t = predicted.ravel()[places], true.ravel()[places]
    return np.array(
        [[_exceeding(np.minimum(s * p, s * t)), _exceeding(s * p), _exceeding(s * t)] for s in (1, -1)]
    ).swapaxes(0, 1)


def _exceeding(levels: np.ndarray) -> np.ndarray:
    """How many edges exceed each of the factors; a level of 0 or less exceeds none."""
    histogram = np.bincount(np.maximum(levels, 0), minlength=LEVELS + 1)
    return histogram[:0:-1].cumsum()[::-1]
