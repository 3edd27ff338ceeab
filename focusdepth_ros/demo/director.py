"""The demo's own node: configures the focus node, plays the detector that follows a target, and records."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Optional

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, RegionOfInterest

from focusdepth_ros import qos
from focusdepth_ros.demo.recording import ANSWER, DEPTH, Recording
from focusdepth_ros.msg import FocusTarget, FocusTarget3DArray, FocusTargetArray
from focusdepth_ros.status import ERROR

FOCUS = "focus_node"
ANSWER_TYPES = dict(zip(ANSWER, (Image, Image, PointCloud2, FocusTarget3DArray)))
TRUTH_TYPES = {"image": Image, "camera_info": CameraInfo, "sim/depth": Image, "sim/instances": Image}
QUEUE = 10
HAS_PUBLICATION_TIME = hasattr(Subscription, "CallbackType")  # rclpy of Humble hands on the message alone
CALL_S = 10.0  # a service answer that takes longer was lost in discovery, and is asked for again
MIN_VISIBLE = 0.85
LARGEST = 0.06  # of the image; a larger thing needs no focus


class DemoFailed(RuntimeError):
    """The demo cannot go on; one sentence."""


class Director:
    """Spins in the caller's thread; ``check`` is called meanwhile and may raise."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._node = rclpy.create_node("demo")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self.recording = Recording()
        self.status: Optional[DiagnosticStatus] = None
        self._newest_targets: Optional[FocusTargetArray] = None
        self._target_id: Optional[str] = None
        self._certain_from_ns = 0
        self._box = self._node.create_publisher(RegionOfInterest, "target_box", 1)
        self._listen(FocusTargetArray, "sim/targets", self._on_targets)
        for topic, kind in TRUTH_TYPES.items():
            self._listen(kind, topic, partial(self.recording.add, topic, published_ns=None))
        for topic, kind in ANSWER_TYPES.items():
            self._node.create_subscription(kind, f"{FOCUS}/{topic}", self._answer_callback(topic), qos.stream(QUEUE))
        self._node.create_subscription(DiagnosticStatus, f"{FOCUS}/status", self._on_status, qos.latched())

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()

    def start_focus_node(self, deadline: float) -> None:
        """To active; raises ``DemoFailed`` with the node's own sentence."""
        for transition, goal in (
            (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
            (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
        ):
            request = ChangeState.Request()
            request.transition.id = transition
            while self._call(GetState, "get_state", GetState.Request(), deadline).current_state.id != goal:
                self._call(ChangeState, "change_state", request, deadline)
                if self.status is not None and self.status.level == ERROR:
                    raise DemoFailed(f"{FOCUS} {self.status.message}")

    def choose_targets(self, image_px: int, deadline: float) -> list[FocusTarget]:
        """Two well visible things of middling size, the larger one first."""
        self.spin_until(lambda: self._newest_targets is not None, deadline, "the simulated camera's first image")
        assert self._newest_targets is not None
        candidates = [t for t in self._newest_targets.targets if _area(t) < LARGEST * image_px]
        best = sorted(candidates, key=lambda t: (t.score >= MIN_VISIBLE, _area(t)), reverse=True)
        if len(best) < 2:
            raise DemoFailed("the simulated camera sees too little to focus on; take another --seed")
        return best[:2]

    def focus(self, target: FocusTarget) -> None:
        """Sends the target's box now and with each image from now on, as a detector that tracks it would."""
        self._target_id = target.id
        self._send_box(target)
        self._certain_from_ns = self._now_ns()

    def begin(self) -> None:
        self.recording.begin(self._now_ns())

    def spin_until(self, condition: Callable[[], Any], deadline: float, what: str) -> None:
        """Raises ``DemoFailed`` if ``deadline`` (of ``time.monotonic``) passes first."""
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                said = f"; {FOCUS} says: {self.status.message}" if self.status else f"; {FOCUS} says nothing"
                raise DemoFailed(f"{what} did not come in time{said}")
            self._executor.spin_once(timeout_sec=0.1)

    def _listen(self, kind: type, topic: str, callback: Callable[[Any], Any]) -> None:
        self._node.create_subscription(kind, topic, callback, qos.stream(QUEUE, "reliable"))

    def _on_status(self, status: DiagnosticStatus) -> None:
        self.status = status

    def _on_targets(self, msg: FocusTargetArray) -> None:
        self._newest_targets = msg
        self.recording.add("sim/targets", msg, None)
        for target in msg.targets:
            if target.id == self._target_id:
                self._send_box(target)

    def _answer_callback(self, topic: str) -> Callable[..., None]:
        if HAS_PUBLICATION_TIME:
            return lambda msg, info: self._on_answer(topic, msg, info["source_timestamp"])
        return lambda msg: self._on_answer(topic, msg, self._now_ns())

    def _on_answer(self, topic: str, msg: Any, published_ns: int) -> None:
        shot = self.recording.add(topic, msg, published_ns)
        # An image taken before the target changed may have been answered with either one.
        if topic == DEPTH and shot.stamp_ns > self._certain_from_ns:
            shot.target_id = self._target_id

    def _send_box(self, target: FocusTarget) -> None:
        self._box.publish(target.roi)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _call(self, kind: type, service: str, request: Any, deadline: float) -> Any:
        client = self._node.create_client(kind, f"{FOCUS}/{service}")
        self.spin_until(client.service_is_ready, deadline, f"{FOCUS}'s service {service}")
        while True:
            future = client.call_async(request)
            again = min(deadline, time.monotonic() + CALL_S)
            while not future.done() and time.monotonic() < again:
                self._check()
                self._executor.spin_once(timeout_sec=0.1)
            if future.done():
                self._node.destroy_client(client)
                return future.result()
            if time.monotonic() > deadline:
                raise DemoFailed(f"{FOCUS} does not answer on its service {service}")


def _area(target: FocusTarget) -> int:
    """Of the box, px."""
    return int(target.roi.width * target.roi.height)
