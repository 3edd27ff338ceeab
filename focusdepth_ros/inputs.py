"""Everything the node hears, put together for one image."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PointStamped
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import String

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.target import Target
from focusdepth_ros import compressed, image_msgs, qos, reports, target_msgs
from focusdepth_ros.camera_info import CalibrationInput, intrinsics_of
from focusdepth_ros.depth_hint import HintInput
from focusdepth_ros.msg import FocusTargetArray
from focusdepth_ros.pairing import PAIR_DEPTH, stamp_ns
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.status import Status
from focusdepth_ros.targets import TargetInput
from focusdepth_ros.transforms import Transforms

try:
    from vision_msgs.msg import Detection2DArray
except ImportError:  # not part of every installation
    Detection2DArray = None

AnyImage = Union[Image, CompressedImage]
COMMAND = qos.stream(1, "reliable")


@dataclass(frozen=True)
class Request:
    """One image with what belongs to it. ``info``: the camera_info behind ``frame.intrinsics``; both or neither;
    ``why_no_hint``: empty if there is one.
    """

    frame: Frame
    targets: tuple[Target, ...]
    depth_hint: Optional[np.ndarray]
    info: Optional[CameraInfo]
    why_no_hint: str


class Inputs:
    """The subscriptions, from ``open`` to ``close``."""

    def __init__(
        self,
        node: Node,
        status: Status,
        on_image: Callable[[AnyImage], None],
        parameters: Callable[[], Parameters],
    ) -> None:
        self._node = node
        self._status = status
        self._parameters = parameters
        self._on_image = on_image
        self._calibration = CalibrationInput(status)
        self.targets = TargetInput(status)
        self.transforms = Transforms(node)
        self._subscriptions: list[Any] = []
        self._sensors: dict[str, tuple[type, Callable[..., None], int]] = {}  # by topic; and how many are kept
        self._sensor_subscriptions: dict[str, Any] = {}
        self._reliabilities: dict[str, str] = {}  # of these
        self.image_topic = node.resolve_topic_name("image")
        self._info_topic = node.resolve_topic_name("camera_info")
        self._hint_topic = node.resolve_topic_name("depth_hint")
        self._hint = HintInput(status, self._hint_topic)
        self._click_topic = node.resolve_topic_name("clicked_point")

    def open(self, check: Callable[[Target], None]) -> None:
        """``check`` raises ``ValueError`` for a target that the model cannot be asked for."""
        self.targets.open(check)
        for kind, topic, callback in (
            (RegionOfInterest, "target_box", self.targets.on_box),
            (String, "target_text", self.targets.on_text),
            (FocusTargetArray, "targets", self.targets.on_array),
            (PointStamped, "clicked_point", self._on_click),
        ):
            self._subscriptions.append(self._command(kind, topic, callback))
        self._sensors = {
            self._info_topic: (CameraInfo, self._calibration.add, PAIR_DEPTH),
            self._hint_topic: (Image, self._hint.add, PAIR_DEPTH),
        }
        if Detection2DArray is not None:
            topic = self._node.resolve_topic_name("detections")
            self._sensors[topic] = Detection2DArray, self.targets.on_detections, PAIR_DEPTH
        kind, self.image_topic = self._image()
        self._sensors[self.image_topic] = kind, self._on_image, self._parameters().depth
        self.check()

    def check(self) -> None:
        """To be called every second or so: complains of publishers that are not heard, or that share a camera's topic.
        TF must have been heard for a while when it is needed.
        """
        self._hear_sensors()
        for subscription in (*self._subscriptions, *self._sensor_subscriptions.values()):
            reports.check_subscription(self._status, self._node, subscription.topic_name)
        reports.check_publishers(self._status, self._node, self.image_topic, self._info_topic, self._hint_topic)
        if self._parameters().target_frame or self._node.count_publishers(self._click_topic):
            self.transforms.listen()

    def close(self) -> None:
        """Ends the subscriptions and forgets the camera's messages; the targets stay."""
        for subscription in (*self._subscriptions, *self._sensor_subscriptions.values()):
            self._node.destroy_subscription(subscription)
        for kept in (self._subscriptions, self._sensors, self._sensor_subscriptions, self._reliabilities):
            kept.clear()
        self.targets.close()
        self._calibration.clear()
        self._hint.clear()

    def request(self, image: AnyImage, arrived: float, parameters: Parameters) -> Request:
        """``arrived``: by time.monotonic. Raises ``ValueError`` if the image cannot be used; anything else that cannot
        is left out and complained of.

        Waits for the camera_info and depth_hint of the image, so that it belongs in the worker's thread.
        """
        rgb = image_msgs.to_rgb(image) if isinstance(image, Image) else compressed.to_rgb(image)
        size, header = (rgb.shape[1], rgb.shape[0]), image.header
        wait_s = parameters.pair_wait if self._node.count_publishers(self._info_topic) else 0.0
        calibration = self._calibration.of(header, size, self.image_topic, wait_s, parameters.rectified)
        nv12 = image_msgs.nv12(image) if isinstance(image, Image) else None
        frame = Frame(rgb, stamp_ns(header.stamp) / 1e9, calibration and calibration.intrinsics, nv12)
        hint = self._hint.of(header, size, arrived, parameters, self._node.count_publishers(self._hint_topic) > 0)
        usable = self.targets.usable(frame, stamp_ns(header.stamp), parameters)
        depth_hint, why_none = (None, hint) if isinstance(hint, str) else (hint, "")
        return Request(frame, usable, depth_hint, calibration and calibration.info, why_none)

    def _on_click(self, msg: PointStamped) -> None:
        self.targets.hold(lambda: self._clicked(msg))

    def _clicked(self, msg: PointStamped) -> Target:
        info = self._calibration.newest()
        if info is None:
            raise ValueError("a point was clicked, but no camera_info has come to find it in the image")
        # RViz stamps a click with now, of which TF does not know yet.
        placement = self.transforms.find(info.header.frame_id, msg.header.frame_id, Time(), timeout_s=0.0)
        point = placement.apply(np.array([[msg.point.x, msg.point.y, msg.point.z]]))[0]
        intrinsics = intrinsics_of(info, self._parameters().rectified)
        return target_msgs.from_click(point, intrinsics, self._parameters().click_size)

    def _image(self) -> tuple[type, str]:
        """By the topic that image_transport gives a transport, so that remapping ``image`` moves that as well."""
        topic, transport = self._node.resolve_topic_name("image"), self._parameters().image_transport
        if transport == "raw":
            return Image, topic
        return CompressedImage, self._node.resolve_topic_name(f"{topic}/{transport}")

    def _hear_sensors(self) -> None:
        """All anew where one is to be heard otherwise, and the image last: of what waits, rclpy hands on first what was
        subscribed to first.
        """
        wanted = {topic: self._reliability(topic) for topic in self._sensors}
        if wanted == self._reliabilities:
            return
        for subscription in self._sensor_subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._sensor_subscriptions.clear()
        self._reliabilities = wanted
        for topic, (kind, callback, depth) in self._sensors.items():
            profile = qos.stream(depth, wanted[topic])
            self._sensor_subscriptions[topic] = self._node.create_subscription(kind, topic, callback, profile)

    def _reliability(self, topic: str) -> str:
        """best_effort or reliable. rclpy's own overrides would hold what was asked first for ever."""
        name = f"qos_overrides.{topic}.subscription.reliability"
        if not self._node.has_parameter(name):
            about = ParameterDescriptor(description="In place of qos.reliability, for this topic.", read_only=True)
            self._node.declare_parameter(name, "", about)
        asked = self._node.get_parameter(name).value or self._parameters().reliability
        if asked not in qos.RELIABILITIES:
            raise ValueError(f"{name} is `{asked}`; give one of {', '.join(qos.RELIABILITIES)}")
        if asked != qos.AUTO:
            return str(asked)
        offered = qos.offered_by_all(self._node.get_publishers_info_by_topic(topic))
        return offered or self._reliabilities.get(topic, "best_effort")

    def _command(self, kind: type, topic: str, callback: Callable[..., None]) -> Any:
        profile = copy(COMMAND)  # into which rclpy writes what qos_overrides say
        options = QoSOverridingOptions.with_default_policies()
        return self._node.create_subscription(kind, topic, callback, profile, qos_overriding_options=options)
