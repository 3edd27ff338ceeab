"""A depth sensor as robots have them: holes, most of all on the target, noise and gross errors."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

HOLE = 0.04  # size of a hole, as a share of the image's width
WRONG = (1.3, 3.0)  # times too near or too far, of a gross error
RIM_PX = 2  # around a target that is one hole


@dataclass(frozen=True)
class DepthSensor:
    """``cover``: share of the pixels measured beside the target, ``on_target``: on it, 0 makes it one hole;
    ``outliers``: share of the measurements that are grossly wrong; ``noise``: relative deviation of the others.

    Holes stay where they are in the image, by ``seed``.
    """

    seed: int
    cover: float = 0.7
    on_target: float = 0.3
    outliers: float = 0.2
    noise: float = 0.01

    def measure(self, depth_m: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """True z in m (0: none) and the target's mask, H,W -> measured z, H,W float32, 0 where there is no reading."""
        field = self._field(depth_m.shape)
        seen = (field < np.quantile(field, self.cover)) & (depth_m > 0)
        if target.any():
            seen &= ~cv2.dilate(target.view(np.uint8), np.ones((2 * RIM_PX + 1,) * 2)).astype(bool)
            seen |= target & (field < np.quantile(field[target], self.on_target))
        factor = 1 + self.noise * rng.standard_normal(depth_m.shape, np.float32)
        wrong = rng.random(depth_m.shape, np.float32) < self.outliers
        sign = np.where(rng.random(np.count_nonzero(wrong)) < 0.5, -1, 1)
        factor[wrong] = rng.uniform(*WRONG, len(sign)) ** sign
        return np.where(seen, depth_m * factor, np.float32(0)).astype(np.float32)

    def _field(self, shape: tuple[int, ...]) -> np.ndarray:
        """Smooth noise, whose low parts are measured."""
        noise = np.random.default_rng(self.seed).standard_normal(shape, np.float32)
        return cv2.GaussianBlur(noise, (0, 0), HOLE * shape[1] / 2)
