"""Figures of all trials: ``sim_eval.json``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Optional

import numpy as np

from focusdepth_core import __version__
from focusdepth_core.machine import commit, machine, versions
from focusdepth_core.sim.task import visible_position
from focusdepth_ros.sim_eval.trial import SENSORS, Trial, distance_m

REACHED_M = 0.025  # half of the play that a gripper of 8 cm has around an object of 3 cm
RESAMPLES = 2000
PACKAGES = ("rclpy", "numpy", "onnxruntime", "opencv-python-headless", "mujoco")
METHOD = {
    "success": f"share of all objects whose published centroid is at most {REACHED_M} m from the truth",
    "position_error_m": "distance of the centroid in ~/targets_3d to the truth, over all objects; one without a point "
    "counts as infinitely far, and null means infinite",
    "p50_interval": f"95 %, bootstrap over the objects, {RESAMPLES} resamples",
    "truth": "median along x, y and z of the object's visible surface, in the camera's optical frame",
    "if_depth_were_true": "the same error with the simulator's depth under the node's mask: what the mask alone costs",
    "across_m, along_m": "medians of the error's parts across and along the optical axis, of the objects with a point",
    "with_a_point": "share of the objects for which the node published one",
    "without the node": "the same depth_hint, or the plain net's depth, in the inner half of the box's sides",
}


def figures(trials: Sequence[Trial], settings: dict[str, Any]) -> dict[str, Any]:
    """The first sensor's figures stand at the top as well. ``trials`` holds as many of each sensor."""
    by_sensor = {name: [trial for trial in trials if trial.question.sensor == name] for name in SENSORS}
    result = {name: _of_sensor(some) for name, some in by_sensor.items()}
    first = result[next(iter(SENSORS))]
    own = {"focusdepth_core": __version__, "ros": os.environ.get("ROS_DISTRO", "from wheels")}
    return {
        "success": first["success"],
        "position_error_m": first["position_error_m"],
        **settings,
        "depth_hint": result,
        "commit": commit(),
        "machine": machine(),
        "versions": own | versions(PACKAGES),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "method": METHOD,
    }


def _of_sensor(trials: Sequence[Trial]) -> dict[str, Any]:
    off = np.array([trial.off() for trial in trials])
    pointed = off[np.isfinite(off).all(axis=1)]
    return {
        **_judged([trial.error_m for trial in trials]),
        "with_a_point": round(len(pointed) / len(trials), 3),
        "across_m": _median(np.linalg.norm(pointed[:, :2], axis=1)),
        "along_m": _median(np.abs(pointed[:, 2])),
        "mask_iou": _median([trial.iou for trial in trials]),
        "scale_residual": _median([trial.answer.residual for trial in trials]),
        "if_depth_were_true": _judged([distance_m(trial.off(_true_under_mask(trial))) for trial in trials]),
        "without the node": {
            method: _judged([distance_m(trial.off(trial.others[method])) for trial in trials])
            for method in trials[0].others
        },
    }


def quantile_m(errors_m: Sequence[float], q: float) -> float:
    """The error of an object, and no mean of two, of which one may be infinite."""
    return float(np.quantile(errors_m, q, method="inverted_cdf"))


def _judged(errors_m: Sequence[float]) -> dict[str, Any]:
    p50, p95 = (_finite(quantile_m(errors_m, q)) for q in (0.5, 0.95))
    success = float(np.mean(np.array(errors_m) <= REACHED_M))
    error = {"p50": p50, "p50_interval": _interval(errors_m), "p95": p95}
    return {"success": round(success, 3), "position_error_m": error}


def _interval(errors_m: Sequence[float]) -> list[Optional[float]]:
    drawn = np.random.default_rng(0).choice(np.array(errors_m), (RESAMPLES, len(errors_m)))
    medians = np.quantile(drawn, 0.5, axis=1, method="inverted_cdf")
    return [_finite(np.quantile(medians, q, method="inverted_cdf")) for q in (0.025, 0.975)]


def _true_under_mask(trial: Trial) -> np.ndarray:
    frame = trial.question.task.frame
    return visible_position(frame.depth_m, trial.answer.mask, frame.intrinsics)


def _median(values: Sequence[float] | np.ndarray) -> Optional[float]:
    return _finite(np.nanmedian(values)) if np.isfinite(values).any() else None


def _finite(value: float) -> Optional[float]:
    return round(float(value), 4) if np.isfinite(value) else None
