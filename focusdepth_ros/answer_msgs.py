"""One function per output topic: the answer to an image as its message, or None where the answer has nothing for it."""

from __future__ import annotations

import copy
import math
from typing import Optional

import numpy as np
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from focusdepth_core.perception.result import Space, TargetResult, positive
from focusdepth_ros import drawing
from focusdepth_ros.answer import Answer
from focusdepth_ros.cloud_msgs import to_cloud
from focusdepth_ros.image_msgs import to_image
from focusdepth_ros.msg import FocusTarget3D, FocusTarget3DArray
from focusdepth_ros.presence import Presence


def relative_depth(answer: Answer) -> Image:
    """32FC1, the network's own values: unitless, up to scale and shift."""
    return to_image(answer.result.relative_depth, "32FC1", answer.header)


def depth(answer: Answer) -> Optional[Image]:
    """32FC1, metres along z, NaN invalid (REP-117, REP-118)."""
    if not answer.has_depth:
        return None
    msg, metres = answer.memory.image("depth", answer.result.depth.shape, "32FC1", answer.header)
    if answer.is_metric:
        answer.result.metres(answer.scale, out=metres)
    else:
        metres[:] = np.nan
    return msg


def camera_info(answer: Answer) -> Optional[CameraInfo]:
    """The image's own camera_info beside ``depth``, which has the image's size."""
    if not answer.has_depth:
        return None
    info = copy.copy(answer.info)
    info.header = answer.header
    return info


def target_mask(answer: Answer) -> Image:
    """16UC1, the target's place in the list plus 1; where masks overlap, the first target's."""
    msg, labels = answer.memory.image("mask", answer.result.depth.shape, "16UC1", answer.header)
    labels[:] = 0
    for label, target in reversed(list(enumerate(answer.result.targets, start=1))):
        window, inside = target.part
        np.copyto(labels[window], label, where=inside)
    return msg


def target_points(answer: Answer) -> Optional[PointCloud2]:
    """The points of all targets; of no target, an empty cloud."""
    if answer.clouds is None or answer.points is None:
        return None
    return to_cloud(answer.points, [cloud.rgb for cloud in answer.clouds], answer.placed_header)


def targets_3d(answer: Answer) -> FocusTarget3DArray:
    result, scale = answer.result, answer.scale
    raw = np.array([target.raw_quantiles for target in result.targets], np.float32).reshape(-1, 3)
    parts = zip(result.targets, answer.presences, raw, _depth_quantiles(answer, raw), answer.spans)
    return FocusTarget3DArray(
        header=answer.placed_header,
        space=result.space.value,
        has_scale=answer.is_metric,
        scale=scale.scale if scale else math.nan,
        shift=scale.shift if scale else math.nan,
        scale_source=scale.source if scale else "",
        scale_residual=scale.residual if scale else math.nan,
        scale_inliers=scale.inliers if scale else math.nan,
        scale_age=scale.age if scale else math.nan,
        targets=[_target_3d(answer, label, *part) for label, part in enumerate(parts, start=1)],
    )


def debug_image(answer: Answer) -> Image:
    """rgb8, H,2W: the image with boxes and masks, and beside it the depth in colour."""
    return to_image(drawing.overview(answer.result), "rgb8", answer.header)


def _target_3d(
    answer: Answer,
    label: int,
    target: TargetResult,
    presence: Presence,
    raw: np.ndarray,
    metres: np.ndarray,
    span: Optional[np.ndarray],
) -> FocusTarget3D:
    """``raw`` and ``metres``: the quantiles, 3; ``span``: see ``Answer.spans``."""
    msg = FocusTarget3D(
        id=target.target.id,
        class_id=target.target.name,
        label=label,
        found=target.found,
        confidence=target.confidence,
        presence=presence.share,
        age=presence.age_s,
        lost=presence.is_lost(answer.parameters.lost_after),
        raw_quantiles=raw,
        depth_quantiles=metres,
        factor=answer.factor(target),
        centroid=Point(x=math.nan, y=math.nan, z=math.nan),
        extent=Vector3(x=math.nan, y=math.nan, z=math.nan),
    )
    if span is not None:
        low, median, high = span
        msg.centroid.x, msg.centroid.y, msg.centroid.z = median.tolist()
        msg.extent.x, msg.extent.y, msg.extent.z = (high - low).tolist()
    return msg


def _depth_quantiles(answer: Answer, raw: np.ndarray) -> np.ndarray:
    """Metres, T,3: those of the raw quantiles, the last one first where larger is nearer. NaN where there is none."""
    if not answer.is_metric:
        return np.full_like(raw, np.nan)
    if answer.scale is None:
        return positive(raw)
    factors = np.array([answer.factor(target) for target in answer.result.targets], np.float32)
    metres = answer.scale.to_metres(raw) * factors[:, None]
    return metres[:, ::-1] if answer.scale.space is Space.AFFINE_DISPARITY else metres
