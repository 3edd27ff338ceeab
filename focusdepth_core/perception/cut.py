"""Whether the camera shows another scene than one frame before."""

from __future__ import annotations

import cv2
import numpy as np

WIDTH = 160  # px that are looked at along the longer side of the image, or more
BINS = 6  # per channel
# Share of the pixels that have another colour. On simulated video of the validation split it was 0.22 at most between
# frames of a moving camera 1/3 s apart, also with something passing by, and 0.41 at least between two scenes.
CUT = 0.33


class CutDetector:
    """By colour histograms, which forget where things are, so that motion changes them little."""

    def __init__(self) -> None:
        self._before = np.zeros(0, np.float32)

    def is_cut(self, image: np.ndarray) -> bool:
        """``image``: H,W,3 uint8, the next one. The first is none."""
        step = max(1, max(image.shape[:2]) // WIDTH)
        few = np.ascontiguousarray(image[::step, ::step])
        counts = cv2.calcHist([few], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3).ravel()
        before, self._before = self._before, counts / counts.sum()
        return before.size > 0 and bool(np.abs(self._before - before).sum() / 2 > CUT)
