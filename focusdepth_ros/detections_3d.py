"""The targets as vision_msgs/Detection3DArray, where that package is installed."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from focusdepth_core.perception.result import TargetResult
from focusdepth_ros.answer import Answer
from focusdepth_ros.answer_msgs import EXTENT_QUANTILES

try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ImportError:
    Detection3DArray = None


def detections_3d(answer: Answer) -> Optional[Any]:
    """Of the targets that have points: id, text as the class, confidence, median, upright box (5 to 95 %)."""
    if answer.points is None:
        return None
    located = [pair for pair in zip(answer.result.targets, answer.points) if len(pair[1])]
    detections = [_detection(answer, target, points) for target, points in located]
    return Detection3DArray(header=answer.placed_header, detections=detections)


def _detection(answer: Answer, target: TargetResult, points: np.ndarray) -> Any:
    low, high = np.quantile(points, EXTENT_QUANTILES, axis=0)
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = target.target.text or ""
    hypothesis.hypothesis.score = target.confidence
    _set(hypothesis.pose.pose.position, np.median(points, axis=0))
    msg = Detection3D(header=answer.placed_header, id=target.target.id, results=[hypothesis])
    _set(msg.bbox.center.position, (low + high) / 2)
    _set(msg.bbox.size, high - low)
    return msg


def _set(vector: Any, values: np.ndarray) -> None:
    vector.x, vector.y, vector.z = values.tolist()
