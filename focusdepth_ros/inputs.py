"""Everything the node hears, put together for one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.target import Target
from focusdepth_ros import image_msgs, qos
from focusdepth_ros.camera_info import CalibrationInput
from focusdepth_ros.depth_hint import HintInput
from focusdepth_ros.msg import FocusTargetArray
from focusdepth_ros.pairing import PAIR_DEPTH, stamp_ns
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.status import Status
from focusdepth_ros.targets import TargetInput


@dataclass(frozen=True)
class Request:
    """One image with what belongs to it. ``info``: the camera_info behind ``frame.intrinsics``; both or neither."""

    frame: Frame
    targets: tuple[Target, ...]
    depth_hint: Optional[np.ndarray]
    info: Optional[CameraInfo]


class Inputs:
    """The subscriptions, from ``open`` to ``close``."""

    def __init__(self, node: Node, status: Status, on_image: Callable[[Image], None]) -> None:
        self._node = node
        self._status = status
        self._on_image = on_image
        self._calibration = CalibrationInput(status)
        self._hint = HintInput(status)
        self.targets = TargetInput(status)
        self._subscriptions: list[Any] = []
        self.image_topic = node.resolve_topic_name("image")
        self._info_topic = node.resolve_topic_name("camera_info")
        self._hint_topic = node.resolve_topic_name("depth_hint")

    def open(self, parameters: Parameters) -> None:
        reliability = parameters.reliability
        self._subscribe(Image, "image", self._on_image, qos.stream(parameters.depth, reliability))
        self._subscribe(CameraInfo, "camera_info", self._calibration.add, qos.stream(PAIR_DEPTH, reliability))
        self._subscribe(Image, "depth_hint", self._hint.add, qos.stream(PAIR_DEPTH, reliability))
        self._subscribe(RegionOfInterest, "target_box", self.targets.on_box, qos.stream(1, "reliable"))
        self._subscribe(FocusTargetArray, "targets", self.targets.on_array, qos.stream(1, "reliable"))

    def close(self) -> None:
        """Ends the subscriptions and forgets the camera's messages; the targets stay."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._calibration.clear()
        self._hint.clear()

    def request(self, image: Image, prompts: tuple[str, ...], parameters: Parameters) -> Request:
        """Raises ``ValueError`` if the image cannot be used; anything else that cannot is left out and complained of.

        Waits for the camera_info and depth_hint of the image, so that it belongs in the worker's thread.
        """
        rgb = image_msgs.to_rgb(image)
        image_ns = stamp_ns(image.header.stamp)
        calibration = self._calibration.of(image, self.image_topic, self._wait_s(self._info_topic, parameters))
        frame = Frame(rgb, image_ns / 1e9, calibration and calibration.intrinsics)
        hint = self._hint.of(image, self._wait_s(self._hint_topic, parameters))
        usable = self.targets.usable(frame, image_ns, prompts, parameters.max_target_age)
        return Request(frame, usable, hint, calibration and calibration.info)

    def _wait_s(self, topic: str, parameters: Parameters) -> float:
        return parameters.pair_wait if self._node.count_publishers(topic) else 0.0

    def _subscribe(self, kind: type, topic: str, callback: Callable[..., None], profile: Any) -> None:
        name = self._node.resolve_topic_name(topic)
        subscription = self._node.create_subscription(
            kind,
            topic,
            callback,
            profile,
            event_callbacks=qos.subscription_events(
                name, lambda reason: self._status.complain(f"qos {name}", reason, lasts_s=qos.MISMATCH_S)
            ),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._subscriptions.append(subscription)
