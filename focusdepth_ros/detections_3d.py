"""The targets as vision_msgs/Detection3DArray, where that package is installed."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from focusdepth_core.perception.result import TargetResult
from focusdepth_ros.answer import Answer

try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ImportError:
    Detection3DArray = None


def detections_3d(answer: Answer) -> Optional[Any]:
    """Of the targets that have points: id, class or text, confidence, median, upright box (5 to 95 %)."""
    if answer.points is None:
        return None
    located = [(target, span) for target, span in zip(answer.result.targets, answer.spans) if span is not None]
    detections = [_detection(answer, target, span) for target, span in located]
    return Detection3DArray(header=answer.placed_header, detections=detections)


def _detection(answer: Answer, target: TargetResult, span: np.ndarray) -> Any:
    low, median, high = span
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = target.target.name
    hypothesis.hypothesis.score = target.confidence
    _set(hypothesis.pose.pose.position, median)
    msg = Detection3D(header=answer.placed_header, id=target.target.id, results=[hypothesis])
    _set(msg.bbox.center.position, (low + high) / 2)
    _set(msg.bbox.size, high - low)
    return msg


def _set(vector: Any, values: np.ndarray) -> None:
    vector.x, vector.y, vector.z = values.tolist()
