"""sensor_msgs/Image to numpy and back, without cv_bridge for the common encodings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header


@dataclass(frozen=True)
class Layout:
    """How one encoding lies in memory."""

    dtype: str  # numpy name, without the byte order
    channels: int

    @property
    def pixel_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize * self.channels


# By the first two pixels of two rows, as ROS does it; OpenCV goes by the second and third pixel of the second row.
BAYER = {
    "rggb": cv2.COLOR_BAYER_BG2RGB,
    "bggr": cv2.COLOR_BAYER_RG2RGB,
    "gbrg": cv2.COLOR_BAYER_GR2RGB,
    "grbg": cv2.COLOR_BAYER_GB2RGB,
}
LAYOUTS = {
    "rgb8": Layout("u1", 3),
    "bgr8": Layout("u1", 3),
    "rgba8": Layout("u1", 4),
    "bgra8": Layout("u1", 4),
    "mono8": Layout("u1", 1),
    "mono16": Layout("u2", 1),
    "rgb16": Layout("u2", 3),
    "bgr16": Layout("u2", 3),
    "rgba16": Layout("u2", 4),
    "bgra16": Layout("u2", 4),
    **{f"bayer_{order}8": Layout("u1", 1) for order in BAYER},
    **{f"bayer_{order}16": Layout("u2", 1) for order in BAYER},
    "uyvy": Layout("u1", 2),
    "yuv422": Layout("u1", 2),
    "yuyv": Layout("u1", 2),
    "yuv422_yuy2": Layout("u1", 2),
    "16UC1": Layout("u2", 1),
    "32FC1": Layout("f4", 1),
}
# Measured at 640x480 up to the network's input: a view with swapped or skipped channels makes cv2.resize copy slowly
# (1.6 to 2.1 ms against 0.14 ms for cvtColor), so that only rgb8 is handed on as a view.
TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "mono16": cv2.COLOR_GRAY2RGB,
    "rgb16": None,
    "bgr16": cv2.COLOR_BGR2RGB,
    "rgba16": cv2.COLOR_RGBA2RGB,
    "bgra16": cv2.COLOR_BGRA2RGB,
    **{f"bayer_{order}{bits}": code for order, code in BAYER.items() for bits in (8, 16)},
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
}


def pixels(msg: Image) -> np.ndarray:
    """The message's own memory as H,W (one channel) or H,W,C in its own byte order; padding at row ends is skipped.

    Raises ``ValueError`` for an empty image, an encoding that is not in ``LAYOUTS``, or a step or data size that does
    not fit.
    """
    layout = LAYOUTS.get(msg.encoding)
    if layout is None:
        raise ValueError(f"image encoding '{msg.encoding}' is not supported; use one of {', '.join(LAYOUTS)}")
    _check_size(msg, layout.pixel_bytes, msg.height)
    dtype = np.dtype(layout.dtype).newbyteorder(">" if msg.is_bigendian else "<")
    shape: tuple[int, ...] = (msg.height, msg.width, layout.channels)
    strides: tuple[int, ...] = (msg.step, layout.pixel_bytes, dtype.itemsize)
    if layout.channels == 1:
        shape, strides = shape[:2], strides[:2]
    return np.ndarray(shape, dtype, _locked(msg), strides=strides)


def _check_size(msg: Image, pixel_bytes: int, rows: int) -> None:
    if msg.width == 0 or msg.height == 0 or not msg.data:
        raise ValueError(f"image is empty: {msg.width} x {msg.height} with {len(msg.data)} bytes of data")
    row, total = msg.width * pixel_bytes, msg.step * rows
    if msg.step < row:
        raise ValueError(f"image step {msg.step} is too small: {msg.width} pixels of {msg.encoding} take {row} bytes")
    if len(msg.data) != total:
        raise ValueError(f"image has {len(msg.data)} bytes of data; step {msg.step} times {rows} rows makes {total}")


def _locked(msg: Image) -> np.ndarray:
    """All bytes; of ``msg.data`` itself NumPy keeps no lock, and whoever made it longer would pull away the memory."""
    return np.frombuffer(msg.data, np.uint8)


def to_rgb(msg: Image) -> np.ndarray:
    """H,W,3 uint8 RGB; a view of the message for rgb8.

    16 bits become 8. Encodings that are not in ``LAYOUTS`` go through cv_bridge. Raises ``ValueError`` as ``pixels``
    does, for a depth encoding, for a YUV image of odd width, and without cv_bridge where it is needed.
    """
    planes = nv12(msg)
    if planes is not None:
        return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12))
    if msg.encoding not in LAYOUTS:
        return _cv_bridge_to_rgb(msg)
    view = pixels(msg)
    if msg.encoding == "rgb8":
        return view
    if msg.encoding not in TO_RGB:
        raise ValueError(f"image encoding '{msg.encoding}' has no colour; use one of rgb8, {', '.join(TO_RGB)}")
    if view.dtype.itemsize == 2:
        view = cv2.convertScaleAbs(_native(view), alpha=255 / 65535)
    code = TO_RGB[msg.encoding]
    try:
        return np.asarray(view if code is None else cv2.cvtColor(view, code))
    except cv2.error:  # a YUV image of odd width
        raise ValueError(f"image of {msg.width} x {msg.height} pixels cannot be of encoding '{msg.encoding}'") from None


def nv12(msg: Image) -> Optional[np.ndarray]:
    """The message's own memory as H*3/2,W uint8, or None for another encoding than nv12, whose rows of chroma have the
    step of the others. Raises ``ValueError`` for odd sides, or a step or data size that does not fit.
    """
    if msg.encoding != "nv12":
        return None
    if msg.height % 2 or msg.width % 2:
        raise ValueError(f"image of {msg.width} x {msg.height} pixels cannot be of encoding 'nv12'")
    rows = msg.height * 3 // 2
    _check_size(msg, 1, rows)
    return np.ndarray((rows, msg.width), np.uint8, _locked(msg), strides=(msg.step, 1))


def to_depth(msg: Image) -> np.ndarray:
    """H,W of a depth image, float32 metres or uint16 millimetres (REP-118), 0 or NaN where nothing was measured; a view
    of the message.

    Raises ``ValueError`` as ``pixels`` does, and for an encoding that is not depth.
    """
    if msg.encoding not in ("16UC1", "32FC1"):
        raise ValueError(f"depth_hint has encoding '{msg.encoding}'; use 32FC1 in metres or 16UC1 in millimetres")
    return _native(pixels(msg))


def to_image(values: np.ndarray, encoding: str, header: Header) -> Image:
    """An Image message with a copy of ``values``, H,W or H,W,C of the encoding's type and channels."""
    height, width = values.shape[:2]
    step = width * LAYOUTS[encoding].pixel_bytes
    msg = Image(header=header, height=height, width=width, encoding=encoding, step=step)
    msg.data.frombytes(np.ascontiguousarray(values).data.cast("B"))  # setting data makes copies, some by the element
    return msg


class ImageMemory:
    """One message per topic, which the next image of the same size is written to: fresh memory costs more than what is
    done with it. A message is in use until the next one is asked for."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Image, np.ndarray]] = {}

    def image(self, topic: str, shape: tuple[int, int], encoding: str, header: Header) -> tuple[Image, np.ndarray]:
        """Of one channel; the array, H,W, is its data, with whatever is left there."""
        msg, values = self._kept.get(topic, (None, None))
        if msg is None or (values.shape, msg.encoding) != (shape, encoding):
            msg = to_image(np.zeros(shape, LAYOUTS[encoding].dtype), encoding, header)
            values = np.frombuffer(msg.data, LAYOUTS[encoding].dtype).reshape(shape)
            self._kept[topic] = msg, values
        msg.header = header
        return msg, values


def _native(view: np.ndarray) -> np.ndarray:
    """As OpenCV can read it: it takes rows of an odd number of bytes for something else."""
    return view if view.dtype.isnative and view.flags.aligned else view.astype(view.dtype.newbyteorder("="))


def _cv_bridge_to_rgb(msg: Image) -> np.ndarray:
    if msg.width == 0 or msg.height == 0 or not msg.data:
        raise ValueError(f"image is empty: {msg.width} x {msg.height} with {len(msg.data)} bytes of data")
    bridge = _cv_bridge()
    if bridge is None:
        raise ValueError(
            f"image encoding '{msg.encoding}' needs cv_bridge, which is not installed; "
            f"install ros-$ROS_DISTRO-cv-bridge or publish one of rgb8, {', '.join(TO_RGB)}"
        )
    try:
        return np.asarray(bridge.imgmsg_to_cv2(msg, "rgb8"))
    except Exception as error:  # CvBridgeError, cv2.error and KeyError alike
        raise ValueError(f"image encoding '{msg.encoding}' is not supported by cv_bridge: {error}") from None


def _cv_bridge() -> Any:
    """A CvBridge, or None where no ROS distribution provides it."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return None
    return CvBridge()
