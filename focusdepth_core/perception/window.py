"""Parts of a map: what is worked on around a target, in place of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

Window = tuple[slice, slice]  # rows, columns


class Part(NamedTuple):
    """``values`` of a map in its ``window``."""

    window: Window
    values: np.ndarray

    def within(self, window: Window) -> np.ndarray:
        """Its values in another window of the map, which must lie in its own."""
        rows, columns = (slice(w.start - o.start, w.stop - o.start) for w, o in zip(window, self.window))
        return self.values[rows, columns]

    def tight(self) -> Part:
        """Of a bool map, the smallest part around what is true; without any it is empty."""
        inside = bounds(self.values)
        if not inside[0].stop:
            return Part(inside, self.values[inside])
        rows, columns = (slice(s.start + o.start, s.stop + o.start) for s, o in zip(inside, self.window))
        return Part((rows, columns), self.values[inside])


def bounds(mask: np.ndarray) -> Window:
    """The smallest window around the true places of ``mask``, H,W bool; without any it is empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8)) if mask.size else (0, 0, 0, 0)
    return slice(y, y + height), slice(x, x + width)


def grown(window: Window, margin: int, shape: tuple[int, ...]) -> Window:
    """By ``margin`` on each side, within a map of ``shape``."""
    rows, columns = (
        slice(max(side.start - margin, 0), min(side.stop + margin, length)) for side, length in zip(window, shape)
    )
    return rows, columns


def overlap(a: Window, b: Window) -> bool:
    return all(one.start < other.stop and other.start < one.stop for one, other in zip(a, b))


def contains(a: Window, b: Window) -> bool:
    return all(one.start <= other.start and other.stop <= one.stop for one, other in zip(a, b))


def common(a: Window, b: Window) -> Window:
    """Of two windows that overlap."""
    rows, columns = (slice(max(s.start, o.start), min(s.stop, o.stop)) for s, o in zip(a, b))
    return rows, columns


def merged(windows: Iterable[Window]) -> list[Window]:
    """Windows that do not overlap and cover all of ``windows``."""
    found: list[Window] = []
    for window in windows:
        while True:
            touching = [other for other in found if overlap(window, other)]
            if not touching:
                break
            found = [other for other in found if other not in touching]
            window = _around([window, *touching])
        found.append(window)
    return found


def _around(windows: Sequence[Window]) -> Window:
    rows, columns = (slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*windows))
    return rows, columns
