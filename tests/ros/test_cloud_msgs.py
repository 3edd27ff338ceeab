from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs the ROS messages")

from std_msgs.msg import Header

from focusdepth_ros.cloud_msgs import to_cloud

DTYPE = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "u4"), ("label", "u4")])


def test_points_read_back_by_the_message_s_own_fields() -> None:
    points = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    rgb = np.arange(0x10203, 0x1020A, dtype=np.uint32)
    header = Header(frame_id="camera")
    msg = to_cloud([points[:4], points[:0], points[4:]], [rgb[:4], rgb[:0], rgb[4:]], header)
    assert [(f.name, f.offset) for f in msg.fields] == [(name, DTYPE.fields[name][1]) for name in DTYPE.names]
    assert (msg.header, msg.height, msg.width, msg.is_dense, msg.is_bigendian) == (header, 1, 7, True, False)
    assert (msg.point_step, msg.row_step) == (DTYPE.itemsize, 7 * DTYPE.itemsize)
    got = np.frombuffer(msg.data, DTYPE)
    np.testing.assert_array_equal(np.stack([got["x"], got["y"], got["z"]], axis=1), points)
    np.testing.assert_array_equal(got["rgb"], rgb)
    np.testing.assert_array_equal(got["label"], [1, 1, 1, 1, 3, 3, 3])


def test_no_points_make_an_empty_cloud() -> None:
    for parts in ([], [np.empty((0, 3))]):
        msg = to_cloud(parts, [np.empty(0, np.uint32)] * len(parts), Header())
        assert (msg.width, msg.row_step, len(msg.data)) == (0, 0, 0)


def test_sensor_msgs_py_reads_our_clouds() -> None:
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2", reason="comes with a ROS distribution")
    points = np.arange(6, dtype=np.float32).reshape(2, 3)
    msg = to_cloud([points[:1], points[1:]], [np.zeros(1, np.uint32)] * 2, Header())
    got = point_cloud2.read_points(msg)
    np.testing.assert_array_equal(np.stack([got["x"], got["y"], got["z"]], axis=1), points)
    np.testing.assert_array_equal(got["label"], [1, 2])
