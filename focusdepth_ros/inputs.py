"""Everything the node hears, put together for one image."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PointStamped
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
        self.image_topic = node.resolve_topic_name("image")
        self._info_topic = node.resolve_topic_name("camera_info")
        self._hint_topic = node.resolve_topic_name("depth_hint")
        self._hint = HintInput(status, self._hint_topic)
        self._click_topic = node.resolve_topic_name("clicked_point")

    def open(self, check: Callable[[Target], None]) -> None:
        """``check`` raises ``ValueError`` for a target that the model cannot be asked for."""
        sensor, command = qos.stream(PAIR_DEPTH, self._parameters().reliability), qos.stream(1, "reliable")
        self._subscribe(CameraInfo, "camera_info", self._calibration.add, sensor)
        self._subscribe(Image, "depth_hint", self._hint.add, sensor)
        self.targets.open(check)
        self._subscribe(RegionOfInterest, "target_box", self.targets.on_box, command)
        self._subscribe(String, "target_text", self.targets.on_text, command)
        self._subscribe(FocusTargetArray, "targets", self.targets.on_array, command)
        self._subscribe(PointStamped, "clicked_point", self._on_click, command)
        if Detection2DArray is not None:
            self._subscribe(Detection2DArray, "detections", self.targets.on_detections, sensor)
        self._subscribe_image()  # the last one: of what waits, rclpy hands on first what was subscribed to first
        self.check()

    def check(self) -> None:
        """To be called every second or so: complains of publishers that are not heard, or that share a camera's topic.
        TF must have been heard for a while when it is needed.
        """
        for subscription in self._subscriptions:
            reports.check_subscription(self._status, self._node, subscription.topic_name)
        reports.check_publishers(self._status, self._node, self.image_topic, self._info_topic, self._hint_topic)
        if self._parameters().target_frame or self._node.count_publishers(self._click_topic):
            self.transforms.listen()

    def close(self) -> None:
        """Ends the subscriptions and forgets the camera's messages; the targets stay."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
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

    def _subscribe_image(self) -> None:
        """By the topic that image_transport gives a transport, so that remapping ``image`` moves that as well."""
        parameters = self._parameters()
        profile, topic = qos.stream(parameters.depth, parameters.reliability), self._node.resolve_topic_name("image")
        if parameters.image_transport == "raw":
            self._subscribe(Image, topic, self._on_image, profile)
        else:
            topic += f"/{parameters.image_transport}"
            self._subscribe(CompressedImage, topic, self._on_image, profile)
        self.image_topic = self._node.resolve_topic_name(topic)

    def _subscribe(self, kind: type, topic: str, callback: Callable[..., None], profile: Any) -> None:
        subscription = self._node.create_subscription(
            kind,
            topic,
            callback,
            copy(profile),  # into which rclpy writes what qos_overrides say
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._subscriptions.append(subscription)
