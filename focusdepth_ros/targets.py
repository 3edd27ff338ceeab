"""What to focus on: the targets in force, by the messages that came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import String

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.target import Target
from focusdepth_ros import target_msgs
from focusdepth_ros.msg import FocusTargetArray
from focusdepth_ros.pairing import PAIR_DEPTH, stamp_ns
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.status import Status

SAID_REASONS = 3  # of many, the others are only counted


@dataclass(frozen=True)
class TargetSet:
    """``found_ns``: stamp of the image in which the targets were found; None for targets that hold from now on."""

    targets: tuple[Target, ...] = ()
    found_ns: Optional[int] = None

    def distance_ns(self, image_ns: int) -> int:
        return 0 if self.found_ns is None or not self.targets else abs(image_ns - self.found_ns)

    def check_age(self, image_ns: int, max_age_s: float) -> None:
        """Raises ``ValueError`` if the targets are of another time than the image."""
        age_s = self.distance_ns(image_ns) / 1e9
        if self.found_ns is not None and age_s > max_age_s:
            raise ValueError(
                f"targets are {age_s:.2f} s {'older' if image_ns > self.found_ns else 'newer'} than the image, "
                f"more than max_target_age = {max_age_s:g} s; they are ignored"
            )


def _anything(target: Target) -> None:
    """Takes every target."""


class TargetInput:
    """The targets in force, until the next message about them on any topic.

    Of targets that belong to an image, the last few sets are kept: an image takes those of its own stamp, or the
    nearest ones.
    """

    def __init__(self, status: Status) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._sets: tuple[TargetSet, ...] = (TargetSet(),)
        self._check: Callable[[Target], None] = _anything

    def open(self, check: Callable[[Target], None]) -> None:
        """``check`` raises ``ValueError`` for a target that the model cannot be asked for."""
        self._check = check

    def close(self) -> None:
        """What checked the targets is not kept: it may be a model."""
        self._check = _anything

    def on_box(self, roi: RegionOfInterest) -> None:
        self.hold(lambda: target_msgs.from_box(roi))

    def on_text(self, msg: String) -> None:
        self.hold(lambda: target_msgs.from_text(msg.data))

    def hold(self, make: Any) -> None:
        """Takes the one target that ``make`` gives from now on; if it raises ``ValueError``, all stays as it was."""
        try:
            target = make()
            self._check(target)
        except ValueError as error:
            self._status.complain("target message", f"{error}; the targets stay as they were")
        else:
            self._replace((TargetSet((target,)),))
            self._status.settle("target message")

    def on_array(self, msg: FocusTargetArray) -> None:
        self._found(msg, *target_msgs.from_array(msg))

    def on_detections(self, msg: Any) -> None:
        """vision_msgs/Detection2DArray."""
        self._found(msg, *target_msgs.from_detections(msg))

    def clear(self) -> None:
        self._replace((TargetSet(),))
        self._status.settle("target message", "targets", "lost")

    def usable(self, frame: Frame, image_ns: int, parameters: Parameters) -> tuple[Target, ...]:
        """Those that fit the image's time and size; complains of the others."""
        with self._lock:
            nearest = min(reversed(self._sets), key=lambda target_set: target_set.distance_ns(image_ns))
        usable: list[Target] = []
        reasons: list[str] = []
        try:
            nearest.check_age(image_ns, parameters.max_target_age)
        except ValueError as error:
            self._say("targets", [str(error)])
            return ()
        for target in nearest.targets:
            try:
                usable.append(target.clipped(frame.width, frame.height))
            except ValueError as error:
                reasons.append(str(error))
        self._say("targets", reasons + _too_many(usable, parameters.max_targets))
        best = sorted(range(len(usable)), key=lambda place: -usable[place].score)[: parameters.max_targets]
        return tuple(usable[place] for place in sorted(best))

    def _found(self, msg: Any, targets: tuple[Target, ...], reasons: list[str]) -> None:
        taken = []
        for target in targets:
            try:
                self._check(target)
                taken.append(target)
            except ValueError as error:
                reasons.append(str(error))
        found = TargetSet(tuple(taken), stamp_ns(msg.header.stamp))
        before = [other for other in self._sets if other.targets and other.found_ns is not None]
        self._replace((*before[1 - PAIR_DEPTH :], found) if taken else (found,))
        self._say("target message", reasons)

    def _replace(self, sets: tuple[TargetSet, ...]) -> None:
        with self._lock:
            self._sets = sets

    def _say(self, subject: str, reasons: Sequence[str]) -> None:
        if not reasons:
            self._status.settle(subject)
            return
        more = [f"and {len(reasons) - SAID_REASONS} more"] if len(reasons) > SAID_REASONS else []
        self._status.complain(subject, "; ".join([*reasons[:SAID_REASONS], *more]))


def _too_many(targets: Sequence[Target], most: int) -> list[str]:
    if len(targets) <= most:
        return []
    return [f"{len(targets)} targets are given, and the {most} with the highest score are used (max_targets)"]
