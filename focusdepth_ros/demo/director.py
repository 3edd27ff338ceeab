"""The demo's own node: plays the detector that follows a target, and records."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Optional

from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, RegionOfInterest

from focusdepth_ros import qos
from focusdepth_ros.demo.recording import ANSWER, DEPTH, Recording
from focusdepth_ros.focus_client import FOCUS, FocusClient, FocusFailed
from focusdepth_ros.msg import FocusTarget, FocusTarget3DArray, FocusTargetArray

ANSWER_TYPES = dict(zip(ANSWER, (Image, Image, PointCloud2, FocusTarget3DArray)))
TRUTH_TYPES = {"image": Image, "camera_info": CameraInfo, "sim/depth": Image, "sim/instances": Image}
QUEUE = 10
HAS_PUBLICATION_TIME = hasattr(Subscription, "CallbackType")  # rclpy of Humble hands on the message alone
MIN_VISIBLE = 0.85
LARGEST = 0.06  # of the image; a larger thing needs no focus


class Director(FocusClient):
    def __init__(self, check: Callable[[], None]) -> None:
        """``check``: as of ``FocusClient``."""
        super().__init__("demo", check)
        self.recording = Recording()
        self._newest_targets: Optional[FocusTargetArray] = None
        self._target_id: Optional[str] = None
        self._certain_from_ns = 0
        self._box = self.node.create_publisher(RegionOfInterest, "target_box", 1)
        self._listen(FocusTargetArray, "sim/targets", self._on_targets)
        for topic, kind in TRUTH_TYPES.items():
            self._listen(kind, topic, partial(self.recording.add, topic, published_ns=None))
        for topic, kind in ANSWER_TYPES.items():
            self.node.create_subscription(kind, f"{FOCUS}/{topic}", self._answer_callback(topic), qos.stream(QUEUE))

    def choose_targets(self, image_px: int, deadline: float) -> list[FocusTarget]:
        """Two well visible things of middling size, the larger one first."""
        self.spin_until(lambda: self._newest_targets is not None, deadline, "the simulated camera's first image")
        assert self._newest_targets is not None
        candidates = [t for t in self._newest_targets.targets if _area(t) < LARGEST * image_px]
        best = sorted(candidates, key=lambda t: (t.score >= MIN_VISIBLE, _area(t)), reverse=True)
        if len(best) < 2:
            raise FocusFailed("the simulated camera sees too little to focus on; take another --seed")
        return best[:2]

    def focus(self, target: FocusTarget) -> None:
        """Sends the target's box now and with each image from now on, as a detector that tracks it would."""
        self._target_id = target.id
        self._send_box(target)
        self._certain_from_ns = self._now_ns()

    def begin(self) -> None:
        self.recording.begin(self._now_ns())

    def _listen(self, kind: type, topic: str, callback: Callable[[Any], Any]) -> None:
        self.node.create_subscription(kind, topic, callback, qos.stream(QUEUE, "reliable"))

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
        return int(self.node.get_clock().now().nanoseconds)


def _area(target: FocusTarget) -> int:
    """Of the box, px."""
    return int(target.roi.width * target.roi.height)
