"""Figures of a recording: ``metrics.json``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from focusdepth_core import __version__
from focusdepth_core.fde_bench.metrics import PairMetrics, evaluate_pair
from focusdepth_core.machine import commit, machine, versions
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.result import Space
from focusdepth_ros.demo.director import HAS_PUBLICATION_TIME
from focusdepth_ros.demo.recording import Recording, Shot

REGIONS = ("foreground", "band", "global")
PACKAGES = ("rclpy", "numpy", "onnxruntime", "opencv-python-headless", "mujoco")
METHOD = {
    "latency_ms": "image stamp to "
    + ("the DDS source timestamp" if HAS_PUBLICATION_TIME else "the arrival")
    + " of ~/relative_depth/image, on one clock, over all answered images",
    "dropped": "images that the camera sent and that got no answer",
    "absrel": "per image after one global least-squares alignment to the truth, mean over the images whose target is "
    "certain; foreground is the target, band the pixels within 10 px of its edge; plain is the unprompted net",
}


@dataclass(frozen=True)
class Scored:
    """One shot with the errors of both nets. ``plain``: the unprompted net's raw depth, H,W."""

    shot: Shot
    plain: np.ndarray
    space: Space
    focus_metrics: PairMetrics
    plain_metrics: PairMetrics


def score(shots: Sequence[Shot], pipeline: Pipeline, progress: Callable[[int], None]) -> list[Scored]:
    """Runs the plain net on the images of the whole shots and compares both depths with the truth."""
    scored = []
    for count, shot in enumerate(shots, start=1):
        progress(count)
        if not shot.is_whole or not shot.true_mask.any():
            continue
        result = pipeline.process(Frame(shot.image), [])
        truth, mask = shot.truth_m, shot.true_mask
        scored.append(
            Scored(
                shot,
                result.relative_depth,
                result.space,
                evaluate_pair(shot.relative_depth, result.space, truth, mask),
                evaluate_pair(result.relative_depth, result.space, truth, mask),
            )
        )
    return scored


def figures(recording: Recording, scored: Sequence[Scored], settings: dict[str, Any]) -> dict[str, Any]:
    """Of at least one answered image; numbers that cannot be computed are None."""
    answered = recording.answered
    latencies = [shot.latency_ms for shot in answered]
    seconds = (answered[-1].stamp_ns - answered[0].stamp_ns) / 1e9
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    return {
        "answered": len(answered),
        "dropped": recording.dropped,
        "fps": _rounded((len(answered) - 1) / seconds) if seconds else None,
        "latency_ms": {"p50": _rounded(p50), "p95": _rounded(p95), "p99": _rounded(p99)},
        "absrel": {
            "focus": _absrel([one.focus_metrics for one in scored]),
            "plain": _absrel([one.plain_metrics for one in scored]),
        },
        "commit": commit(),
        "machine": machine(),
        "versions": _versions(),
        "scored_images": len(scored),
        **settings,
        "method": METHOD,
    }


def _versions() -> dict[str, str]:
    own = {"focusdepth_core": __version__, "ros": os.environ.get("ROS_DISTRO", "from wheels")}
    return own | versions(PACKAGES)


def _absrel(metrics: Sequence[PairMetrics]) -> dict[str, Optional[float]]:
    means: dict[str, Optional[float]] = {}
    for region in REGIONS:
        values = np.array([one.regions[region].absrel for one in metrics])
        means[region] = _rounded(np.nanmean(values), 5) if np.isfinite(values).any() else None
    return means


def _rounded(value: float, digits: int = 2) -> float:
    return round(float(value), digits)
