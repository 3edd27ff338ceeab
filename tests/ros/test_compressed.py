from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs the ROS messages")

from sensor_msgs.msg import CompressedImage

from focusdepth_ros.compressed import to_rgb

RGB = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def encoded(suffix: str, image: np.ndarray = RGB[..., ::-1]) -> bytes:
    written, data = cv2.imencode(suffix, image)
    assert written
    return data.tobytes()


def test_png_comes_back_as_it_was() -> None:
    np.testing.assert_array_equal(to_rgb(CompressedImage(format="png", data=encoded(".png"))), RGB)


def test_jpeg_has_the_right_colours() -> None:
    red = np.broadcast_to(np.array([0, 0, 255], np.uint8), (16, 16, 3))
    got = to_rgb(CompressedImage(format="rgb8; jpeg compressed bgr8", data=encoded(".jpg", red)))
    np.testing.assert_allclose(got, np.broadcast_to((255, 0, 0), (16, 16, 3)), atol=3)


@pytest.mark.parametrize("values", [RGB[..., 0], RGB[..., 0].astype(np.uint16) * 257])
def test_grey_becomes_rgb(values: np.ndarray) -> None:
    got = to_rgb(CompressedImage(format="mono", data=encoded(".png", values)))
    np.testing.assert_array_equal(got, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("data", [b"", b"abc", encoded(".jpg")[:-40], encoded(".png")[:-40]])
def test_what_is_no_whole_image_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=f"compressed image of {len(data)} bytes and format 'jpeg' is damaged"):
        to_rgb(CompressedImage(format="jpeg", data=data))


def test_compressed_depth_is_no_colour() -> None:
    with pytest.raises(ValueError, match="which is depth"):
        to_rgb(CompressedImage(format="16UC1; compressedDepth png", data=encoded(".png")))


def test_a_small_image_that_unpacks_to_a_huge_one_is_not_decoded() -> None:
    data = encoded(".png", np.zeros((8200, 8200), np.uint8))
    assert len(data) < 200_000
    with pytest.raises(ValueError, match="says it has 8200 x 8200 pixels; at most 67108864 are read"):
        to_rgb(CompressedImage(format="png", data=data))
