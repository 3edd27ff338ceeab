"""How many images come, and what becomes of them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

COUNTS = ("received", "answered", "dropped", "too_old", "refused")
MEMORY = Path("/proc/self/statm")


class Traffic:
    """Counts from the start, and rates between two calls of ``rates``. Counted from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts = dict.fromkeys(COUNTS, 0)
        self._before, self._since = dict(self.counts), time.monotonic()

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def rates(self) -> tuple[float, float]:
        """Images received and answered per second since the last call."""
        with self._lock:
            now, seconds = dict(self.counts), time.monotonic() - self._since
            received, answered = ((now[what] - self._before[what]) / seconds for what in ("received", "answered"))
            self._before, self._since = now, self._since + seconds
        return received, answered


def memory_mb() -> float:
    """That the process holds; NaN where the system is not Linux."""
    if not MEMORY.exists():
        return float("nan")
    return int(MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
