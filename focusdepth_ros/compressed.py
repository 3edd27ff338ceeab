"""sensor_msgs/CompressedImage to numpy, as image_transport's `compressed` sends it: JPEG or PNG."""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

READ_AS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # camera_info is of the pixels as they lie in the file


def to_rgb(msg: CompressedImage) -> np.ndarray:
    """H,W,3 uint8 RGB. Raises ``ValueError`` for depth, and for data that are no whole image."""
    if "compressedDepth" in msg.format:
        raise ValueError(f"compressed image has format '{msg.format}', which is depth; remap image to colour")
    try:
        bgr = cv2.imdecode(np.frombuffer(msg.data, np.uint8), READ_AS)
    except cv2.error:  # no data, or a size beyond all reason
        bgr = None
    if bgr is None:
        raise ValueError(f"compressed image cannot be read: {len(msg.data)} bytes of format '{msg.format}'")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
