"""What the listener heard, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from focusdepth_ros.benchmark.fake_model import ENGINE_S
from focusdepth_ros.benchmark.listener import ANSWER, Listener

SHARE = 0.1  # of the run, at its beginning and its end, between which the memory may grow
LEVELS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def figures(listener: Listener, frames: int) -> dict[str, Any]:
    """Of the first ``frames`` images since the listener's restart."""
    stamps = listener.sent[:frames]
    lost = {topic: sum(stamp not in heard for stamp in stamps) for topic, heard in listener.heard.items()}
    latency_ms = _quantiles([(listener.heard[ANSWER][s] - s) / 1e6 for s in stamps if s in listener.heard[ANSWER]])
    statuses = [status for status in listener.statuses if "memory_mb" in status]  # told from the first second on
    last = statuses[-1]
    overhead_ms = {level: float(last[f"overhead_{level}_ms"]) for level in LEVELS}
    memory = [float(status["memory_mb"]) for status in statuses]
    part = max(1, round(SHARE * len(memory)))
    first, final = np.mean(memory[part : 2 * part]), np.mean(memory[-part:])
    return {
        "overhead_ms": overhead_ms,
        "lost": lost[ANSWER],
        "cpu_core": round(float(np.mean([float(status["cpu_cores"]) for status in statuses[1:]])), 3),
        "rss_growth": round(float(final / first - 1), 4),
        "memory_mb": round(float(final), 1),
        "latency_ms": latency_ms,
        "transport_ms_p50": round(latency_ms["p50"] - overhead_ms["p50"] - 1e3 * ENGINE_S, 1),
        "lost_by_topic": {topic: count for topic, count in lost.items() if count},
        "dropped_by_the_node": int(last["dropped"]),
        "frames": len(stamps),
        "hz": round(1e9 * (len(stamps) - 1) / (stamps[-1] - stamps[0]), 2),
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return dict.fromkeys(LEVELS, float("nan"))
    return dict(zip(LEVELS, np.round(np.quantile(values, list(LEVELS.values())), 1).tolist()))
