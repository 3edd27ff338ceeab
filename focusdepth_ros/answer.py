"""The pipeline's result with what its messages need from the input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Optional

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from focusdepth_core.perception.cloud import Cloud, target_cloud
from focusdepth_core.perception.result import FocusResult, Space
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.presence import Presence


@dataclass(frozen=True)
class Answer:
    """``header``: of the image; ``info``: its camera_info if that is usable; ``presences``: of the result's targets."""

    header: Header
    result: FocusResult
    info: Optional[CameraInfo]
    presences: tuple[Presence, ...]
    parameters: Parameters

    @property
    def lost(self) -> tuple[Presence, ...]:
        return tuple(presence for presence in self.presences if presence.is_lost(self.parameters.lost_after))

    @property
    def why_not_metric(self) -> str:
        """What the metric outputs lack; empty if they have everything."""
        if self.info is None:
            return "no usable camera_info"
        if self.result.scale is None and self.result.space is not Space.METRIC:
            return "no usable depth_hint with the image's stamp"
        return ""

    @cached_property
    def depth_m(self) -> Optional[np.ndarray]:
        """H,W float32 metres along z with NaN where invalid, or None if ``why_not_metric``."""
        return None if self.why_not_metric else self.result.depth_m()

    @cached_property
    def clouds(self) -> Optional[tuple[Cloud, ...]]:
        """One per target, or None if ``why_not_metric``."""
        if self.depth_m is None:
            return None
        frame, depth_m, drop_px = self.result.frame, self.depth_m, self.parameters.drop_edge_px
        return tuple(target_cloud(frame, depth_m, target.mask, drop_px) for target in self.result.targets)
