"""``sim_camera_node``: a simulated camera that moves around a tabletop, with its ground truth."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from focusdepth_core.sim.camera import MovingCamera
from focusdepth_ros import qos, sim_msgs
from focusdepth_ros.image_msgs import to_image
from focusdepth_ros.msg import FocusTargetArray
from focusdepth_ros.parameter_store import ParameterStore, parameter
from focusdepth_ros.process import run


@dataclass(frozen=True)
class SimParameters:
    seed: int = parameter(
        950009, "Scene to show; 950000 to 999999 are never trained on.", limits=(0, 999999), settable="at start"
    )
    width: int = parameter(320, "Of the images, in px.", limits=(32, 4096), settable="at start")
    height: int = parameter(240, "Of the images, in px.", limits=(32, 4096), settable="at start")
    rate: float = parameter(4.0, "Images per second.", limits=(0.1, 60.0), settable="at start")
    frame_id: str = parameter("camera_optical_frame", "The camera's optical frame.", settable="at start")
    hint_density: float = parameter(
        0.02, "Share of the pixels that depth_hint measures; 0: no depth_hint.", limits=(0.0, 1.0), settable="at start"
    )
    hint_noise: float = parameter(
        0.01, "Relative standard deviation of depth_hint.", limits=(0.0, 1.0), settable="at start"
    )


class SimCameraNode(Node):
    """One stamp per frame, taken when the image is rendered, on everything that is published of it.

    A thread of its own holds the OpenGL context; an image that is due while it is busy is left out.
    Raises ``ValueError`` if the scene cannot be shown.
    """

    _camera: Any = None  # of the class, as a constructor that fails still destroys

    def __init__(self, make_camera: Callable[[int, int, int], Any] = MovingCamera, **kwargs: Any) -> None:
        """``make_camera``: of seed, width and height; what it makes renders and closes in the thread that made it."""
        super().__init__("sim_camera_node", **kwargs)
        self._values = ParameterStore(self, SimParameters).current
        self._rng = np.random.default_rng(self._values.seed)
        self._thread = ThreadPoolExecutor(1, "render")
        self._camera = self._open(make_camera)
        profile = qos.stream(2, "reliable")  # heard by subscribers of either reliability
        self._targets = self.create_publisher(FocusTargetArray, "sim/targets", profile)
        self._image = self.create_publisher(Image, "image", profile)
        self._info = self.create_publisher(CameraInfo, "camera_info", profile)
        self._hint = self.create_publisher(Image, "depth_hint", profile) if self._values.hint_density else None
        self._depth = self.create_publisher(Image, "sim/depth", profile)
        self._instances = self.create_publisher(Image, "sim/instances", profile)
        self._due = self._missed = 0
        self._shot: Future[None] = self._thread.submit(lambda: None)
        self.create_timer(1 / self._values.rate, self._on_due, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_node(self) -> None:
        if self._camera is not None:
            self._thread.submit(self._camera.close)
            self._thread.shutdown()
        super().destroy_node()

    def _open(self, make_camera: Callable[[int, int, int], Any]) -> Any:
        values = self._values
        try:
            return self._thread.submit(make_camera, values.seed, values.width, values.height).result()
        except Exception as error:  # of OpenGL and MuJoCo, of many classes
            raise ValueError(f"the simulator cannot start: {error}") from error

    def _on_due(self) -> None:
        if self._shot.done():
            self._shot.result()
            self._shot = self._thread.submit(self._shoot, self._due / self._values.rate)
        else:
            self._missed += 1
            self.get_logger().warning(
                f"rendering is slower than {self._values.rate:g} Hz: {self._missed} images left out",
                throttle_duration_sec=10.0,
            )
        self._due += 1

    def _shoot(self, seconds: float) -> None:
        frame = self._camera.render(seconds)
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._values.frame_id)
        # Targets first and the image next: who passes a box on has it at the node before the image's depth_hint.
        self._targets.publish(sim_msgs.targets(frame, header))
        self._image.publish(to_image(frame.image, "rgb8", header))
        self._info.publish(sim_msgs.camera_info(frame.intrinsics, header))
        if self._hint is not None:
            self._hint.publish(to_image(self._sparse(frame.depth_m), "32FC1", header))
        self._depth.publish(to_image(frame.depth_m, "32FC1", header))
        self._instances.publish(to_image(frame.instances, "16UC1", header))

    def _sparse(self, depth_m: np.ndarray) -> np.ndarray:
        """A sensor that measures some pixels, 0 elsewhere."""
        measured = self._rng.random(depth_m.shape, np.float32) < self._values.hint_density
        noise = 1 + self._values.hint_noise * self._rng.standard_normal(depth_m.shape, np.float32)
        return np.where(measured, depth_m * noise, np.float32(0))


def main(args: Optional[list[str]] = None) -> int:
    return run(SimCameraNode, args)


if __name__ == "__main__":
    sys.exit(main())
