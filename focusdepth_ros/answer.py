"""The pipeline's result with what its messages need from the input."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Optional

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from focusdepth_core.perception.cloud import Cloud, cloud_of, inner
from focusdepth_core.perception.quantiles import quantiles
from focusdepth_core.perception.result import FocusResult, Scale, Space, TargetResult, positive
from focusdepth_ros.image_msgs import ImageMemory
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.presence import Presence
from focusdepth_ros.transforms import Placement

SPAN_QUANTILES = (0.05, 0.5, 0.95)
SPAN_POINTS = 1000  # of which the quantiles of more are taken: every n-th is as good, to 1 % of the extent


@dataclass(frozen=True)
class Answer:
    """``header``: of the image; ``info``: its camera_info if that is usable; ``presences``: of the result's targets;
    ``placement``: of what is told in metres, None if that is not known; ``why_no_hint``: empty if there is one;
    ``memory``: for its messages.
    """

    header: Header
    result: FocusResult
    info: Optional[CameraInfo]
    presences: tuple[Presence, ...]
    parameters: Parameters
    placement: Optional[Placement] = None
    why_no_hint: str = ""
    memory: ImageMemory = field(default_factory=ImageMemory)

    @property
    def lost(self) -> tuple[Presence, ...]:
        return tuple(presence for presence in self.presences if presence.is_lost(self.parameters.lost_after))

    @cached_property
    def scale(self) -> Optional[Scale]:
        """The fixed one, or the fitted one while it fits and is not out of date; None for a metric model."""
        fitted, parameters = self.result.scale, self.parameters
        if self.result.space is Space.METRIC:
            return None
        if parameters.fixed_scale > 0:
            fixed = parameters.fixed_scale, parameters.fixed_shift
            return Scale(*fixed, self.result.space, "parameter", residual=math.nan, inliers=math.nan)
        if fitted is None or fitted.age > parameters.max_scale_age or fitted.residual > parameters.max_residual:
            return None
        return fitted

    @property
    def why_not_metric(self) -> str:
        """What the metric outputs lack; empty if they have everything."""
        if self.info is None:
            return "no usable camera_info"
        if self.scale is not None or self.result.space is Space.METRIC:
            return ""
        fitted, parameters = self.result.scale, self.parameters
        if fitted is None:
            return self.why_no_hint or "depth_hint and image do not fit together"
        if fitted.age > parameters.max_scale_age:
            too_old = f"the last usable depth_hint is older than scale.max_age = {parameters.max_scale_age:g} s"
            return f"{too_old}: {self.why_no_hint}" if self.why_no_hint else too_old
        return (
            f"depth_hint and image do not fit together: scale_residual {fitted.residual:.3g} is above "
            f"scale.max_residual = {parameters.max_residual:g}"
        )

    @property
    def is_metric(self) -> bool:
        return not self.why_not_metric

    @property
    def has_depth(self) -> bool:
        """Whether there is an image in metres, be it of NaN."""
        return self.info is not None and (self.is_metric or self.parameters.when_stale == "nan")

    def factor(self, target: TargetResult) -> float:
        """By which the target's metres differ from those that ``scale`` gives."""
        return target.factor if self._is_fitted else 1.0

    @property
    def _is_fitted(self) -> bool:
        return self.scale is not None and self.scale is self.result.scale

    @cached_property
    def clouds(self) -> Optional[tuple[Cloud, ...]]:
        """One per target in the optical frame, or None if not ``is_metric``."""
        return tuple(self._cloud(target) for target in self.result.targets) if self.is_metric else None

    def _cloud(self, target: TargetResult) -> Cloud:
        result, parameters = self.result, self.parameters
        pixels = inner(target.mask, target.window, parameters.drop_edge_px)
        raw = result.depth.inside(target.part)[pixels.values]
        metres = positive(raw) if self.scale is None else self.scale.to_metres(raw)
        metres = metres * np.float32(self.factor(target))
        return cloud_of(result.frame, pixels, metres, parameters.voxel_size, parameters.range_max or math.inf)

    @cached_property
    def points(self) -> Optional[tuple[np.ndarray, ...]]:
        """N,3 float32 metres per target as placed, or None without metres or placement."""
        if self.clouds is None or self.placement is None:
            return None
        return tuple(self.placement.apply(cloud.points) for cloud in self.clouds)

    @cached_property
    def spans(self) -> tuple[Optional[np.ndarray], ...]:
        """3,3 per target: x, y, z of ``points`` at each of ``SPAN_QUANTILES``; None for one without points."""
        points = self.points or (np.empty((0, 3)),) * len(self.result.targets)
        return tuple(_span(p) if len(p) else None for p in points)

    @property
    def placed_header(self) -> Header:
        """Of ``points``."""
        return Header(stamp=self.header.stamp, frame_id=self.parameters.target_frame or self.header.frame_id)


def _span(points: np.ndarray) -> np.ndarray:
    some = points[:: max(1, len(points) // SPAN_POINTS)]
    return quantiles(some.T, SPAN_QUANTILES).T
