"""One worker thread that always works on the newest item."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, Optional, TypeVar

T = TypeVar("T")

YIELD_S = 1e-3  # in which the worker, on its way to the network, need not share the interpreter with rclpy


class NewestWorker(Generic[T]):
    """Calls ``work(item)`` in a thread of its own; an item that still waits when the next one comes is dropped.

    ``work`` must not raise: an exception would end the thread. ``put``, ``clear`` and ``stop`` never wait for ``work``.
    """

    def __init__(self, work: Callable[[T], None], name: str) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._waiting: Optional[T] = None
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> bool:
        """Hands over the newest item; True if an older one was dropped for it."""
        with self._changed:
            dropped = self._waiting is not None
            self._waiting = item
            self._changed.notify()
        time.sleep(YIELD_S)
        return dropped

    def clear(self) -> None:
        """Forgets the item that waits, if any."""
        with self._changed:
            self._waiting = None

    def stop(self) -> None:
        """Ends the thread after the item that it works on."""
        with self._changed:
            self._stopped = True
            self._waiting = None
            self._changed.notify()

    def join(self, timeout_s: float) -> bool:
        """After ``stop``: waits for the thread's end; False if it still works when the time is over."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._waiting is not None)
                if self._stopped:
                    return
                item, self._waiting = self._waiting, None
            assert item is not None
            self._work(item)
