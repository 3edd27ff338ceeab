"""What the pipeline answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Optional

import numpy as np

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.frame_depth import FrameDepth, is_positive
from focusdepth_core.perception.target import Target
from focusdepth_core.perception.window import Part, Window, bounds, overlap


class Space(str, Enum):
    """What a network's raw output means: which transform of it is metric depth z."""

    AFFINE_DISPARITY = "affine_disparity"  # scale * raw + shift = 1 / z: larger is nearer
    AFFINE_DEPTH = "affine_depth"  # scale * raw + shift = z: larger is farther
    METRIC = "metric"  # raw = z in metres


@dataclass(frozen=True)
class Scale:
    """How raw values become metres, and how much to believe it.

    ``residual``: median relative depth error over the inliers of the fit, or more while the shift is a guess;
    ``inliers``: their share in [0, 1]; ``source``: where the metres come from ("depth_hint"); ``age``: seconds since
    the newest sensor depth used.
    """

    scale: float
    shift: float
    space: Space
    source: str
    residual: float
    inliers: float
    age: float = 0.0

    def to_metres(self, raw: np.ndarray) -> np.ndarray:
        """Raw output to z in metres, float32 of the same shape; NaN where the fit gives no positive depth."""
        line = np.asarray(np.multiply(raw, self.scale, dtype=np.float32))
        line += self.shift
        return self._inverted(positive(line))

    def of_frame(self, depth: FrameDepth, out: np.ndarray) -> np.ndarray:
        """``to_metres`` of all of it, in ``out``, H,W float32."""
        line = depth.scaled(self.scale, self.shift)
        line.whole(out)
        return self._inverted(out if line.is_positive else _blanked(out))

    def _inverted(self, line: np.ndarray) -> np.ndarray:
        """In place, for disparity."""
        if self.space is Space.AFFINE_DISPARITY:
            np.divide(np.float32(1), line, out=line)  # twice as fast as np.reciprocal
        return line


def positive(values: np.ndarray) -> np.ndarray:
    """Float32 values with NaN in place of those that are no depth: not above 0, or infinite."""
    return values if is_positive(values) else _blanked(values.copy())


def _blanked(values: np.ndarray) -> np.ndarray:
    """``positive``, in place."""
    np.copyto(values, np.float32(np.nan), where=~((values > 0) & (values < np.inf)))
    return values


@dataclass(frozen=True)
class TargetResult:
    """One target's share of the frame.

    ``mask``: H,W bool; ``confidence``: mean mask probability inside the mask, 0 if it is empty;
    ``raw_quantiles``: 5, 50 and 95 % of the raw depth inside the mask, NaN if it is empty; ``presence``: probability
    that the frame shows what the text names, None from a model that does not judge it; ``factor``: by which its metres
    differ from those that the frame's scale gives; ``window``: the smallest one around the mask, worked out if not
    given.
    """

    target: Target
    mask: np.ndarray
    confidence: float
    raw_quantiles: tuple[float, float, float]
    presence: Optional[float] = None
    factor: float = 1.0
    window: Window = ()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if not self.window:
            object.__setattr__(self, "window", bounds(self.mask))

    @property
    def part(self) -> Part:
        """Of the mask, in ``window``."""
        return Part(self.window, self.mask[self.window])

    @property
    def found(self) -> bool:
        return self.window[0].stop > 0


@dataclass(frozen=True)
class FocusResult:
    """``depth``: H,W float32, the network's own values in ``space``, at the frame's size."""

    frame: Frame
    depth: FrameDepth
    space: Space
    targets: tuple[TargetResult, ...] = ()
    scale: Optional[Scale] = None
    timings_ms: dict[str, float] = field(default_factory=dict)

    @cached_property
    def relative_depth(self) -> np.ndarray:
        """All of ``depth``."""
        return np.asarray(self.depth)

    def depth_m(self) -> Optional[np.ndarray]:
        """z in metres, H,W float32 with NaN where invalid, or None without a known scale."""
        if self.scale is None and self.space is not Space.METRIC:
            return None
        return self.metres(self.scale, np.empty(self.depth.shape, np.float32))

    def metres(self, scale: Optional[Scale], out: np.ndarray) -> np.ndarray:
        """``out``, H,W float32, as ``depth_m`` with another scale; None for what is metric as it is. The targets'
        factors are those of the result's own scale, and of no other."""
        if scale is None:
            return _blanked(self.depth.whole(out))
        scale.of_frame(self.depth, out)
        return self._corrected(out) if scale is self.scale else out

    def _corrected(self, metres: np.ndarray) -> np.ndarray:
        """``metres``, H,W as the scale gives them, times each target's factor in its mask, in place; where masks
        overlap, the first target's."""
        for place, target in enumerate(self.targets):
            window, own = target.part
            for other in self.targets[:place]:
                if overlap(window, other.window):
                    own = own & ~other.mask[window]
            np.multiply(metres[window], np.float32(target.factor), out=metres[window], where=own)
        return metres
