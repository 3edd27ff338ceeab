"""Messages that belong to an image by stamp: camera_info and depth_hint."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Generic, Optional, TypeVar

from builtin_interfaces.msg import Time

M = TypeVar("M", bound=Any)  # a message with a header

PAIR_DEPTH = 10  # messages kept for the image of their stamp
LATE_NS = 5_000_000_000  # by which no image is late: what is later than it by more is from before the stamps went back


def stamp_ns(stamp: Time) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


class StampBuffer(Generic[M]):
    """The newest few messages of one topic, by stamp."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._messages: OrderedDict[int, M] = OrderedDict()
        self._arrived = threading.Condition()

    def add(self, msg: M) -> None:
        with self._arrived:
            self._messages[stamp_ns(msg.header.stamp)] = msg
            while len(self._messages) > self._size:
                self._messages.popitem(last=False)
            self._arrived.notify_all()

    def clear(self) -> None:
        with self._arrived:
            self._messages.clear()
            self._arrived.notify_all()

    def take(self, stamp: Time, timeout_s: float) -> Optional[M]:
        """The message with this stamp; waits for it at most ``timeout_s``, and not once a later one has come."""
        wanted = stamp_ns(stamp)
        with self._arrived:
            self._arrived.wait_for(lambda: any(0 <= ns - wanted < LATE_NS for ns in self._messages), timeout_s)
            return self._messages.get(wanted)

    def distance_ns(self, stamp: Time) -> Optional[int]:
        """To the stamp of the nearest message; None without any."""
        wanted = stamp_ns(stamp)
        with self._arrived:
            return min((abs(ns - wanted) for ns in self._messages), default=None)

    def newest(self) -> Optional[M]:
        """The message that came last."""
        with self._arrived:
            return next(reversed(self._messages.values()), None)
