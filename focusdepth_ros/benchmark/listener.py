"""The benchmark's own node: brings the focus node to work, counts what comes and reads its status."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from functools import partial

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import CameraInfo

from focusdepth_ros import qos
from focusdepth_ros.focus_client import FOCUS, FocusClient
from focusdepth_ros.outputs import OUTPUTS

POINTS = ("target_points", "targets_3d")  # what a grasp needs
METRIC = ("depth/image_rect", "depth/camera_info", "target_mask", *POINTS)
ANSWER = "targets_3d"  # comes for each image
QUEUE = 10
STAMP = struct.Struct("<iI")  # of a header, after the 4 bytes that say how a message is encoded


class Listener(FocusClient):
    """``sent``: stamps in ns of the camera's images; ``heard``: by topic and stamp when its message came, in ns of the
    system's clock; ``statuses``: key-values of the focus node. All since ``restart``."""

    def __init__(self, check: Callable[[], None], topics: Sequence[str] = METRIC) -> None:
        """``topics``: those that are heard."""
        super().__init__("benchmark", check)
        kinds = {topic.removeprefix("~/"): kind for topic, kind, _ in OUTPUTS}
        self.sent: list[int] = []
        self.heard: dict[str, dict[int, int]] = {topic: {} for topic in topics}
        self.statuses: list[dict[str, str]] = []
        stream = qos.stream(QUEUE, "reliable")
        for topic in topics:
            hear = partial(self._on_output, topic)
            # Serialized: what a subscriber in C++ would do with it takes much less than in Python.
            self.node.create_subscription(kinds[topic], f"{FOCUS}/{topic}", hear, stream, raw=True)
        self.node.create_subscription(CameraInfo, "camera_info", self._on_sent, qos.stream(100, "reliable"), raw=True)

    def restart(self, deadline: float) -> None:
        """Deactivates and activates the focus node, which counts its times from there."""
        for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
            request = ChangeState.Request()
            request.transition.id = transition
            self._call(ChangeState, "change_state", request, deadline)
        now_ns = time.time_ns()
        self.spin_until(lambda: self.answered_since(now_ns), deadline, "an answer")
        for kept in (self.sent, self.statuses, *self.heard.values()):
            kept.clear()

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.spin_once()

    def answered_since(self, ns: int) -> bool:
        return any(stamp > ns for stamp in self.heard[ANSWER])

    def _on_sent(self, message: bytes) -> None:
        self.sent.append(_stamp_ns(message))

    def _on_output(self, topic: str, message: bytes) -> None:
        self.heard[topic][_stamp_ns(message)] = time.time_ns()

    def _on_status(self, status: DiagnosticStatus) -> None:
        super()._on_status(status)
        self.statuses.append({item.key: item.value for item in status.values})


def _stamp_ns(message: bytes) -> int:
    seconds, nanoseconds = STAMP.unpack_from(message, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
