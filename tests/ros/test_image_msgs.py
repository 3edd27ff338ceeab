from __future__ import annotations

import array
import sys
import types

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sensor_msgs.msg", reason="needs the ROS messages")

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from focusdepth_ros import image_msgs
from focusdepth_ros.image_msgs import LAYOUTS, ImageMemory, nv12, pixels, to_depth, to_image, to_rgb


def message(values: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    """Rows of ``values`` with ``padding`` bytes of rubbish after each."""
    height, width = values.shape[:2]
    values = values.astype(values.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=137)
    msg = Image(height=height, width=width, encoding=encoding, step=rows.shape[1], is_bigendian=big_endian)
    msg.data = array.array("B", rows.tobytes())
    return msg


def test_a_message_cannot_be_made_longer_under_a_view_of_it() -> None:
    yuv = Image(height=2, width=2, encoding="nv12", step=2, data=array.array("B", bytes(6)))
    for msg, view in ((message(np.zeros((2, 4), np.uint8), "mono8"), pixels), (yuv, nv12)):
        seen = view(msg)
        with pytest.raises(BufferError):
            msg.data.append(0)
        del seen
        msg.data.append(0)


@given(
    encoding=st.sampled_from(sorted(LAYOUTS)),
    width=st.integers(1, 9),
    height=st.integers(1, 7),
    padding=st.integers(0, 5),
    big_endian=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_pixels_are_what_was_written(
    encoding: str, width: int, height: int, padding: int, big_endian: bool, seed: int
) -> None:
    layout = LAYOUTS[encoding]
    shape = (height, width) if layout.channels == 1 else (height, width, layout.channels)
    values = np.random.default_rng(seed).integers(0, 2**8, shape).astype(layout.dtype)
    got = pixels(message(values, encoding, padding, big_endian))
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
@pytest.mark.parametrize("padding", [0, 3])
def test_colour_encodings_become_rgb(encoding: str, padding: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    channels = rgb[..., ::-1] if encoding.startswith("bgr") else rgb
    if encoding.endswith("a8"):
        channels = np.concatenate([channels, np.full((5, 4, 1), 7, np.uint8)], axis=2)
    np.testing.assert_array_equal(to_rgb(message(channels, encoding, padding)), rgb)


@pytest.mark.parametrize("big_endian", [False, True])
def test_grey_encodings_become_rgb(big_endian: bool) -> None:
    grey = np.array([[0, 128, 255]], np.uint8)
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(to_rgb(message(grey, "mono8")), expected)
    np.testing.assert_array_equal(to_rgb(message(grey.astype(np.uint16) * 257, "mono16", 2, big_endian)), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("padding", [0, 3])
def test_bayer_patterns_become_rgb(order: str, bits: int, padding: int) -> None:
    colour = {"r": 200, "g": 90, "b": 20}
    cell = np.array([colour[letter] for letter in order]).reshape(2, 2)
    raw = np.tile(cell, (4, 5)) * (257 if bits == 16 else 1)
    got = to_rgb(message(raw.astype(f"u{bits // 8}"), f"bayer_{order}{bits}", padding))
    np.testing.assert_array_equal(got[2:-2, 2:-2], np.broadcast_to((200, 90, 20), (4, 6, 3)))


@pytest.mark.parametrize(("encoding", "order"), [("uyvy", 1), ("yuv422", 1), ("yuyv", 0), ("yuv422_yuy2", 0)])
def test_yuv_becomes_rgb(encoding: str, order: int) -> None:
    """Of BT.601 with 16 to 235, 100 % red is Y 81, U 90, V 240."""
    pair = np.array([[81, 90], [81, 240]], np.uint8)[:, :: -1 if order else 1]
    got = to_rgb(message(np.tile(pair, (3, 2, 1)), encoding, padding=2))
    assert got.shape == (3, 4, 3)
    np.testing.assert_allclose(got[1, 1], (255, 0, 0), atol=3)


@pytest.mark.parametrize("padding", [0, 3])
def test_nv12_becomes_rgb_and_stays_itself(padding: int) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (6, 6), np.uint8)
    msg = message(planes, "nv12", padding)
    msg.height = 4
    np.testing.assert_array_equal(to_rgb(msg), cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12))
    np.testing.assert_array_equal(nv12(msg), planes)
    msg.height = 6
    with pytest.raises(ValueError, match="bytes of data; step . times 9 rows makes"):
        to_rgb(msg)
    msg.height = 3
    with pytest.raises(ValueError, match="image of 6 x 3 pixels cannot be of encoding 'nv12'"):
        to_rgb(msg)


def test_yuv_of_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="5 x 4 pixels cannot be of encoding 'uyvy'"):
        to_rgb(message(np.zeros((4, 5, 2), np.uint8), "uyvy"))


def test_colour_of_16_bits() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(message(rgb.astype(np.uint16) * 257, "rgb16")), rgb)
    np.testing.assert_array_equal(to_rgb(message(rgb[..., ::-1].astype(np.uint16) * 257, "bgr16", 2, True)), rgb)


def test_rgb8_and_32FC1_are_views_of_the_message() -> None:
    msg = message(np.zeros((4, 5, 3), np.uint8), "rgb8")
    msg.data[0] = 9
    assert to_rgb(msg)[0, 0, 0] == 9
    assert np.shares_memory(to_rgb(msg), np.frombuffer(msg.data, np.uint8))
    hint = message(np.zeros((4, 5), np.float32), "32FC1")
    assert np.shares_memory(to_depth(hint), np.frombuffer(hint.data, np.uint8))


def test_the_memory_of_an_image_is_used_again_for_the_next_one_of_its_size() -> None:
    memory = ImageMemory()
    msg, values = memory.image("mask", (4, 5), "16UC1", Header(frame_id="a"))
    assert (msg.height, msg.width, msg.step, len(msg.data)) == (4, 5, 10, 40)
    values[3, 4] = 0x0201
    assert bytes(msg.data)[-2:] == b"\1\2"
    again, _ = memory.image("mask", (4, 5), "16UC1", Header(frame_id="b"))
    assert again is msg and again.header.frame_id == "b"
    assert memory.image("depth", (4, 5), "16UC1", Header())[0] is not msg
    other, values = memory.image("mask", (5, 4), "16UC1", Header())
    assert (other.height, other.width, values.shape) == (5, 4, (5, 4))


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_is_uint16_millimetres_or_float32_metres(big_endian: bool) -> None:
    millimetres = np.array([[0, 1500, 65535]], np.uint16)
    got = to_depth(message(millimetres, "16UC1", 4, big_endian))
    np.testing.assert_array_equal(got, millimetres)
    assert got.dtype == np.uint16 and got.dtype.isnative
    metres = np.array([[np.nan, 0, 1.25]], np.float32)
    got = to_depth(message(metres, "32FC1", 4, big_endian))
    np.testing.assert_array_equal(got, metres)
    assert got.dtype == np.float32 and got.dtype.isnative


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 0}, "image is empty: 0 x 4"),
        ({"height": 0}, "image is empty: 5 x 0"),
        ({"data": array.array("B")}, "image is empty: 5 x 4 with 0 bytes"),
        ({"step": 14}, "image step 14 is too small: 5 pixels of rgb8 take 15 bytes"),
        ({"step": 16}, "image has 60 bytes of data; step 16 times 4 rows makes 64"),
        ({"height": 5}, "image has 60 bytes of data; step 15 times 5 rows makes 75"),
        ({"encoding": "32FC1", "width": 3}, "image encoding '32FC1' has no colour"),
        ({"encoding": "rgb9"}, "image encoding 'rgb9'"),
    ],
)
def test_a_bad_image_is_refused_in_one_sentence(change: dict[str, object], sentence: str) -> None:
    msg = message(np.zeros((4, 5, 3), np.uint8), "rgb8")
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(ValueError, match="^" + sentence):
        to_rgb(msg)


def test_colour_is_no_depth_hint() -> None:
    with pytest.raises(ValueError, match="depth_hint has encoding 'rgb8'"):
        to_depth(message(np.zeros((4, 5, 3), np.uint8), "rgb8"))


def test_without_cv_bridge_the_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(ValueError, match="'nv21' needs cv_bridge, which is not installed"):
        to_rgb(message(np.zeros((4, 5), np.uint8), "nv21"))


def test_cv_bridge_takes_the_other_encodings(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = np.full((4, 5, 3), 3, np.uint8)
    bridge = types.SimpleNamespace(imgmsg_to_cv2=lambda msg, encoding: rgb if encoding == "rgb8" else None)
    monkeypatch.setitem(sys.modules, "cv_bridge", types.SimpleNamespace(CvBridge=lambda: bridge))
    np.testing.assert_array_equal(to_rgb(message(np.zeros((4, 5), np.uint8), "nv21")), rgb)


@pytest.mark.parametrize("encoding", sorted(LAYOUTS))
def test_written_images_read_back(encoding: str) -> None:
    layout = LAYOUTS[encoding]
    shape = (3, 4) if layout.channels == 1 else (3, 4, layout.channels)
    values = np.random.default_rng(0).integers(0, 256, shape).astype(layout.dtype)
    header = Header(frame_id="camera")
    msg = to_image(values[:, ::-1], encoding, header)  # not contiguous
    assert (msg.header, msg.height, msg.width, msg.encoding) == (header, 3, 4, encoding)
    assert msg.step == 4 * layout.pixel_bytes
    assert len(msg.data) == 3 * msg.step
    np.testing.assert_array_equal(pixels(msg), values[:, ::-1])


def test_every_colour_encoding_has_a_conversion() -> None:
    assert {"rgb8", *image_msgs.TO_RGB} == set(LAYOUTS) - {"16UC1", "32FC1"}
