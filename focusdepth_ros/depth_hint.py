"""Sensor depth that belongs to an image by stamp."""

from __future__ import annotations

from typing import Union

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from focusdepth_core.perception.quantiles import median
from focusdepth_core.perception.sensor_depth import M_PER_MM
from focusdepth_ros import image_msgs
from focusdepth_ros.camera_info import Size
from focusdepth_ros.pairing import PAIR_DEPTH, StampBuffer, are_of_one_frame
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.status import Status

# By which a hint may come before its image: what is older has its stamp where stamps do not advance.
EARLY_S = 2.0
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

    def of(
        self, header: Header, size: Size, arrived: float, parameters: Parameters, is_published: bool
    ) -> Union[np.ndarray, str]:
        """At the image's size and as ``Pipeline.process`` takes it, or why there is none; waits at most ``pair_wait``
        for the message of the image's stamp. ``header``, ``arrived``, by time.monotonic: of the image."""
        wait_s, tolerance_s = parameters.pair_wait if is_published else 0.0, parameters.pair_tolerance
        msg = self._hints.take(header.stamp, wait_s, tolerance_s, arrived - EARLY_S)
        if msg is None:
            return self._why_none(header.stamp, tolerance_s, is_published)
        try:
            hint = _checked(msg, size)
        except ValueError as error:
            self._status.complain("depth_hint", f"{error}; it is ignored")
            return "no usable depth_hint"
        self._compare_frames(msg.header, header)
        return hint

    def _compare_frames(self, own: Header, image: Header) -> None:
        if are_of_one_frame(own, image):
            self._status.settle("depth_hint")
            return
        self._status.complain(
            "depth_hint",
            f"depth_hint is of frame '{own.frame_id}', the image of '{image.frame_id}', and is used all the same; "
            "register the depth to the colour camera",
        )

    def _why_none(self, stamp: Time, tolerance_s: float, is_published: bool) -> str:
        if not is_published:
            self._status.settle("depth_hint")
            return f"nobody publishes {self._topic}"
        off_ns = self._hints.distance_ns(stamp)
        if off_ns is None:
            return f"nothing has come on {self._topic}"
        if off_ns <= 1e9 * tolerance_s:
            return f"the depth_hint of the image's stamp came more than {EARLY_S:g} s before it: do the stamps advance?"
        return (
            f"no depth_hint has the image's stamp, the nearest one is {off_ns / 1e9:.3g} s off: let the driver "
            "synchronise depth and colour, or raise pair_wait if the hint comes later than its image, or "
            "pair_tolerance if it is stamped apart"
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
