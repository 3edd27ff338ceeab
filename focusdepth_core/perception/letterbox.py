"""How a frame lies in the network's input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Optional

import cv2
import numpy as np

from focusdepth_core.perception.window import Part, Window, bounds

if TYPE_CHECKING:  # which itself needs what results are made of
    from focusdepth_core.engine.model_folder import InputSpec


Axis = tuple[np.ndarray, np.ndarray, np.ndarray]  # see _axis


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
        small = resized(rgb, self.width, self.height)
        out = np.empty((1, 3, self.spec.height, self.spec.width), np.float32)
        out[0, :, self.height :], out[0, :, : self.height, self.width :] = 0, 0
        for plane, whole, mean, std in zip(cv2.split(small), out[0], self.spec.mean, self.spec.std):
            inside = whole[: self.height, : self.width]
            np.multiply(plane, np.float32(1 / (255 * std)), out=inside)
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

    def to_frame(self, grid: np.ndarray, window: Optional[Window] = None) -> np.ndarray:
        """A map over the whole input, at any resolution, bilinearly at the frame's pixels: gh,gw -> H,W float32, or
        h,w of ``window``.

        The frame starts in the grid's corner, so that the scale alone says where its pixels are, also where its far
        edge falls inside a cell.
        """
        rows, columns = window or (slice(0, self.frame_height), slice(0, self.frame_width))
        down, across = self._axes(grid)
        above, below, down_share = (values[rows] for values in down)
        left, right, across_share = (values[columns] for values in across)
        if not above.size or not left.size:
            return np.empty((above.size, left.size), np.float32)
        first, last = left[0], right[-1] + 1
        stretched = _mixed(grid[above, first:last], grid[below, first:last], down_share[:, None])
        turned = cv2.transpose(stretched)  # rows are read at half the cost of columns
        return cv2.transpose(_mixed(turned[left - first], turned[right - first], across_share[:, None]))

    def at_pixels(self, grid: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """As ``to_frame``, for single pixels; ``rows`` and ``columns``, of integers, broadcast."""
        down, across = self._axes(grid)
        above, below, down_share = (values[rows] for values in down)
        left, right, across_share = (values[columns] for values in across)
        above, below, flat = above * grid.shape[1], below * grid.shape[1], np.ravel(grid)
        one, other = (_mixed(flat.take(above + side), flat.take(below + side), down_share) for side in (left, right))
        return _mixed(one, other, across_share)

    def positive(self, grid: np.ndarray) -> Part:
        """Of ``grid`` at the frame, a window that has everything above 0; it is empty where there is nothing."""
        used_rows, used_columns = self._used(grid)
        cells = bounds(grid[:used_rows, :used_columns] > 0)
        sizes, scales = (self.frame_height, self.frame_width), self._cells_per_pixel(grid)
        rows, columns = (_reached(*args) for args in zip(cells, scales, sizes))
        return Part((rows, columns), self.to_frame(grid, (rows, columns)))

    def _used(self, grid: np.ndarray) -> tuple[int, int]:
        """Rows and columns of the grid that the frame lies in."""
        rows, columns = grid.shape
        return -(-rows * self.height // self.spec.height), -(-columns * self.width // self.spec.width)

    def _cells_per_pixel(self, grid: np.ndarray) -> tuple[float, float]:
        rows, columns = grid.shape
        y = self.height * rows / (self.frame_height * self.spec.height)
        return y, self.width * columns / (self.frame_width * self.spec.width)

    def _axes(self, grid: np.ndarray) -> tuple[Axis, Axis]:
        sizes = self.frame_height, self.frame_width
        down, across = (_axis(*args) for args in zip(sizes, self._cells_per_pixel(grid), self._used(grid)))
        return down, across


@lru_cache(maxsize=16)  # a few grids of two models, and some cameras
def _axis(size: int, cells_per_pixel: float, cells: int) -> Axis:
    """Of each of ``size`` pixels, the two of ``cells`` that it lies between, and the second one's share, as
    ``cv2.resize`` has it."""
    places = np.clip((np.arange(size) + 0.5) * cells_per_pixel - 0.5, 0, cells - 1)
    low = places.astype(np.intp)
    return low, np.minimum(low + 1, cells - 1), (places - low).astype(np.float32)


def _mixed(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """``second``, mixed linearly with ``first``; between equal values exactly."""
    second -= first
    second *= share
    second += first
    return second


def _reached(cells: slice, cells_per_pixel: float, size: int) -> slice:
    """The pixels into which any of the cells is interpolated."""
    if cells.stop == 0:
        return cells
    first, last = (cells.start - 0.5) / cells_per_pixel - 0.5, (cells.stop + 0.5) / cells_per_pixel - 0.5
    return slice(max(math.floor(first), 0), min(math.ceil(last) + 1, size))


def resized(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """H,W,3 uint8 -> height,width,3 without aliasing.

    An image of twice the size or more is halved first, for which OpenCV has a fast path: 1280 x 720 to 518 x 291 takes
    0.6 ms and not 6; the difference is one grey level on average.
    """
    rows, columns = rgb.shape[:2]
    method = cv2.INTER_AREA if width < columns else cv2.INTER_LINEAR
    while rows >= 2 * height and columns >= 2 * width and not (rows % 2 or columns % 2):
        rows, columns = rows // 2, columns // 2
        rgb = cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_AREA)
        method = cv2.INTER_LINEAR
    return cv2.resize(rgb, (width, height), interpolation=method)
