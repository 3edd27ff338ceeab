"""The picture of a measurement on video, drawn with matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from focusdepth_core.fde_bench.plots import INK, figure, save
from focusdepth_core.fde_bench.video_cadence import CARRIED, HELD, OWN
from focusdepth_core.fde_bench.video_summary import FITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"plain": "#8a8f98", "focus": "#c44e2c"}
NET_NAMES = {"plain": "without a prompt", "focus": "focused on the target"}
JUMP_COLOURS = ("#3a6ea5", "#1b7f5c", "#d99a1c")
WAY_STYLES = {HELD: ("#8a8f98", "s", "the keyframe's box stays"), OWN: ("#3a6ea5", "^", "box of the model's last mask")}
WAY_STYLES |= {CARRIED: ("#c44e2c", "o", "carried by the image's motion")}
LARGEST_ERROR = 0.8  # at which the axis of the jumps ends


def write(path: Path, result: dict) -> None:
    """Raises ``ValueError`` if matplotlib is not installed."""
    picture = figure(15, 8.6)
    picture.suptitle(f"{result['model']} on simulated video at {result['rate']:g} Hz")
    (static, moving, scale), (jumps, absrel, iou) = picture.subplots(2, 3)
    kinds = {"static": "nothing moves", "moving": "the camera moves"}
    for axes, (kind, words) in zip((static, moving), kinds.items()):
        _flicker(axes, result["flicker"][kind], words)
    _scale(scale, result["scale"])
    _jumps(jumps, result["jumps"], result["rate"])
    _cadence(absrel, result["cadence"], "absrel", "AbsRel of the target, %, lower is better")
    _cadence(iou, result["cadence"], "iou", "IoU of the mask, %, higher is better")
    save(picture, path)


def _flicker(axes: Axes, nets: dict, words: str) -> None:
    names = [(depth, region) for depth, regions in nets["plain"].items() for region in regions]
    for offset, (net, depths) in zip((-0.2, 0.2), nets.items()):
        values = [100 * (depths[depth][region]["change"] or 0) for depth, region in names]
        bars = axes.barh(np.arange(len(names)) + offset, values, 0.38, color=COLOURS[net], label=NET_NAMES[net])
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    axes.set_yticks(range(len(names)), [f"{depth}\n{region}" for depth, region in names])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(title=f"Flicker, {words}", xlabel="change per frame that the truth does not explain, %")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)


def _scale(axes: Axes, sensors: dict) -> None:
    """Median as a bar, 95 % as a line."""
    rows = [(s, net, fit) for s, nets in sensors.items() for net in nets for fit in FITS]
    each = len(rows) // len(sensors)
    places = [i + i // each for i in range(len(rows))]  # a row above each sensor is for its name
    for y, (sensor, net, fit) in zip(places, rows):
        value = sensors[sensor][net][fit]["target_m"]
        low, high = (100 * (value[q] or 0) for q in ("p50", "p95"))
        axes.barh(y, low, 0.7, color=COLOURS[net], alpha=1 if fit == FITS[1] else 0.5)
        axes.plot([low, high], [y, y], color=INK, linewidth=1)
        axes.text(low, y - 0.05, f" {low:.1f}", va="bottom", fontsize=7)
    axes.set_yticks(places, [f"{net}, {fit}" for _, net, fit in rows], fontsize=8)
    for i, sensor in enumerate(sensors):
        y = (each + 1) * i - 1
        axes.text(0.98, y, sensor, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8)
    axes.set_ylim(places[-1] + 0.6, -1.6)
    axes.set(title="Metres from a depth sensor", xlabel="error of the target's depth, cm (median; 95 %)")


def _jumps(axes: Axes, jumps: dict, rate: float) -> None:
    for colour, (kind, jump) in zip(JUMP_COLOURS, jumps.items()):
        error = np.array([np.nan if e is None else 100 * min(e, LARGEST_ERROR) for e in jump["error"]])
        until = jump["frames_until_right"]
        label = f"{kind}: right after {until['p50']:g} (at most {until['max']}) frames"
        axes.plot(error, "o-", color=colour, markersize=3, label=label)
    axes.set(title="A jump at frame 0", xlabel=f"frames since, {rate:g} per s (a gap: no metres are given)")
    axes.set(ylabel="median error of the image, %", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _cadence(axes: Axes, ways: dict, metric: str, words: str) -> None:
    for way, (colour, marker, label) in WAY_STYLES.items():
        intervals = [int(n) for n in ways[way]]
        values = [100 * value[metric] for value in ways[way].values()]
        axes.plot(intervals, values, marker=marker, color=colour, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(intervals, [str(n) for n in intervals])
    if metric == "absrel":
        axes.axhline(100 * ways["plain"]["0"][metric], color=INK, linestyle="--", label="without a prompt")
    axes.set(title="The target is looked for every Nth frame", xlabel="N", ylabel=words)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
