"""What the robot cares about: a target given as a box, as words, or both."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Optional

Box = tuple[float, float, float, float]

MIN_SIDE_PX = 1.0  # a box thinner than one pixel selects nothing


@dataclass(frozen=True)
class Target:
    """``box``: x0, y0, x1, y1 in pixels of the frame, half-open; ``text``: what to look for. At least one is given.
    ``category``: what a detector calls it, which no network is told.

    Raises ``ValueError`` for a box without area or with values that are not finite, for empty text, or for neither.
    """

    id: str
    box: Optional[Box] = None
    text: Optional[str] = None
    score: float = 1.0
    category: str = ""

    def __post_init__(self) -> None:
        if self.box is None and self.text is None:
            raise ValueError(f"target '{self.id}' has neither a box nor a text")
        if self.text is not None and not self.text.strip():
            raise ValueError(f"target '{self.id}' has an empty text")
        if self.box is not None:
            _check_box(self.id, self.box)

    def clipped(self, width: int, height: int) -> Target:
        """The target with its box cut to the image.

        Raises ``ValueError`` if less than a pixel of the box lies inside a ``width`` x ``height`` image.
        """
        if self.box is None:
            return self
        x0, y0, x1, y1 = self.box
        box = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
        if box[2] - box[0] < MIN_SIDE_PX or box[3] - box[1] < MIN_SIDE_PX:
            raise ValueError(
                f"box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) of target '{self.id}' lies outside the {width} x {height} image"
            )
        return replace(self, box=box)

    @property
    def name(self) -> str:
        """Its category or else its text, empty without both."""
        return self.category or self.text or ""


def _check_box(target_id: str, box: Box) -> None:
    x0, y0, x1, y1 = box
    if not all(math.isfinite(v) for v in box):
        raise ValueError(f"box {box} of target '{target_id}' is not finite")
    if x1 - x0 < MIN_SIDE_PX or y1 - y0 < MIN_SIDE_PX:
        raise ValueError(
            f"box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) of target '{target_id}' has no area; "
            "give x0, y0, x1, y1 in pixels with x1 > x0 and y1 > y0"
        )
