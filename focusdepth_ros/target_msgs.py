"""Messages that say what to look at, as targets of the pipeline: functions of the message alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from sensor_msgs.msg import RegionOfInterest

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.perception.target import Box, Target
from focusdepth_ros.msg import FocusTarget, FocusTargetArray

BOX_ID, TEXT_ID, CLICK_ID = "target_box", "target_text", "clicked_point"  # of targets that come without an id
MAX_TEXT = 256  # characters: far more than a text encoder reads

Parsed = tuple[tuple[Target, ...], list[str]]  # the targets, and a sentence for each that is left out


def from_box(roi: RegionOfInterest) -> Target:
    return Target(BOX_ID, _box(roi))


def from_text(text: str) -> Target:
    return Target(TEXT_ID, text=_checked_text(TEXT_ID, text))


def from_click(point: Sequence[float], k: Intrinsics, size_m: float) -> Target:
    """The box around a cube of ``size_m`` at ``point``: x, y, z in metres in the optical frame.

    Raises ``ValueError`` for a point that is not in front of the camera.
    """
    x, y, z = point
    if not (z > 0 and all(map(math.isfinite, point))):
        raise ValueError(f"the clicked point ({x:g}, {y:g}, {z:g}) m is not in front of the camera")
    u, v = k.pixel(x, y, z)
    half_width, half_height = k.fx * size_m / z / 2, k.fy * size_m / z / 2
    return Target(CLICK_ID, (u - half_width, v - half_height, u + half_width, v + half_height))


def from_array(msg: FocusTargetArray) -> Parsed:
    return _parsed(msg.targets, _from_item)


def from_detections(msg: Any) -> Parsed:
    """``msg``: vision_msgs/Detection2DArray, or anything with its fields. Ids and classes are passed on."""
    return _parsed(msg.detections, _from_detection)


def _parsed(items: Iterable[Any], convert: Any) -> Parsed:
    """Items without an id get the number of their place; of several with one id the first counts."""
    targets: dict[str, Target] = {}
    reasons = []
    for place, item in enumerate(items):
        target_id = item.id or str(place)
        try:
            if target_id in targets:
                raise ValueError(f"id '{target_id}' is given to several targets, of which the first counts")
            targets[target_id] = convert(item, target_id)
        except ValueError as error:
            reasons.append(str(error))
    return tuple(targets.values()), reasons


def _from_item(item: FocusTarget, target_id: str) -> Target:
    has_box = item.roi.width > 0 or item.roi.height > 0
    text = _checked_text(target_id, item.text) if item.text else None
    return Target(target_id, _box(item.roi) if has_box else None, text, _score(item.score))


def _from_detection(item: Any, target_id: str) -> Target:
    """A rotated box becomes the upright one around it."""
    box, centre = item.bbox, item.bbox.center.position
    theta = box.center.theta
    if not (box.size_x > 0 and box.size_y > 0 and math.isfinite(theta)):
        size = f"{box.size_x:g} x {box.size_y:g} px"
        raise ValueError(f"detection '{target_id}' has a box of {size} turned by {theta:g} rad")
    cos, sin = abs(math.cos(theta)), abs(math.sin(theta))
    half_width = (box.size_x * cos + box.size_y * sin) / 2
    half_height = (box.size_x * sin + box.size_y * cos) / 2
    sides = (centre.x - half_width, centre.y - half_height, centre.x + half_width, centre.y + half_height)
    likeliest = max(item.results, key=lambda result: _score(result.hypothesis.score), default=None)
    if likeliest is None:
        return Target(target_id, sides)
    hypothesis = likeliest.hypothesis
    return Target(target_id, sides, score=_score(hypothesis.score), category=str(hypothesis.class_id))


def _score(score: float) -> float:
    return score if math.isfinite(score) else 0.0


def _checked_text(target_id: str, text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"the text of target '{target_id}' has {len(text)} characters; give at most {MAX_TEXT}")
    return text


def _box(roi: RegionOfInterest) -> Box:
    left, top = float(roi.x_offset), float(roi.y_offset)
    return left, top, left + roi.width, top + roi.height
