"""An evaluation as JSON and as Markdown."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from focusdepth_core.fde_bench.pairs import METRICS, RELATIVE, Pairs
from focusdepth_core.fde_bench.prompts import JITTERED, WRONG
from focusdepth_core.fde_bench.summary import Summary
from focusdepth_core.machine import commit, machine, versions

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "torch", "pyarrow")
SIZES = {"small": (0, 0.005), "medium": (0.005, 0.02), "large": (0.02, 1.01)}  # share of the image
HIDDEN = 0.7  # visible fraction below which a target counts as partly hidden
SHOWN = ("absrel/foreground", "absrel/band", "absrel/global")
TITLES = {
    "absrel": "AbsRel ↓",
    "delta_1": "delta_1 ↑",
    "boundary_f1": "boundary F1 ↑",
    "flying_pixels": "flying pixels ↓",
    "depth_order": "depth order ↑",
    "foreground": "foreground",
    "band": "10 px band",
    "band_5px": "5 px band",
    "background": "background",
    "global": "whole image",
}


def provenance() -> dict:
    """When, with which code and on what."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(PACKAGES),
    }


def results(pairs: Pairs, net: str, baseline: str) -> dict:
    """``targets``: the mean over the sources with true masks, for all targets and for some; ``sources``: each alone."""
    true = pairs.where(pairs.is_true) if pairs.is_true.any() else pairs
    chosen = {"all": true} | {name: true.where(where) for name, where in _choices(true).items() if where.any()}
    sources = {str(name): pairs.where(pairs.sources == name) for name in np.unique(pairs.sources)}
    return {
        kind: {name: Summary(some).as_json(net, baseline) for name, some in parts.items()}
        for kind, parts in {"targets": chosen, "sources": sources}.items()
    }


def _choices(pairs: Pairs) -> dict[str, np.ndarray]:
    held_out, area, visible = (pairs[name] for name in ("held_out", "area_share", "visible_fraction"))
    sizes = {name: (area >= low) & (area < high) for name, (low, high) in SIZES.items()}
    hidden = visible.astype(float) < HIDDEN  # not where it is unknown, which is NaN
    held = {"held-out categories": held_out, "trained categories": ~held_out} if held_out.any() else {}
    return held | {f"{name} targets": chosen for name, chosen in sizes.items()} | {"partly hidden targets": hidden}


def disturbances(pairs: Pairs, baseline: str) -> dict:
    """Of each disturbed prompt, against the plain net, on the pairs with true masks for which there is one: an image
    with a single target has no wrong one."""
    true = pairs.where(pairs.is_true) if pairs.is_true.any() else pairs
    nets = [net for net in (*JITTERED, WRONG) if net in true.nets]
    asked = {net: true.where(np.isfinite(true.metric(net, "absrel/global"))) for net in nets}
    return {net: Summary(some).as_json(net, baseline) for net, some in asked.items() if len(some)}


def write_json(path: Path, result: dict) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    part.replace(path)


def tables(result: dict, net: str, baseline: str) -> str:
    """Markdown: AbsRel of all parts, every metric of the whole, and the disturbed prompts if there are any."""
    whole = result["targets"]["all"]
    parts = result["targets"] | (result["sources"] if len(result["sources"]) > 1 else {})
    head = f"{baseline} | {net} | change (95 %)"
    by_part = [[f"{name} ({part['pairs']})", part, metric] for name, part in parts.items() for metric in SHOWN]
    blocks = [
        markdown(
            f"targets (pairs) | AbsRel | {head}", [[n, _title(m), *_cells(p, net, baseline, m)] for n, p, m in by_part]
        ),
        markdown(f"all targets | {head}", [[_title(m, True), *_cells(whole, net, baseline, m)] for m in METRICS]),
    ]
    disturbed = {f"{net}: as it is": (net, whole), **{n: (n, part) for n, part in result.get("disturbed", {}).items()}}
    if len(disturbed) > 1:
        rows = [[n, _title(m), *_cells(p, key, baseline, m)] for n, (key, p) in disturbed.items() for m in SHOWN]
        blocks.append(markdown(f"prompt | AbsRel | {baseline} (empty prompt) | prompted | change (95 %)", rows))
    failed = ", ".join(f"{name} {whole[name]['failed']}" for name in (baseline, net))
    iou = "" if whole["mask_iou"] is None else f" Mean IoU of the predicted masks: {whole['mask_iou']:.2f}."
    return "\n\n".join([*blocks, f"Failed alignments: {failed}.{iou}"])


def markdown(head: str, rows: list[list[str]]) -> str:
    """Markdown; a first cell like the one above it is left empty."""
    lines = [f"| {head} |", "|---" * (head.count("|") + 1) + "|"]
    for above, row in zip([[""], *rows], rows):
        lines.append("| " + " | ".join(["" if row[0] == above[0] else row[0], *row[1:]]) + " |")
    return "\n".join(lines)


def _title(metric: str, whole: bool = False) -> str:
    name, region = metric.split("/")
    return f"{TITLES[name]}, {TITLES[region]}" if whole else TITLES[region]


def _cells(part: dict, net: str, baseline: str, metric: str) -> list[str]:
    """The values of baseline and net, and the change with its interval."""
    values = ["-" if part[name][metric] is None else f"{part[name][metric]:.4f}" for name in (baseline, net)]
    return [*values, change_text(part["change"][metric], metric)]


def change_text(change: dict, metric: str) -> str:
    if change["mean"] is None:
        return "-"
    relative = metric.startswith(RELATIVE)
    mean, low, high = (f"{100 * v:+.1f}" if relative else f"{v:+.4f}" for v in change.values())
    return f"{mean} % ({low} to {high})" if relative else f"{mean} ({low} to {high})"
