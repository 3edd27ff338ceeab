"""Depth at the frame's pixels, worked out where somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional, Union

import cv2
import numpy as np

from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.window import Part, Window, common, contains, overlap

Where = Union[Window, tuple[np.ndarray, np.ndarray]]  # a window, or rows and columns of pixels, which broadcast


class Inset(NamedTuple):
    """What stands in a window of the frame where ``owned``, h,w bool."""

    part: Part
    owned: np.ndarray


def is_positive(values: np.ndarray) -> bool:
    """Whether all are, and finite."""
    return bool(np.min(values, initial=np.inf) > 0 and np.max(values, initial=0) < np.inf)


def _line(values: np.ndarray, factor: float, shift: float) -> np.ndarray:
    line = np.asarray(values * np.float32(factor))
    line += np.float32(shift)
    return line


@dataclass(frozen=True)
class FrameDepth:
    """A float32 map H,W: ``grid`` over the network's input, bilinearly at the frame, with ``insets`` over it.

    ``depth[rows, columns]`` and ``np.asarray(depth)`` read it as an array; only what is read is made.
    """

    grid: np.ndarray
    letterbox: Letterbox
    insets: Sequence[Inset] = ()

    @property
    def shape(self) -> tuple[int, int]:
        return self.letterbox.frame_height, self.letterbox.frame_width

    def __getitem__(self, where: Where) -> np.ndarray:
        rows, columns = where
        if isinstance(rows, slice) and isinstance(columns, slice):
            return self._window((rows, columns))
        places = np.broadcast_arrays(np.asarray(rows), np.asarray(columns))
        return self._pixels(places[0].ravel(), places[1].ravel()).reshape(places[0].shape)

    def __array__(self, dtype: Optional[np.dtype] = None, copy: Optional[bool] = None) -> np.ndarray:
        return self.whole(np.empty(self.shape, np.float32))

    def whole(self, out: np.ndarray) -> np.ndarray:
        """``out``, H,W float32, with all of it."""
        cv2.resize(self.samples, self.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
        for (window, values), owned in self.insets:
            np.copyto(out[window], values, where=owned)
        return out

    def scaled(self, factor: float, shift: float = 0.0) -> FrameDepth:
        """With each value times ``factor`` plus ``shift``, as any mixture of values is, too."""
        insets = [Inset(Part(part.window, _line(part.values, factor, shift)), owned) for part, owned in self.insets]
        return FrameDepth(_line(self.grid, factor, shift), self.letterbox, insets)

    @property
    def is_positive(self) -> bool:
        """Whether all that it is made of is above 0 and finite."""
        return all(is_positive(values) for values in (self.samples, *(part.values for part, _ in self.insets)))

    @property
    def samples(self) -> np.ndarray:
        """``grid`` as far as the frame reaches."""
        return self.grid[: self.letterbox.height, : self.letterbox.width]

    def inside(self, mask: Part) -> np.ndarray:
        """In the window of a bool mask; where that is false, anything."""
        for part, owned in self.insets:
            if contains(part.window, mask.window) and _covers(Part(part.window, owned), mask):
                return part.within(mask.window)
        return self[mask.window]

    def _window(self, window: Window) -> np.ndarray:
        found = Part(window, self.letterbox.to_frame(self.grid, window))
        for part, owned in self.insets:
            if overlap(window, part.window):
                shared = common(window, part.window)
                np.copyto(found.within(shared), part.within(shared), where=Part(part.window, owned).within(shared))
        return found.values

    def _pixels(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Of N rows and columns."""
        found = self.letterbox.at_pixels(self.grid, rows, columns)
        for (window, values), owned in self.insets:
            row, column = rows - window[0].start, columns - window[1].start
            at = np.flatnonzero((row >= 0) & (row < owned.shape[0]) & (column >= 0) & (column < owned.shape[1]))
            row, column = row[at], column[at]
            found[at] = np.where(owned[row, column], values[row, column], found[at])
        return found


def _covers(owned: Part, mask: Part) -> bool:
    """Whether one bool map is true wherever the other is, whose window lies in its own."""
    return not np.any(mask.values > owned.within(mask.window))
