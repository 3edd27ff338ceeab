"""A target and what surrounds it as two surfaces: points that hang between them, and which of the two is in front."""

from __future__ import annotations

from typing import Optional

import cv2
import numpy as np

from focusdepth_core.fde_bench.alignment import MIN_PX

STEP = 1.05  # ratio of the two depths from which a pixel lies at a step; the least factor of the boundary F1
CLEAR = 0.25  # of the step: a depth nearer than this to one of the surfaces belongs to it
DRAWN = 4096  # pairs of a pixel of the target and one around it


class Surfaces:
    """Where the true depth steps at a target's edge; all arrays are of one crop, h,w.

    ``depth``: truth in metres; ``inside`` and ``ring``: its valid pixels in the target and, outside of it, in the band.
    ``band``: the valid pixels in which to look for flying pixels.
    """

    def __init__(self, depth: np.ndarray, inside: np.ndarray, ring: np.ndarray, band: np.ndarray) -> None:
        self._depth, self._inside, self._ring = depth, inside, ring
        self._steps = self._at_steps(band)
        self._pairs = self._drawn_pairs()

    def flying_pixels(self, z: np.ndarray) -> float:
        """Share of the band's pixels at a step whose ``z`` lies between both surfaces, clear of each.

        The surfaces are the pixel's own true depth and that of the nearest pixel across the edge. NaN with fewer than
        ``MIN_PX`` such pixels.
        """
        if self._steps is None:
            return float("nan")
        places, own, other = self._steps
        way = (z.ravel()[places] - own) / (other - own)
        return float(np.mean((way > CLEAR) & (way < 1 - CLEAR)))

    def depth_order(self, z: np.ndarray) -> float:
        """Share of random pairs, one pixel in the target and one in the ring, that ``z`` has in the right order.

        Pairs at about the same true depth do not count. NaN with fewer than ``MIN_PX`` others.
        """
        if self._pairs is None:
            return float("nan")
        first, second, sign = self._pairs
        flat = z.ravel()
        return float(np.mean((flat[first] - flat[second]) * sign > 0))

    def _at_steps(self, band: np.ndarray) -> Optional[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Flat places, own and other depth."""
        outside = self._ring
        if not (self._inside.any() and outside.any()):
            return None
        other = np.where(self._inside, nearest(self._depth, outside), nearest(self._depth, self._inside))
        places = np.flatnonzero(band & differ(self._depth, other))
        if places.size < MIN_PX:
            return None
        return places, self._depth.ravel()[places], other.ravel()[places]

    def _drawn_pairs(self) -> Optional[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Flat places in the target and in the ring, and the sign of the true difference."""
        inside, ring = np.flatnonzero(self._inside), np.flatnonzero(self._ring)
        if not (inside.size and ring.size):
            return None
        rng = np.random.default_rng(0)
        first, second = (places[rng.integers(0, places.size, DRAWN)] for places in (inside, ring))
        a, b = self._depth.ravel()[first], self._depth.ravel()[second]
        kept = differ(a, b)
        return (first[kept], second[kept], np.sign(a - b)[kept]) if kept.sum() >= MIN_PX else None


def differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a > STEP * b) | (b > STEP * a)


def nearest(depth: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The depth of the nearest pixel among ``of`` at every place, h,w; ``of`` is not empty."""
    _, labels = cv2.distanceTransformWithLabels((~of).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    values = np.empty(labels.max() + 1, np.float32)
    values[labels[of]] = depth[of]
    return values[labels]
