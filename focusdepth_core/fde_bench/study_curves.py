"""How the runs of a study learned: validation errors over steps, from the curves that training keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from focusdepth_core.fde_bench.plots import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {
    "foreground": "AbsRel of the target",
    "global": "AbsRel of the whole image",
    "mask": "1 - IoU of the mask",
}
NAMES = {"geometry": "plain", "search": "texts"}  # by what a stage learns; all others together are the focused net


class Curve(NamedTuple):
    """Of a stage. ``steps``: since the weights that the runs of a study share; those in which the prompt branch learns
    alone count for its masks only, and those of a search for texts for that alone."""

    run: str
    learns: str
    measure: str
    steps: list[int]
    errors: list[float]


def curves(study: Path) -> Iterator[Curve]:
    """Of every stage of every run that the study compares."""
    for recipe in sorted(study.glob("*/recipe.json")):
        stages = {stage["name"]: stage for stage in json.loads(recipe.read_text(encoding="utf-8"))["stages"]}
        if any(stage["start"] == "scratch" for stage in stages.values()):
            continue
        for stage in stages.values():
            yield from _of_stage(recipe.parent, stage, stages)


def curve_plot(study: Path) -> Figure:
    """Raises ``ValueError`` if matplotlib is not installed."""
    picture = figure(12, 3.8)
    shown = dict(zip(PANELS, picture.subplots(1, len(PANELS))))
    for measure, axes in shown.items():
        axes.set(title=PANELS[measure], xlabel="steps")
        axes.spines[["top", "right"]].set_visible(False)
    lines: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for curve in curves(study):
        name = f"{curve.run}, {NAMES.get(curve.learns, 'focus')}"
        lines.setdefault(name, {}).setdefault(curve.measure, []).extend(zip(curve.steps, curve.errors))
    for i, (name, measures) in enumerate(lines.items()):
        for measure, points in measures.items():
            label = name if measure == next(iter(measures)) else None
            shown[measure].plot(*zip(*sorted(points)), ".-", color=f"C{i}", label=label)
    picture.legend(loc="outside lower center", ncols=4, frameon=False)
    return picture


def _before(stages: dict[str, Any], stage: dict[str, Any], measure: str) -> int:
    """Steps of the stages that led to this one."""
    earlier = stages.get(stage["start"])
    if earlier is None or stage["learns"] == "search":
        return 0
    counts = earlier["learns"] != "search" and (measure == "mask" or earlier["learns"] != "prompt")
    return _before(stages, earlier, measure) + counts * earlier["steps"]


def _of_stage(run: Path, stage: dict[str, Any], stages: dict[str, Any]) -> Iterator[Curve]:
    """A stage that only finds has masks and no depth of its own; without a prompt there are no masks."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run / "curves" / stage["name"]
    if not folder.is_dir():
        return
    events = EventAccumulator(str(folder), {"images": 1})
    events.Reload()
    for measure in ("mask",) if stage["learns"] in ("prompt", "search") else PANELS:
        tag = f"validation/error_{measure}"
        if tag in events.Tags()["scalars"]:
            points, before = events.Scalars(tag), _before(stages, stage, measure)
            steps, errors = [before + p.step for p in points], [p.value for p in points]
            yield Curve(run.name, stage["learns"], measure, steps, errors)
