"""Times of calls that take turns, so that a busy moment meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

SETTLE, TIMED = 3, 5  # calls in a turn: an engine that was given other shapes before captures its graph in the first
WARM_UP = 1  # turns

Key = TypeVar("Key")


def interleaved(calls: Mapping[Key, Callable[[], object]], turns: int) -> dict[Key, list[float]]:
    """Milliseconds of ``TIMED`` calls in every turn after the warm-up."""
    from rich.console import Console
    from rich.progress import track

    times: dict[Key, list[float]] = {key: [] for key in calls}
    for _ in track(range(WARM_UP + turns), "turns", console=Console(stderr=True), transient=True):
        for key, call in calls.items():
            for _ in range(SETTLE + TIMED):
                start = time.perf_counter()
                call()
                times[key].append(1e3 * (time.perf_counter() - start))
    return {key: timed(values) for key, values in times.items()}


def timed(values: Sequence[float]) -> list[float]:
    """Of one value for every call, those that count."""
    turns = np.reshape(values, (-1, SETTLE + TIMED))
    return turns[WARM_UP:, SETTLE:].ravel().tolist()


def quantiles(times: Sequence[float]) -> dict[str, float]:
    """Of milliseconds."""
    values = np.quantile(times, [0.5, 0.95, 0.99])
    return {name: round(float(value), 3) for name, value in zip(("p50_ms", "p95_ms", "p99_ms"), values)}
