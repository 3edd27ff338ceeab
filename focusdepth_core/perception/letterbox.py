"""How a frame lies in the network's input."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from focusdepth_core.engine.model_folder import InputSpec


@dataclass(frozen=True)
class Letterbox:
    """A frame of ``frame_width`` x ``frame_height`` in an input of ``spec``'s size.

    The frame is resized with its aspect ratio kept, up to the rounding to whole pixels, and lies in the top left
    corner; the rest holds the mean colour. Each axis has its own exact scale, ``width / frame_width`` and
    ``height / frame_height``.
    """

    frame_width: int
    frame_height: int
    spec: InputSpec

    @property
    def width(self) -> int:
        """Of the resized frame, px of the input."""
        return max(1, round(self.frame_width * self._ratio))

    @property
    def height(self) -> int:
        """Of the resized frame, px of the input."""
        return max(1, round(self.frame_height * self._ratio))

    @property
    def _ratio(self) -> float:
        return min(self.spec.width / self.frame_width, self.spec.height / self.frame_height)

    def image(self, rgb: np.ndarray) -> np.ndarray:
        """H,W,3 uint8 -> 1,3,h,w float32, normalised; the padding is 0."""
        method = cv2.INTER_AREA if self._ratio < 1 else cv2.INTER_LINEAR
        small = cv2.resize(rgb, (self.width, self.height), interpolation=method)
        out = np.zeros((1, 3, self.spec.height, self.spec.width), np.float32)
        for channel, (mean, std) in enumerate(zip(self.spec.mean, self.spec.std)):
            inside = out[0, channel, : self.height, : self.width]
            np.multiply(small[..., channel], np.float32(1 / (255 * std)), out=inside)
            inside -= np.float32(mean / std)
        return out

    def boxes_to_input(self, boxes_px: np.ndarray) -> np.ndarray:
        """T,4 x0,y0,x1,y1 in pixels of the frame -> T,4 cx,cy,w,h in [0, 1] of the input."""
        low, high = np.split(boxes_px * self._to_unit, 2, axis=1)
        return np.concatenate([(low + high) / 2, high - low], axis=1)

    def boxes_to_frame(self, boxes: np.ndarray) -> np.ndarray:
        """The inverse of ``boxes_to_input``."""
        centre, size = np.split(boxes, 2, axis=1)
        return np.concatenate([centre - size / 2, centre + size / 2], axis=1) / self._to_unit

    @property
    def _to_unit(self) -> np.ndarray:
        x = self.width / (self.frame_width * self.spec.width)
        y = self.height / (self.frame_height * self.spec.height)
        return np.array([x, y, x, y])

    def to_frame(self, grid: np.ndarray) -> np.ndarray:
        """A map over the whole input, at any resolution, bilinearly at the frame's pixels: gh,gw -> H,W float32.

        The frame starts in the grid's corner, so that the scale alone says where its pixels are, also where its far
        edge falls inside a cell.
        """
        rows, cols = grid.shape
        used_rows = -(-rows * self.height // self.spec.height)
        used_cols = -(-cols * self.width // self.spec.width)
        fx = self.frame_width * self.spec.width / (self.width * cols)
        fy = self.frame_height * self.spec.height / (self.height * rows)
        out = cv2.resize(grid[:used_rows, :used_cols], None, fx=fx, fy=fy, interpolation=cv2.INTER_LINEAR)
        return out[: self.frame_height, : self.frame_width]
