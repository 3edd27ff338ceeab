"""Messages that belong to an image by stamp: camera_info and depth_hint."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from typing import Any, Generic, Optional, TypeVar

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

M = TypeVar("M", bound=Any)  # a message with a header

PAIR_DEPTH = 10  # messages kept for the image of their stamp
LATE_NS = 500_000_000  # by which no image is late: what is later than it by more is from before the stamps went back


def stamp_ns(stamp: Time) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def are_of_one_frame(a: Header, b: Header) -> bool:
    """As far as both name one; a leading slash is from before tf2."""
    return len({header.frame_id.lstrip("/") for header in (a, b)} - {""}) < 2


class StampBuffer(Generic[M]):
    """The newest few messages of one topic, by stamp."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._messages: OrderedDict[int, tuple[float, M]] = OrderedDict()  # with their arrival, by time.monotonic
        self._arrived = threading.Condition()

    def add(self, msg: M) -> None:
        ns = stamp_ns(msg.header.stamp)
        with self._arrived:
            self._messages[ns] = time.monotonic(), msg
            self._messages.move_to_end(ns)
            if len(self._messages) > self._size:
                self._messages.popitem(last=False)
            self._arrived.notify_all()

    def clear(self) -> None:
        with self._arrived:
            self._messages.clear()
            self._arrived.notify_all()

    def take(self, stamp: Time, timeout_s: float, tolerance_s: float = 0.0, since: float = -math.inf) -> Optional[M]:
        """The message with this stamp, or else the one nearest to it, at most ``tolerance_s`` off, that came after
        ``since``, by time.monotonic; waits for it at most ``timeout_s``, and not once a later one has come."""
        wanted, tolerance_ns = stamp_ns(stamp), round(1e9 * tolerance_s)
        latest = max(LATE_NS, tolerance_ns)
        with self._arrived:
            self._arrived.wait_for(
                lambda: any(-tolerance_ns <= off <= latest for off in self._offsets(wanted, since)), timeout_s
            )
            nearest = min(self._offsets(wanted, since), key=abs, default=None)
            if nearest is None or abs(nearest) > tolerance_ns:
                return None
            return self._messages[wanted + nearest][1]

    def distance_ns(self, stamp: Time) -> Optional[int]:
        """To the stamp of the nearest message, whenever that came; None without any."""
        with self._arrived:
            return min(map(abs, self._offsets(stamp_ns(stamp))), default=None)

    def newest(self) -> Optional[M]:
        """The message that came last."""
        with self._arrived:
            return next(reversed(self._messages.values()))[1] if self._messages else None

    def _offsets(self, wanted: int, since: float = -math.inf) -> list[int]:
        """In ns from a stamp to those of what came after ``since``."""
        return [ns - wanted for ns, (arrived, _) in self._messages.items() if arrived > since]
