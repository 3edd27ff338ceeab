"""Times of calls that take turns, so that a busy moment meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

WARM_UP = 5  # rounds; engines settle and capture their graphs in the first

Key = TypeVar("Key")


def interleaved(calls: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, list[float]]:
    """Milliseconds of every round after the warm-up."""
    from rich.console import Console
    from rich.progress import track

    times: dict[Key, list[float]] = {key: [] for key in calls}
    for step in track(range(WARM_UP + rounds), "rounds", console=Console(stderr=True), transient=True):
        for key, call in calls.items():
            start = time.perf_counter()
            call()
            if step >= WARM_UP:
                times[key].append(1e3 * (time.perf_counter() - start))
    return times


def quantiles(times: Sequence[float]) -> dict[str, float]:
    """Of milliseconds."""
    values = np.quantile(times, [0.5, 0.95, 0.99])
    return {name: round(float(value), 3) for name, value in zip(("p50_ms", "p95_ms", "p99_ms"), values)}
