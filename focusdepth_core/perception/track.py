"""A mask that follows the image."""

from __future__ import annotations

from typing import Optional

import cv2
import numpy as np

from focusdepth_core.perception.motion import motion
from focusdepth_core.perception.target import MIN_SIDE_PX, Box


class Track:
    """``found``: the mask where it was found, rows,columns uint8 of 0 and 1; it is moved anew from there for every
    frame, so that its outline does not wear off.

    ``is_sure``: its own pixels could be followed so far; whoever knows better may set it. ``is_lost``: nothing in some
    image has said where it went, and it follows no more.
    """

    def __init__(self, found: np.ndarray) -> None:
        self._found, self._path = found, np.eye(3)
        self.is_sure, self.is_lost = True, False

    @classmethod
    def of(cls, mask: np.ndarray, shape: tuple[int, ...]) -> Track:
        """``mask``: H,W bool of the same view at another size than ``shape``."""
        small = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
        return cls((small >= min(0.5, small.max())).astype(np.uint8))  # what is smaller than a pixel stays one

    @property
    def mask(self) -> np.ndarray:
        """In the newest image, as ``found``."""
        return cv2.warpAffine(self._found, self._path[:2], self._found.shape[::-1], flags=cv2.INTER_LINEAR)

    def follow(self, before: np.ndarray, now: np.ndarray) -> None:
        """From one grey image to the next, both at the mask's size."""
        if self.is_lost:
            return
        mask = self.mask
        step = motion(before, now, mask)
        if step is None:
            self.is_sure, step = False, motion(before, now, np.ones_like(mask))
        if step is None:
            self.is_lost = True
        else:
            self._path = np.vstack([step, [0, 0, 1]]) @ self._path

    def box(self, width: int, height: int) -> Optional[Box]:
        """Around the mask, in px of an image of that size; None if it has left the view."""
        x, y, w, h = cv2.boundingRect(self.mask)
        sx, sy = width / self._found.shape[1], height / self._found.shape[0]
        box = (x * sx, y * sy, (x + w) * sx, (y + h) * sy)
        return box if min(w * sx, h * sy) >= MIN_SIDE_PX else None
