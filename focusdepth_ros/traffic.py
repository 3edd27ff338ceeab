"""How many images come, what becomes of them, and what that costs."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

COUNTS = ("received", "answered", "dropped", "too_old", "refused")
MEMORY = Path("/proc/self/statm")
BIN_MS, BINS = 0.1, 2000  # the last one holds all that took longer


class Rates(NamedTuple):
    """Images received and answered per second, and processor cores that the process kept busy."""

    received: float
    answered: float
    cores: float


class Traffic:
    """Counts from the start, times from the last ``restart``, rates between two calls. Counted from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts = dict.fromkeys(COUNTS, 0)
        self.restart()

    def restart(self) -> None:
        with self._lock:
            self._before, self._since, self._cpu_s = dict(self.counts), time.monotonic(), time.process_time()
            self._overheads = np.zeros(BINS, np.int64)

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def took(self, overhead_ms: float) -> None:
        """An answer, less its inference."""
        with self._lock:
            self._overheads[min(int(overhead_ms / BIN_MS), BINS - 1)] += 1

    def overheads_ms(self, levels: tuple[float, ...]) -> list[float]:
        """Quantiles of all answers, rounded up to ``BIN_MS``; NaN without any."""
        with self._lock:
            up_to = np.cumsum(self._overheads)
        if up_to[-1] == 0:
            return [float("nan")] * len(levels)
        return [BIN_MS * (1 + int(np.searchsorted(up_to, level * up_to[-1]))) for level in levels]

    def rates(self) -> Rates:
        """Since the last call or ``restart``."""
        with self._lock:
            now, cpu_s, seconds = dict(self.counts), time.process_time(), time.monotonic() - self._since
            received, answered = ((now[what] - self._before[what]) / seconds for what in ("received", "answered"))
            cores = (cpu_s - self._cpu_s) / seconds
            self._before, self._since, self._cpu_s = now, self._since + seconds, cpu_s
        return Rates(received, answered, cores)


def memory_mb() -> float:
    """That the process holds; NaN where the system is not Linux."""
    if not MEMORY.exists():
        return float("nan")
    return int(MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
