"""The robot: it has a camera, a depth sensor and a detector, and asks the focus node where things are."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from focusdepth_ros import qos, sim_msgs
from focusdepth_ros.focus_client import FOCUS, FocusClient, FocusFailed
from focusdepth_ros.image_msgs import pixels, to_image
from focusdepth_ros.msg import FocusTarget, FocusTarget3DArray, FocusTargetArray
from focusdepth_ros.sim_eval.trial import Answer, Question

FRAME_ID = "camera_optical_frame"
INPUTS = {"targets": FocusTargetArray, "camera_info": CameraInfo, "depth_hint": Image, "image": Image}
OUTPUTS = {"targets_3d": FocusTarget3DArray, "target_mask": Image}
ANSWER_S = 10.0  # after which a question is sent again
SENT = 3  # times at most: the image may have overtaken the target, or been lost


class Robot(FocusClient):
    def __init__(self, check: Callable[[], None], by_text: bool) -> None:
        """``by_text``: names objects by words and not by their box."""
        super().__init__("robot", check)
        self._by_text = by_text
        self._publishers = {
            topic: self.node.create_publisher(kind, topic, qos.stream(2, "reliable")) for topic, kind in INPUTS.items()
        }
        self._heard: dict[str, Any] = {}  # the newest message of each output
        for topic, kind in OUTPUTS.items():
            self.node.create_subscription(kind, f"{FOCUS}/{topic}", self._keep(topic), qos.stream(2))

    def wait_for_topics(self, deadline: float) -> None:
        """Until the active focus node hears everything and is heard."""
        counts = [publisher.get_subscription_count for publisher in self._publishers.values()]
        outputs = [f"{FOCUS}/{topic}" for topic in OUTPUTS]
        self.spin_until(
            lambda: all(count() for count in counts) and all(map(self.node.count_publishers, outputs)),
            deadline,
            f"{FOCUS}'s topics",
        )

    def ask(self, question: Question) -> Answer:
        """Raises ``FocusFailed`` if the node does not answer."""
        header = Header(frame_id=FRAME_ID)
        header.stamp.sec = question.stamp
        messages = self._messages(question, header)
        for _ in range(SENT):
            self._heard.clear()
            for topic, msg in messages.items():
                self._publishers[topic].publish(msg)
            again = time.monotonic() + ANSWER_S
            while not self._is_answered(header) and time.monotonic() < again:
                self.spin_once()
            if self._is_answered(header) and self._heard["targets_3d"].targets:
                break
        if not self._is_answered(header):
            said = self.status.message if self.status else "nothing"
            raise FocusFailed(f"{FOCUS} gave no answer in {SENT * ANSWER_S:g} s; it says: {said}")
        return self._answer()

    def _messages(self, question: Question, header: Header) -> dict[str, Any]:
        target, frame = question.task.target, question.task.frame
        named = {"text": question.task.name} if self._by_text else {"roi": sim_msgs.region(question.box)}
        return {
            "targets": FocusTargetArray(header=header, targets=[FocusTarget(id=str(target.id), score=1.0, **named)]),
            "camera_info": sim_msgs.camera_info(frame.intrinsics, header),
            "depth_hint": to_image(question.depth_hint, "32FC1", header),
            "image": to_image(frame.image, "rgb8", header),
        }

    def _is_answered(self, header: Header) -> bool:
        return all(topic in self._heard and self._heard[topic].header.stamp == header.stamp for topic in OUTPUTS)

    def _answer(self) -> Answer:
        points = self._heard["targets_3d"]
        centroids = [np.array([t.centroid.x, t.centroid.y, t.centroid.z]) for t in points.targets]
        return Answer(
            point=centroids[0] if centroids else np.full(3, np.nan),
            mask=pixels(self._heard["target_mask"]) == 1,
            residual=float(points.scale_residual),
            said=self.status.message if self.status else "",
        )

    def _keep(self, topic: str) -> Callable[[Any], None]:
        return lambda msg: self._heard.update({topic: msg})
