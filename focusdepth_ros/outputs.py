"""The node's publishers: each message is made when somebody hears its topic."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from focusdepth_ros import answer_msgs, qos, reports
from focusdepth_ros.answer import Answer
from focusdepth_ros.detections_3d import Detection3DArray, detections_3d
from focusdepth_ros.msg import FocusTarget3DArray
from focusdepth_ros.status import Status

Maker = Callable[[Answer], Any]  # None: nothing to publish for this answer

QOS = qos.stream(1, "reliable")  # which every subscriber can hear, whether it asks for that or for best effort
OUTPUTS: tuple[tuple[str, type, Maker], ...] = (
    ("~/relative_depth/image", Image, answer_msgs.relative_depth),
    ("~/depth/image_rect", Image, answer_msgs.depth),
    ("~/depth/camera_info", CameraInfo, answer_msgs.camera_info),
    ("~/target_mask", Image, answer_msgs.target_mask),
    ("~/target_points", PointCloud2, answer_msgs.target_points),
    ("~/targets_3d", FocusTarget3DArray, answer_msgs.targets_3d),
    ("~/debug_image", Image, answer_msgs.debug_image),
    *([("~/detections_3d", Detection3DArray, detections_3d)] if Detection3DArray is not None else []),
)


class Outputs:
    def __init__(self, node: LifecycleNode, status: Status) -> None:
        self._node = node
        self._status = status
        self._makers: list[tuple[Any, Maker]] = []
        try:
            for topic, kind, maker in OUTPUTS:
                self._makers.append((_publisher(node, topic, kind), maker))
        except Exception:
            self.destroy()
            raise

    @property
    def heard(self) -> bool:
        """Whether anybody subscribes to anything."""
        return any(publisher.get_subscription_count() for publisher, _ in self._makers)

    def check(self) -> None:
        """To be called every second or so: complains of subscribers that hear nothing."""
        for publisher, _ in self._makers:
            reports.check_publisher(self._status, self._node, publisher.topic_name)

    def publish(self, answer: Answer) -> None:
        """On each topic that is heard; everything is made before anything is sent."""
        made = [(publisher, maker(answer)) for publisher, maker in self._makers if publisher.get_subscription_count()]
        for publisher, message in made:
            if message is not None:
                publisher.publish(message)

    def destroy(self) -> None:
        for publisher, _ in self._makers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._makers.clear()


def _publisher(node: LifecycleNode, topic: str, kind: type) -> Any:
    return node.create_lifecycle_publisher(
        kind,
        topic,
        copy(QOS),  # into which rclpy writes what qos_overrides say
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
