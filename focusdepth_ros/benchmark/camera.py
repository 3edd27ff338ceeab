"""A camera that costs little: the same picture again and again, each time with a new stamp."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from focusdepth_ros import qos
from focusdepth_ros.benchmark import scene
from focusdepth_ros.image_msgs import to_image
from focusdepth_ros.msg import FocusTarget, FocusTargetArray
from focusdepth_ros.parameter_store import ParameterStore, parameter
from focusdepth_ros.process import run


@dataclass(frozen=True)
class CameraParameters:
    rate: float = parameter(30.0, "Images per second.", limits=(0.1, 1000.0), settable="at start")
    targets: int = parameter(1, "Boxes sent with each image.", limits=(0, len(scene.BOXES)), settable="at start")


class BenchmarkCamera(Node):
    def __init__(self) -> None:
        super().__init__("benchmark_camera")
        values = ParameterStore(self, CameraParameters).current
        header = Header(frame_id="camera_optical_frame")
        k = [scene.FOCAL_PX, 0.0, scene.WIDTH / 2, 0.0, scene.FOCAL_PX, scene.HEIGHT / 2, 0.0, 0.0, 1.0]
        # The image last, so that what belongs to it need not be waited for.
        messages = {
            "targets": _targets(values.targets, header),
            "camera_info": CameraInfo(header=header, width=scene.WIDTH, height=scene.HEIGHT, k=k),
            "depth_hint": to_image(scene.sensor_depth_mm(), "16UC1", header),
            "image": to_image(scene.picture(), "rgb8", header),
        }
        kinds = {"targets": FocusTargetArray, "camera_info": CameraInfo, "depth_hint": Image, "image": Image}
        self._sent = [
            (self.create_publisher(kind, topic, qos.stream(2, "reliable")), messages[topic])
            for topic, kind in kinds.items()
        ]
        self.create_timer(1 / values.rate, self._shoot, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _shoot(self) -> None:
        stamp = self.get_clock().now().to_msg()
        for publisher, message in self._sent:
            message.header.stamp = stamp
            publisher.publish(message)


def _targets(count: int, header: Header) -> FocusTargetArray:
    boxes = [
        RegionOfInterest(x_offset=x0, y_offset=y0, width=x1 - x0, height=y1 - y0) for x0, y0, x1, y1 in scene.BOXES
    ]
    targets = [FocusTarget(id=str(place), roi=box) for place, box in enumerate(boxes[:count])]
    return FocusTargetArray(header=header, targets=targets)


if __name__ == "__main__":
    sys.exit(run(BenchmarkCamera))
