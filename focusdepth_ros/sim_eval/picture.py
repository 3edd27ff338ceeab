"""The picture of all trials: some objects with the point and the truth, and how the errors are spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from focusdepth_core.fde_bench.plots import figure, save
from focusdepth_core.perception.frame import Intrinsics
from focusdepth_ros.drawing import PALETTE, draw_box, draw_outline
from focusdepth_ros.sim_eval.figures import REACHED_M, quantile_m
from focusdepth_ros.sim_eval.trial import SENSORS, Trial, distance_m

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the error: the objects that are shown, from the smallest to the largest.
QUANTILES = (0.02, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98)
COLUMNS = 4
CONTEXT = 2.2  # an object shows a window this much larger than its box
LEAST_WINDOW = 0.25  # of the image's width
LARGEST_CM = 15  # errors beyond share the last bar
OWN, TRUE = "#d55e00", "#009e73"
OTHERS = ("#0072b2", "#888888")


def write(path: Path, trials: Sequence[Trial]) -> None:
    """Raises ``ValueError`` if matplotlib is not installed."""
    picture = figure(13, 9.4)
    top, bottom = picture.subfigures(2, 1, height_ratios=(2.2, 1))
    sensors = list(SENSORS)
    first = [trial for trial in trials if trial.question.sensor == sensors[0]]
    for axes, trial in zip(top.subplots(len(QUANTILES) // COLUMNS, COLUMNS).flat, _spread(first)):
        _show(axes, trial)
    top.suptitle(f"x: the node's point; +: the truth; blue: the node's mask; depth_hint has {sensors[0]}", fontsize=11)
    for axes, sensor in zip(bottom.subplots(1, len(sensors)), sensors):
        _histogram(axes, [trial for trial in trials if trial.question.sensor == sensor], sensor)
    save(picture, path, dpi=85)


def _spread(trials: Sequence[Trial]) -> list[Trial]:
    ordered = sorted(trials, key=lambda trial: trial.error_m)
    return [ordered[round(q * (len(ordered) - 1))] for q in QUANTILES]


def _show(axes: Axes, trial: Trial) -> None:
    """The object with its box, the node's mask, the truth and the node's point."""
    frame, box = trial.question.task.frame, trial.question.box
    image = frame.image.copy()
    draw_outline(image, trial.answer.mask, PALETTE[1])
    draw_box(image, box, PALETTE[0], 1)
    axes.imshow(image)
    for point, colour, marker in ((trial.truth, TRUE, "+"), (trial.answer.point, OWN, "x")):
        axes.plot(*_pixel(point, frame.intrinsics), marker, color=colour, markersize=13, markeredgewidth=2.5)
    half = max(CONTEXT * max(box[2] - box[0], box[3] - box[1]), LEAST_WINDOW * image.shape[1]) / 2
    axes.set(
        xlim=((box[0] + box[2]) / 2 - half, (box[0] + box[2]) / 2 + half),
        ylim=((box[1] + box[3]) / 2 + 0.75 * half, (box[1] + box[3]) / 2 - 0.75 * half),
        xticks=[],
        yticks=[],
    )
    across, along = 100 * np.linalg.norm(trial.off()[:2]), 100 * trial.off()[2]
    axes.set_title(f"{trial.question.task.name}, {trial.truth[2]:.2f} m", fontsize=9)
    axes.set_xlabel(f"{100 * trial.error_m:.1f} cm: {across:.1f} across, {along:+.1f} in depth", fontsize=9)


def _pixel(point: np.ndarray, k: Intrinsics) -> tuple[float, float]:
    x, y, z = point
    return k.fx * x / z + k.cx, k.fy * y / z + k.cy


def _histogram(axes: Axes, trials: Sequence[Trial], sensor: str) -> None:
    bins = np.arange(0, LARGEST_CM + 1)

    def centimetres(errors_m: Sequence[float]) -> np.ndarray:
        return np.minimum(100 * np.array(errors_m), LARGEST_CM - 0.5)

    own = [trial.error_m for trial in trials]
    axes.hist(centimetres(own), bins, color=OWN, alpha=0.75, label=f"focus node, median {_median_cm(own)}")
    for method, colour in zip(trials[0].others, OTHERS):
        errors = [distance_m(trial.off(trial.others[method])) for trial in trials]
        label = f"{method}, median {_median_cm(errors)}"
        axes.hist(centimetres(errors), bins, histtype="step", color=colour, linewidth=1.8, label=label)
    axes.axvline(100 * REACHED_M, color=TRUE, linestyle="--", linewidth=1.5, label="reached")
    axes.set(
        title=f"depth_hint has {sensor}",
        xlabel="position error, cm (last bar: more, or no point)",
        xlim=(0, LARGEST_CM),
    )
    axes.set_ylabel("objects")
    axes.legend(fontsize=8)


def _median_cm(errors_m: Sequence[float]) -> str:
    median = 100 * quantile_m(errors_m, 0.5)
    return f"{median:.1f} cm" if np.isfinite(median) else "none"
