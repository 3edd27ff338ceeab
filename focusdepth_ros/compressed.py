"""sensor_msgs/CompressedImage to numpy, as image_transport's `compressed` sends it: JPEG or PNG."""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

from focusdepth_core.perception.image_header import check_size

READ_AS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # camera_info is of the pixels as they lie in the file


def to_rgb(msg: CompressedImage) -> np.ndarray:
    """H,W,3 uint8 RGB. Raises ``ValueError`` for depth, for data that are no whole image, and for one too large."""
    if "compressedDepth" in msg.format:
        raise ValueError(f"compressed image has format '{msg.format}', which is depth; remap image to colour")
    data = bytes(msg.data)
    try:
        check_size(data)
    except ValueError as error:
        raise ValueError(f"compressed image of {len(data)} bytes and format '{msg.format}' {error}") from None
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), READ_AS)
    if bgr is None:
        raise ValueError(f"compressed image of {len(data)} bytes and format '{msg.format}' is damaged")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
