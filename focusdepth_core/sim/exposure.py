"""What a real camera adds: exposure, gamma, white balance, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Exposure:
    """``gain`` per channel, ``gamma``, and noise in 8-bit steps: constant ``read`` and ``shot`` growing with light."""

    gain: tuple[float, float, float]
    gamma: float
    read: float
    shot: float
    blur: float  # standard deviation in pixels

    @classmethod
    def random(cls, rng: np.random.Generator) -> Exposure:
        gain = np.exp(rng.normal(0.05, 0.2) + rng.normal(0, 0.05, 3))
        noisy, blur = rng.random(), max(0.0, rng.normal(0, 0.5))
        return cls((gain[0], gain[1], gain[2]), np.exp(rng.normal(-0.1, 0.18)), 3.0 * noisy**2, 0.35 * noisy, blur)

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """H,W,3 uint8 RGB in and out."""
        levels = np.arange(256) / 255
        table = np.clip(255 * np.outer(levels**self.gamma, self.gain), 0, 255)
        exposed = cv2.LUT(image, table[None].astype(np.float32))
        if self.blur > 0.25:
            exposed = cv2.GaussianBlur(exposed, (0, 0), self.blur)
        sigma = self.read + self.shot * np.sqrt(exposed)
        noise = rng.standard_normal(image.shape, np.float32)
        return np.clip(exposed + sigma * noise, 0, 255).astype(np.uint8)
