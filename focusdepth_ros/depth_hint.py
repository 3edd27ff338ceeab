"""Sensor depth that belongs to an image by stamp."""

from __future__ import annotations

from typing import Optional

import numpy as np
from sensor_msgs.msg import Image

from focusdepth_ros import image_msgs
from focusdepth_ros.pairing import PAIR_DEPTH, StampBuffer
from focusdepth_ros.status import Status


class HintInput:
    def __init__(self, status: Status) -> None:
        self._status = status
        self._hints: StampBuffer[Image] = StampBuffer(PAIR_DEPTH)
        self.add = self._hints.add
        self.clear = self._hints.clear

    def of(self, image: Image, wait_s: float) -> Optional[np.ndarray]:
        """H,W metres at the image's size, or None; waits at most ``wait_s`` for the message of the image's stamp."""
        msg = self._hints.take(image.header.stamp, wait_s)
        if msg is None:
            return None
        try:
            hint = image_msgs.to_metres(msg)
            if hint.shape != (image.height, image.width):
                raise ValueError(
                    f"depth_hint is {msg.width} x {msg.height}, the image {image.width} x {image.height}; "
                    "register the depth to the colour camera and publish both at the same size"
                )
        except ValueError as error:
            self._status.complain("depth_hint", f"{error}; it is ignored")
            return None
        self._status.settle("depth_hint")
        return hint
