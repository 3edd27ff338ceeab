"""Sensor depth that belongs to an image by stamp."""

from __future__ import annotations

from typing import Union

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from focusdepth_core.perception.quantiles import median
from focusdepth_core.perception.sensor_depth import M_PER_MM
from focusdepth_ros import image_msgs
from focusdepth_ros.camera_info import Size
from focusdepth_ros.pairing import PAIR_DEPTH, StampBuffer
from focusdepth_ros.status import Status

# Metres between which the median of any depth camera's image lies. Millimetres taken for metres lie beyond, and metres
# taken for millimetres before.
PLAUSIBLE_M = (0.02, 200.0)
JUDGED = 2000  # of the measured pixels, as all those of a large image take 10 ms
SKIPPED = 16  # rows and columns, of which one is looked at before all are
LEAST = 100  # measured pixels in these; the median of fewer may be that of gross errors


class HintInput:
    def __init__(self, status: Status, topic: str) -> None:
        self._status = status
        self._topic = topic
        self._hints: StampBuffer[Image] = StampBuffer(PAIR_DEPTH)
        self.add = self._hints.add
        self.clear = self._hints.clear

    def of(self, stamp: Time, size: Size, wait_s: float, is_published: bool) -> Union[np.ndarray, str]:
        """At the image's size and as ``Pipeline.process`` takes it, or why there is none; waits at most ``wait_s`` for
        the message of the image's stamp."""
        msg = self._hints.take(stamp, wait_s)
        if msg is None:
            return self._why_none(stamp, is_published)
        try:
            hint = _checked(msg, size)
        except ValueError as error:
            self._status.complain("depth_hint", f"{error}; it is ignored")
            return "no usable depth_hint"
        self._status.settle("depth_hint")
        return hint

    def _why_none(self, stamp: Time, is_published: bool) -> str:
        if not is_published:
            self._status.settle("depth_hint")
            return f"nobody publishes {self._topic}"
        off_ns = self._hints.distance_ns(stamp)
        if off_ns is None:
            return f"nothing has come on {self._topic}"
        return (
            f"no depth_hint has the image's stamp, the nearest one is {off_ns / 1e9:.3g} s off: "
            "let the driver synchronise depth and colour"
        )


def _checked(msg: Image, size: Size) -> np.ndarray:
    """Raises ``ValueError`` for another size than the image's, for nothing measured and for an unlikely unit."""
    hint = image_msgs.to_depth(msg)
    if (msg.width, msg.height) != size:
        raise ValueError(
            f"depth_hint is {msg.width} x {msg.height}, the image {size[0]} x {size[1]}; "
            "register the depth to the colour camera and publish both at the same size"
        )
    measured = _measured(hint[::SKIPPED, ::SKIPPED])
    if measured.size < LEAST:
        measured = _measured(hint)
    if not measured.size:
        raise ValueError("depth_hint has no pixel above 0")
    unit_m = M_PER_MM if hint.dtype == np.uint16 else 1.0
    middle = unit_m * median(measured[:: max(1, measured.size // JUDGED)])
    if not PLAUSIBLE_M[0] <= middle <= PLAUSIBLE_M[1]:
        raise ValueError(
            f"depth_hint has a median of {middle:g} m; 32FC1 is in metres and 16UC1 in millimetres, check its unit"
        )
    return hint


def _measured(hint: np.ndarray) -> np.ndarray:
    return hint[(hint > 0) & (hint < np.inf)]
