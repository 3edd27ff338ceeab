"""What to focus on: target messages to the targets of the pipeline."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Optional

from sensor_msgs.msg import RegionOfInterest

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.target import Box, Target
from focusdepth_ros.msg import FocusTarget, FocusTargetArray
from focusdepth_ros.pairing import stamp_ns
from focusdepth_ros.status import Status

BOX_ID = "target_box"  # of the target that came without an id


@dataclass(frozen=True)
class TargetSet:
    """``found_ns``: stamp of the image in which the targets were found; None for a box that holds from now on."""

    targets: tuple[Target, ...] = ()
    found_ns: Optional[int] = None

    def check_age(self, image_ns: int, max_age_s: float) -> None:
        """Raises ``ValueError`` if the targets are of another time than the image."""
        if self.found_ns is None or not self.targets:
            return
        age_s = (image_ns - self.found_ns) / 1e9
        if abs(age_s) > max_age_s:
            raise ValueError(
                f"targets are {abs(age_s):.2f} s {'older' if age_s > 0 else 'newer'} than the image, "
                f"more than max_target_age = {max_age_s:g} s; they are ignored"
            )


class TargetInput:
    """The targets in force: the last message of either topic, until it is replaced or cleared."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._set = TargetSet()

    def on_box(self, roi: RegionOfInterest) -> None:
        try:
            self._replace(TargetSet((Target(BOX_ID, _box(roi)),)))
        except ValueError as error:
            self._status.complain("target message", f"{error}; the targets stay as they were")
        else:
            self._status.settle("target message")

    def on_array(self, msg: FocusTargetArray) -> None:
        targets, reasons = [], []
        for item in msg.targets:
            try:
                targets.append(_target(item))
            except ValueError as error:
                reasons.append(str(error))
        self._replace(TargetSet(tuple(targets), stamp_ns(msg.header.stamp)))
        if reasons:
            self._status.complain("target message", "; ".join(reasons))
        else:
            self._status.settle("target message")

    def clear(self) -> None:
        self._replace(TargetSet())
        self._status.settle("target message", "targets")

    def usable(self, frame: Frame, image_ns: int, prompts: tuple[str, ...], max_age_s: float) -> tuple[Target, ...]:
        """Those that fit the image's time and size and what the model takes; complains of the others."""
        with self._lock:
            target_set = self._set
        usable, reasons = [], []
        try:
            target_set.check_age(image_ns, max_age_s)
        except ValueError as error:
            self._status.complain("targets", str(error))
            return ()
        for target in target_set.targets:
            try:
                usable.append(_fitted(target, frame, prompts))
            except ValueError as error:
                reasons.append(str(error))
        if reasons:
            self._status.complain("targets", "; ".join(reasons))
        else:
            self._status.settle("targets")
        return tuple(usable)

    def _replace(self, target_set: TargetSet) -> None:
        with self._lock:
            self._set = target_set


def _fitted(target: Target, frame: Frame, prompts: tuple[str, ...]) -> Target:
    if target.box is None and "text" not in prompts:
        raise ValueError(f"target '{target.id}' is given by words alone, but the model takes: {', '.join(prompts)}")
    return target.clipped(frame.width, frame.height)


def _target(item: FocusTarget) -> Target:
    has_box = item.roi.width > 0 or item.roi.height > 0
    return Target(item.id, _box(item.roi) if has_box else None, item.text or None, item.score)


def _box(roi: RegionOfInterest) -> Box:
    left, top = float(roi.x_offset), float(roi.y_offset)
    return left, top, left + roi.width, top + roi.height
