"""sensor_msgs/CameraInfo to the intrinsics of the image that it belongs to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Union

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_ros.pairing import PAIR_DEPTH, StampBuffer, are_of_one_frame
from focusdepth_ros.status import Status

Size = tuple[int, int]  # width, height

WIDEST = 40  # side over focal length, of a field of view of 174 degrees: what has no calibration may say 1 px
POLYNOMIAL = ("plumb_bob", "rational_polynomial", "thin_prism")  # as sensor_msgs and camera_calibration name them
FISHEYE = ("equidistant", "fisheye")


@dataclass(frozen=True)
class Calibration:
    info: CameraInfo
    intrinsics: Intrinsics


def intrinsics_of(info: CameraInfo, rectified: bool = True) -> Intrinsics:
    """Of the image as published, less the region of interest, over the binning: of a rectified one by P (or K where P
    is empty), else by K and D.

    K and P are for the full sensor (REP-104, sensor_msgs/CameraInfo); the arithmetic is image_geometry's. Raises
    ``ValueError`` for a focal length that is zero, negative, not finite or too short for any lens, a size of zero, and
    an unknown distortion.
    """
    p, k = info.p, info.k
    fx, fy, cx, cy = (p[0], p[5], p[2], p[6]) if rectified and p[0] else (k[0], k[4], k[2], k[5])
    if not all(0 < f < math.inf and side <= WIDEST * f for f, side in ((fx, info.width), (fy, info.height))):
        raise ValueError(
            f"camera_info has focal lengths fx = {fx:g}, fy = {fy:g} px for {info.width} x {info.height}: "
            "the camera is not calibrated"
        )
    roi, bin_x, bin_y = info.roi, max(info.binning_x, 1), max(info.binning_y, 1)
    return Intrinsics(
        fx / bin_x,
        fy / bin_y,
        (cx - roi.x_offset) / bin_x,
        (cy - roi.y_offset) / bin_y,
        (roi.width or info.width) // bin_x,
        (roi.height or info.height) // bin_y,
        distortion=() if rectified else _distortion(info),
        fisheye=not rectified and info.distortion_model in FISHEYE,
    )


def _distortion(info: CameraInfo) -> tuple[float, ...]:
    """As OpenCV orders them, empty if there is none."""
    d = tuple(info.d)
    if not any(d):
        return ()
    lengths = (4,) if info.distortion_model in FISHEYE else (4, 5, 8, 12, 14)
    known = info.distortion_model in (*FISHEYE, *POLYNOMIAL)
    if not known or len(d) not in lengths or not all(map(math.isfinite, d)):
        raise ValueError(
            f"camera_info has distortion '{info.distortion_model}' with {len(d)} coefficients, which is not known; "
            "rectify the image and set rectified to true"
        )
    return d


class CalibrationInput:
    """The camera_info of an image: the one of its stamp or, as cameras rarely change, the last one."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._infos: StampBuffer[CameraInfo] = StampBuffer(PAIR_DEPTH)
        self.add = self._infos.add
        self.clear = self._infos.clear
        self.newest = self._infos.newest

    def of(
        self, image: Header, size: Size, image_topic: str, wait_s: float, rectified: bool = True
    ) -> Optional[Calibration]:
        """None without a usable one; waits at most ``wait_s`` for it, and not when there is one of the image's size."""
        info = self._infos.take(image.stamp, 0.0) or self._infos.newest()
        if info is None or isinstance(_fitting(info, image, size, rectified), str):
            info = self._infos.take(image.stamp, wait_s) or info
        if info is None:
            return None
        intrinsics = _fitting(info, image, size, rectified)
        if isinstance(intrinsics, str):
            self._status.complain("camera_info", f"{intrinsics}; no metric outputs")
            return None
        if rectified and any(info.d) and "rect" not in image_topic:
            self._status.complain(
                "camera_info",
                f"camera_info has lens distortion and {image_topic} is not named as rectified, so that its points may "
                "be bent; remap image to the camera's image_rect, or set rectified to false",
            )
        else:
            self._status.settle("camera_info")
        return Calibration(info, intrinsics)


def _fitting(info: CameraInfo, image: Header, size: Size, rectified: bool) -> Union[Intrinsics, str]:
    """The image's intrinsics, or why the camera_info does not describe it."""
    if not are_of_one_frame(info.header, image):  # what sensor_msgs/Image calls undefined
        return (
            f"camera_info is of frame '{info.header.frame_id}', the image of '{image.frame_id}'; take both from one "
            "camera, or let its driver give both the same frame_id"
        )
    try:
        intrinsics = intrinsics_of(info, rectified)
    except ValueError as error:
        return str(error)
    if (intrinsics.width, intrinsics.height) == size:
        return intrinsics
    return (
        f"camera_info is for {intrinsics.width} x {intrinsics.height}, the image is {size[0]} x {size[1]}; "
        "publish both at the same size"
    )
