"""camera_info to intrinsics: P before K, region of interest, binning, and another image size."""

from __future__ import annotations

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="the messages are not built; ./run builds them")

import numpy as np
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_ros.camera_info import intrinsics_of


def _info(**changes: object) -> CameraInfo:
    k = [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
    return CameraInfo(**{"width": 640, "height": 480, "k": k, **changes})


def _projected(k: Intrinsics, point: np.ndarray) -> np.ndarray:
    return np.array([k.fx * point[0] / point[2] + k.cx, k.fy * point[1] / point[2] + k.cy])


def test_k_where_p_is_empty() -> None:
    assert intrinsics_of(_info()) == Intrinsics(500, 510, 319.5, 239.5, 640, 480)


def test_p_describes_the_rectified_image() -> None:
    p = [480.0, 0.0, 321.0, 0.0, 0.0, 490.0, 238.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert intrinsics_of(_info(p=p)) == Intrinsics(480, 490, 321, 238, 640, 480)


def test_region_of_interest_moves_the_principal_point() -> None:
    roi = RegionOfInterest(x_offset=100, y_offset=50, width=320, height=240)
    assert intrinsics_of(_info(roi=roi)) == Intrinsics(500, 510, 219.5, 189.5, 320, 240)


def test_binning_divides_everything() -> None:
    assert intrinsics_of(_info(binning_x=2, binning_y=4)) == Intrinsics(250, 127.5, 159.75, 59.875, 320, 120)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (1280, 960), (320, 480)])
def test_a_resized_image_shows_a_point_at_the_resized_place(width: int, height: int) -> None:
    full = intrinsics_of(_info())
    point = np.array([0.3, -0.2, 1.5])
    share = (_projected(full, point) + 0.5) / [640, 480]  # pixel centres lie at integers
    resized = full.resized(width, height)
    assert _projected(resized, point) == pytest.approx(share * [width, height] - 0.5)
    assert (resized.width, resized.height) == (width, height)


@pytest.mark.parametrize("focal", [0.0, -500.0, 1.0, 15.9, float("nan"), float("inf")])
def test_an_uncalibrated_camera_is_refused(focal: float) -> None:
    with pytest.raises(ValueError, match="not calibrated"):
        intrinsics_of(_info(k=[focal, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]))


def test_a_very_wide_camera_is_calibrated() -> None:
    k = [16.0, 0.0, 319.5, 0.0, 16.0, 239.5, 0.0, 0.0, 1.0]
    assert intrinsics_of(_info(k=k, binning_x=8, binning_y=8)).fx == 2


def test_an_image_that_is_not_rectified_goes_by_k_and_d() -> None:
    p = [480.0, 0.0, 321.0, 0.0, 0.0, 490.0, 238.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    d = (-0.3, 0.1, 0.001, -0.001, 0.02)
    info = _info(p=p, d=d, distortion_model="plumb_bob", binning_x=2, binning_y=2)
    assert intrinsics_of(info, rectified=False) == Intrinsics(250, 255, 159.75, 119.75, 320, 240, d)
    assert intrinsics_of(info).distortion == ()
    fisheye = _info(p=p, d=d[:4], distortion_model="equidistant")
    assert intrinsics_of(fisheye, rectified=False) == Intrinsics(500, 510, 319.5, 239.5, 640, 480, d[:4], True)
    assert intrinsics_of(_info(d=[0.0] * 5), rectified=False) == intrinsics_of(_info())
    four = _info(p=p, d=d[:4], distortion_model="plumb_bob")
    assert intrinsics_of(four, rectified=False).distortion == d[:4]


@pytest.mark.parametrize(("model", "d"), [("pancake", [0.1] * 5), ("equidistant", [0.1] * 5), ("plumb_bob", [0.1] * 3)])
def test_an_unknown_distortion_is_refused(model: str, d: list[float]) -> None:
    with pytest.raises(ValueError, match=f"'{model}' with {len(d)} coefficients"):
        intrinsics_of(_info(d=d, distortion_model=model), rectified=False)
