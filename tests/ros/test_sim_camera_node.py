"""What the simulated camera publishes of one frame belongs together."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")
pytest.importorskip("mujoco", reason="needs the simulator's packages")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from focusdepth_ros import qos
from focusdepth_ros.image_msgs import pixels
from focusdepth_ros.msg import FocusTargetArray
from focusdepth_ros.sim_camera_node import SimCameraNode

TOPICS = {
    "image": Image,
    "camera_info": CameraInfo,
    "depth_hint": Image,
    "sim/depth": Image,
    "sim/instances": Image,
    "sim/targets": FocusTargetArray,
}
WIDTH, HEIGHT = 160, 120
FRAMES = 3
TIMEOUT_S = 60.0

Frames = list[dict[str, Any]]


@pytest.fixture(scope="module")
def frames(ros: None) -> Iterator[Frames]:
    """Some frames that came whole: one message per topic."""
    values = {
        "seed": 950009,
        "width": WIDTH,
        "height": HEIGHT,
        "rate": 10.0,
        "hint_density": 0.1,
        "hint_noise": 0.01,
    }
    node = SimCameraNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    probe = rclpy.create_node("probe")
    by_stamp: dict[tuple[int, int], dict[str, Any]] = defaultdict(dict)
    for topic, kind in TOPICS.items():

        def keep(msg: Any, topic: str = topic) -> None:
            by_stamp[msg.header.stamp.sec, msg.header.stamp.nanosec][topic] = msg

        probe.create_subscription(kind, topic, keep, qos.stream(20, "reliable"))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    listener = SingleThreadedExecutor()
    listener.add_node(probe)
    end = time.monotonic() + TIMEOUT_S
    while sum(len(frame) == len(TOPICS) for frame in by_stamp.values()) < FRAMES and time.monotonic() < end:
        listener.spin_once(timeout_sec=0.1)
    executor.shutdown()
    thread.join()
    node.destroy_node()
    probe.destroy_node()
    whole = [frame for frame in by_stamp.values() if len(frame) == len(TOPICS)]
    assert len(whole) >= FRAMES
    yield whole


def test_one_header_per_frame(frames: Frames) -> None:
    for frame in frames:
        for topic, msg in frame.items():
            assert msg.header == frame["image"].header, topic
            assert msg.header.frame_id == "camera_optical_frame"


def test_encodings_and_sizes(frames: Frames) -> None:
    encodings = {"image": "rgb8", "depth_hint": "32FC1", "sim/depth": "32FC1", "sim/instances": "16UC1"}
    for topic, encoding in encodings.items():
        msg = frames[0][topic]
        assert (msg.encoding, msg.width, msg.height) == (encoding, WIDTH, HEIGHT)
        assert len(msg.data) == msg.step * HEIGHT


def test_camera_info_is_of_the_image_and_undistorted(frames: Frames) -> None:
    info = frames[0]["camera_info"]
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert info.k[0] > 0 and not any(info.d)
    assert (info.p[0], info.p[2], info.p[5], info.p[6]) == (info.k[0], info.k[2], info.k[4], info.k[5])


def test_targets_name_their_pixels(frames: Frames) -> None:
    for frame in frames:
        instances = pixels(frame["sim/instances"])
        assert frame["sim/targets"].targets
        for target in frame["sim/targets"].targets:
            rows, cols = np.nonzero(instances == int(target.id))
            roi = target.roi
            assert (cols.min(), cols.max() + 1) == (roi.x_offset, roi.x_offset + roi.width)
            assert (rows.min(), rows.max() + 1) == (roi.y_offset, roi.y_offset + roi.height)
            assert len(target.text.split()) >= 2
            assert 0 < target.score <= 1


def test_the_hint_is_sparse_and_near_the_truth(frames: Frames) -> None:
    truth, hint = pixels(frames[0]["sim/depth"]), pixels(frames[0]["depth_hint"])
    measured = hint > 0
    assert 0.07 < measured.mean() < 0.13
    error = hint[measured] / truth[measured] - 1
    assert 0.005 < np.std(error) < 0.02


def test_the_camera_moves(frames: Frames) -> None:
    first, last = (pixels(frame["sim/depth"]) for frame in (frames[0], frames[-1]))
    assert np.mean(np.abs(first - last) > 1e-3) > 0.5


def test_a_scene_that_cannot_be_shown_is_refused_in_one_sentence(ros: None) -> None:
    def make_camera(seed: int, width: int, height: int) -> Any:
        raise RuntimeError(f"no OpenGL for {width} x {height}")

    with pytest.raises(ValueError, match="^the simulator cannot start: no OpenGL for 320 x 240$"):
        SimCameraNode(make_camera)
