"""What the node says about itself: ``~/status``, ``/diagnostics`` and the log."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from focusdepth_ros import qos

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
PERIOD_S = 1.0
LOG_AGAIN_S = 10.0  # at least, between two logs of what comes and goes, as with every other image


@dataclass(frozen=True)
class Complaint:
    level: bytes
    sentence: str


class Status:
    """Says the complaints, of which there is at most one per subject, then the state and the notes.

    A sentence is logged when a subject's wording changes, numbers aside, or when it comes again after a while, and
    published at once when it is new. Every method may be called from any thread.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.RLock()
        self._state = "unconfigured"
        self._values: dict[str, str] = {}
        self._passing: dict[str, str] = {}
        self._complaints: dict[str, Complaint] = {}
        self._notes: list[str] = []
        self._logged: dict[str, tuple[str, float]] = {}  # the last wording of each subject, and when it was logged
        self._publisher = node.create_publisher(DiagnosticStatus, "~/status", qos.latched())
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnosed = time.monotonic()
        node.create_timer(PERIOD_S, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._publish()

    def state(self, sentence: str) -> None:
        with self._lock:
            if sentence != self._state:
                if _wording(sentence) != _wording(self._state):
                    self._node.get_logger().info(sentence)
                self._state = sentence
                self._publish()

    def values(self, values: Mapping[str, object]) -> None:
        """Key-values for the next message and all later ones."""
        with self._lock:
            self._values.update({key: str(value) for key, value in values.items()})

    def passing(self, values: Mapping[str, object]) -> None:
        """The same, until ``forget_passing``."""
        with self._lock:
            self._passing.update({key: str(value) for key, value in values.items()})

    def forget_passing(self) -> None:
        with self._lock:
            self._passing.clear()

    def note(self, sentence: str) -> None:
        """A warning that holds until ``forget_notes`` and hides nothing else that there is to say."""
        with self._lock:
            if sentence in self._notes:  # of another network
                return
            self._notes.append(sentence)
            self._node.get_logger().warning(sentence)
            self._publish()

    def forget_notes(self) -> None:
        with self._lock:
            self._notes.clear()

    def complain(self, subject: str, sentence: str, level: bytes = WARN) -> None:
        """Until ``settle``."""
        with self._lock:
            self._log(subject, sentence, level)
            known = self._complaints.get(subject)
            self._complaints[subject] = Complaint(level, sentence)
            if known != self._complaints[subject]:
                self._publish()

    def settle(self, *subjects: str) -> None:
        """What was wrong with the subjects is over."""
        with self._lock:
            settled = [self._complaints.pop(subject, None) for subject in subjects]
            if any(settled):
                self._publish()

    def settle_all(self) -> None:
        with self._lock:
            self.settle(*self._complaints)

    def _log(self, subject: str, sentence: str, level: bytes) -> None:
        wording, now = _wording(sentence), time.monotonic()
        known, logged = self._logged.get(subject, ("", now))
        is_new = subject not in self._complaints and now - logged > LOG_AGAIN_S
        if wording == known and not is_new:
            return
        self._logged[subject] = wording, now
        logger = self._node.get_logger()
        if level == ERROR:
            logger.error(sentence)
        else:
            logger.warning(sentence)

    def _message(self) -> DiagnosticStatus:
        complaints = self._complaints.values()
        values = {**self._values, **self._passing, "state": self._state}
        return DiagnosticStatus(
            level=max((complaint.level for complaint in complaints), default=WARN if self._notes else OK),
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: depth",
            message="; ".join([*(complaint.sentence for complaint in complaints), self._state, *self._notes]),
            hardware_id=self._values.get("model", ""),
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _publish(self) -> None:
        if time.monotonic() - self._diagnosed > PERIOD_S:  # no timer is served while a model is opened
            self._diagnose()
        elif self._node.context.ok():  # the worker may outlive the context at the end of the process
            self._publisher.publish(self._message())

    def _diagnose(self) -> None:
        with self._lock:
            if not self._node.context.ok():
                return
            array = DiagnosticArray(status=[self._message()])
            array.header.stamp = self._node.get_clock().now().to_msg()
            self._publisher.publish(array.status[0])
            self._diagnostics.publish(array)
            self._diagnosed = time.monotonic()


def _wording(sentence: str) -> str:
    """Without its numbers: an age or a size that changes with each frame is no news."""
    return re.sub(r"\d+", "#", sentence)
