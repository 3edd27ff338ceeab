from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PointStamped, Quaternion, TransformStamped
from std_msgs.msg import Header

from focusdepth_ros.transforms import Placement, Transforms, rotation
from tests.ros.harness import Rig, camera_info, depth_hint, header, image, roi
from tests.ros.test_bad_input import clock_at, heard_sentence
from tests.ros.test_outputs import CLOUD

HALF = 0.5**0.5


class TransformException(Exception):
    pass


class Buffer:
    """Knows that base is 1 m behind the camera and has its axes: x forward, y left, z up; until it is 9 o'clock.

    It is empty for a moment.
    """

    def __init__(self) -> None:
        self.heard = threading.Event()
        threading.Timer(0.2, self.heard.set).start()

    def lookup_transform(self, target: str, source: str, time: Any, timeout: Any) -> TransformStamped:
        if not self.heard.wait(timeout.nanoseconds / 1e9):
            raise TransformException("nothing has come yet")
        if {target, source} != {"base", "camera_optical_frame"} or time.nanoseconds >= 9 * 10**9:
            raise TransformException("unknown to it")
        moved = TransformStamped()
        moved.transform.rotation = Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5)
        moved.transform.translation.x = 1.0
        if target == "camera_optical_frame":
            moved.transform.rotation.w = -0.5
            moved.transform.translation.x, moved.transform.translation.z = 0.0, -1.0
        return moved


@pytest.fixture
def tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of tf2_ros, which comes with a ROS distribution only."""
    module = SimpleNamespace(Buffer=Buffer, TransformListener=lambda *_: None, TransformException=TransformException)
    monkeypatch.setitem(sys.modules, "tf2_ros", module)


@pytest.mark.parametrize(
    ("q", "x_axis"), [((0, 0, 0, 1), (1, 0, 0)), ((0, 0, HALF, HALF), (0, 1, 0)), ((0, HALF, 0, HALF), (0, 0, -1))]
)
def test_rotation(q: tuple[float, ...], x_axis: tuple[float, ...]) -> None:
    matrix = rotation(Quaternion(**{name: float(value) for name, value in zip("xyzw", q)}))
    np.testing.assert_allclose(matrix[:, 0], x_axis, atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_placed_points_keep_their_type() -> None:
    placement = Placement("base", rotation(Quaternion(z=HALF, w=HALF)), np.array([0.0, 0.0, 5.0]))
    placed = placement.apply(np.array([[1, 0, 0]], np.float32))
    assert placed.dtype == np.float32
    np.testing.assert_allclose(placed, [[0, 1, 5]], atol=1e-6)


def test_within_one_frame_nothing_is_asked() -> None:
    assert Transforms(None).find("camera", "camera", Time(), 0.0).frame_id == "camera"


def test_without_tf2_the_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    with pytest.raises(ValueError, match="needs tf2_ros, which is not installed"):
        Transforms(None).find("base", "camera", Time(), 0.0)


def send_frame(rig: Rig, seconds: int) -> None:
    for topic, msg in {"camera_info": camera_info(seconds), "depth_hint": depth_hint(seconds)}.items():
        rig.send(topic, msg)
    rig.send("image", image(seconds))


def test_points_come_in_target_frame(tf2: None, make_rig: Any) -> None:
    rig = make_rig(pair_wait=10.0, target_frame="base")
    rig.start("target_points", "targets_3d", "depth/image_rect")
    rig.focus(roi(60, 10, 30, 20))
    send_frame(rig, 1)
    msg, array = rig.answer(1, "target_points"), rig.answer(1, "targets_3d")
    assert msg.header == array.header == Header(stamp=header(1).stamp, frame_id="base")
    cloud, (target,) = np.frombuffer(msg.data, CLOUD), array.targets
    assert cloud["x"].min() > 1.9  # 1 m and the depth
    assert cloud["y"].max() < 0 < cloud["z"].min()  # right of the axis and above it
    assert target.centroid.x == pytest.approx(np.median(cloud["x"]))
    assert target.centroid.x == pytest.approx(1 + target.depth_quantiles[1], rel=0.05)
    assert rig.answer(1, "depth/image_rect").header == header(1)


def test_when_the_clock_goes_back_what_lies_ahead_is_forgotten(
    tf2: None, make_rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[Buffer] = []
    monkeypatch.setattr(Buffer, "clear", lambda buffer: cleared.append(buffer), raising=False)
    rig = make_rig(use_sim_time=True, pair_wait=10.0, target_frame="base")
    rig.start("target_points")
    clock_at(rig, 100)
    before = len(cleared)
    clock_at(rig, 200)
    assert len(cleared) == before
    clock_at(rig, 3)
    rig.spin_until(lambda: len(cleared) == before + 1, "an empty buffer")
    rig.focus(roi(60, 10, 30, 20))
    send_frame(rig, 3)
    rig.answer(3, "target_points")


def test_without_a_transform_there_are_no_points_but_everything_else(tf2: None, make_rig: Any) -> None:
    rig = make_rig(pair_wait=10.0, target_frame="base")
    rig.start("target_points", "targets_3d", "depth/image_rect")
    rig.focus(roi(60, 10, 30, 20))
    send_frame(rig, 9)
    (target,) = rig.answer(9, "targets_3d").targets
    assert np.isnan(target.centroid.x) and np.isfinite(target.depth_quantiles).all()
    rig.answer(9, "depth/image_rect")
    heard_sentence(rig, "no transform from 'camera_optical_frame' to 'base': unknown to it")
    send_frame(rig, 1)
    rig.answer(1, "target_points")
    assert len(rig.received["target_points"]) == 1


def test_a_click_in_another_frame_is_placed(tf2: None, rig: Rig) -> None:
    rig.send("camera_info", camera_info(1))
    rig.spin_until(lambda: rig.node._inputs._calibration.newest(), "camera_info")
    rig.spin_until(lambda: (buffer := rig.node._inputs.transforms._buffer) and buffer.heard.is_set(), "TF")
    rig.focus(PointStamped(header=Header(stamp=header(20).stamp, frame_id="base"), point=Point(x=2.0)))
    rig.send("image", image(1))
    (target,) = rig.answer(1, "targets_3d").targets
    assert (target.id, target.found) == ("clicked_point", True)
    rig.send("clicked_point", PointStamped(header=Header(frame_id="map"), point=Point(x=2.0)))
    heard_sentence(rig, "no transform from 'map' to 'camera_optical_frame'")
