from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from focusdepth_ros.pairing import StampBuffer, are_of_one_frame

MS = 1_000_000


def message(stamp_ms: int, name: str = "") -> CameraInfo:
    return CameraInfo(header=Header(stamp=at(stamp_ms)), distortion_model=name)


def at(stamp_ms: int) -> Time:
    return Time(sec=stamp_ms // 1000, nanosec=stamp_ms % 1000 * MS)


def buffer(*stamps_ms: int) -> StampBuffer[CameraInfo]:
    made: StampBuffer[CameraInfo] = StampBuffer(3)
    for stamp_ms in stamps_ms:
        made.add(message(stamp_ms))
    return made


def taken(stamps_ms: tuple[int, ...], wanted_ms: int, tolerance_s: float) -> int | None:
    msg = buffer(*stamps_ms).take(at(wanted_ms), 0.0, tolerance_s)
    return None if msg is None else msg.header.stamp.sec * 1000 + msg.header.stamp.nanosec // MS


def test_the_exact_stamp_comes_before_the_nearest_one_and_that_before_none() -> None:
    assert taken((1000, 1010, 1033), 1010, 0.02) == 1010
    assert taken((1000, 1033), 1010, 0.02) == 1000
    assert taken((1000, 1033), 1025, 0.02) == 1033
    assert taken((1000, 1033), 1010, 0.005) is None
    assert taken((1000, 1900), 1010, 0.0) is None
    assert taken((1900,), 1000, 1.0) == 1900


def wait_s(stamps_ms: tuple[int, ...], wanted_ms: int, tolerance_s: float = 0.0) -> float:
    began, made = time.monotonic(), buffer(*stamps_ms)
    made.take(at(wanted_ms), 0.2, tolerance_s)
    return time.monotonic() - began


def test_nothing_is_waited_for_once_a_later_one_has_come_unless_stamps_went_back() -> None:
    assert wait_s((1033,), 1000) < 0.1
    assert wait_s((990,), 1000, 0.02) < 0.1
    assert wait_s((967,), 1000) >= 0.19
    assert wait_s((3000,), 1000) >= 0.19
    assert wait_s((1900,), 1000, 1.0) < 0.1


def test_one_that_comes_while_it_is_waited_for_is_taken() -> None:
    made = buffer(980)
    timer = threading.Timer(0.05, made.add, [message(1004)])
    timer.start()
    found = made.take(at(1000), 10.0, 0.005)
    timer.join()
    assert found is not None and found.header.stamp == at(1004)


def test_what_came_too_early_does_not_count() -> None:
    made = buffer(0)
    since = time.monotonic()
    assert made.take(at(0), 0.0, since=since) is None
    assert made.take(at(0), 0.0, since=since - 1) is not None
    made.add(message(0))
    assert made.take(at(0), 0.0, since=since) is not None


def test_the_newest_is_what_came_last_whatever_its_stamp() -> None:
    made = buffer()
    assert made.newest() is None
    for stamp_ms, name in ((1000, "first"), (2000, "second"), (1000, "third")):
        made.add(message(stamp_ms, name))
    assert made.newest().distortion_model == "third"
    for stamp_ms in (3000, 4000, 5000):
        made.add(message(stamp_ms))
    assert made.distance_ns(at(1000)) == 2_000 * MS


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [("left", "left", True), ("/left", "left", True), ("", "left", True), ("left", "", True), ("left", "right", False)],
)
def test_frames_are_compared_where_both_have_a_name(a: str, b: str, same: bool) -> None:
    assert are_of_one_frame(Header(frame_id=a), Header(frame_id=b)) == same
