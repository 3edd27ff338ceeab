"""The simulator's camera and targets as messages."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.perception.target import Box
from focusdepth_core.sim.task import name_of
from focusdepth_core.sim.view import SimFrame, SimTarget
from focusdepth_ros.msg import FocusTarget, FocusTargetArray


def targets(frame: SimFrame, header: Header) -> FocusTargetArray:
    """``id``: the target's value in the frame's instances; ``score``: the visible fraction."""
    return FocusTargetArray(header=header, targets=[_target(target) for target in frame.targets])


def _target(target: SimTarget) -> FocusTarget:
    score = float(target.visible_fraction)
    return FocusTarget(id=str(target.id), roi=region(target.box), text=name_of(target), score=score)


def region(box: Box) -> RegionOfInterest:
    """``box``: of whole pixels."""
    x0, y0, x1, y1 = (int(side) for side in box)
    return RegionOfInterest(x_offset=x0, y_offset=y0, width=x1 - x0, height=y1 - y0)


def camera_info(k: Intrinsics, header: Header) -> CameraInfo:
    """Of an ideal pinhole camera: nothing to rectify."""
    return CameraInfo(
        header=header,
        width=k.width,
        height=k.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[k.fx, 0.0, k.cx, 0.0, k.fy, k.cy, 0.0, 0.0, 1.0],
        r=np.eye(3).ravel(),
        p=[k.fx, 0.0, k.cx, 0.0, 0.0, k.fy, k.cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
