"""What the pipeline answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Optional, Union

import numpy as np

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.frame_depth import FrameDepth
from focusdepth_core.perception.target import Target
from focusdepth_core.perception.window import Part, Window, bounds

BAND = 64  # rows that are worked on at once, so that they stay in the processor's cache


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

    def to_metres(self, raw: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
        """Raw output to z in metres, float32 of the same shape, in ``out`` if given, which may be ``raw`` itself; NaN
        where the fit gives no positive depth."""
        metres = np.asarray(np.multiply(raw, self.scale, out=out, dtype=np.float32))
        metres += self.shift
        if not _is_positive(metres):
            np.copyto(metres, np.nan, where=~((metres > 0) & (metres < np.inf)))
        if self.space is Space.AFFINE_DISPARITY:
            np.divide(np.float32(1), metres, out=metres)  # twice as fast as np.reciprocal
        return metres


def positive(values: np.ndarray) -> np.ndarray:
    """Float32 values with NaN in place of those that are no depth: not above 0, or infinite."""
    return values if _is_positive(values) else np.where((values > 0) & (values < np.inf), values, np.float32(np.nan))


def _is_positive(values: np.ndarray) -> bool:
    return values.size > 0 and bool(values.min() > 0 and values.max() < np.inf)


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
    depth: Union[np.ndarray, FrameDepth]
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
        if isinstance(self.depth, FrameDepth):
            self.depth.whole(out)
        else:
            np.copyto(out, self.depth)
        for rows in range(0, len(out), BAND):
            band = out[rows : rows + BAND]
            np.copyto(band, positive(band)) if scale is None else scale.to_metres(band, out=band)
        return out if scale is None or scale is not self.scale else self._corrected(out)

    def _corrected(self, metres: np.ndarray) -> np.ndarray:
        """``metres``, H,W as the scale gives them, times each target's factor in its mask, in place; where masks
        overlap, the first target's."""
        parts = [(target, metres[target.window][target.mask[target.window]]) for target in self.targets]
        for target, part in reversed(parts):
            metres[target.window][target.mask[target.window]] = part * np.float32(target.factor)
        return metres
