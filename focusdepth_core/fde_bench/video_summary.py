"""The records of all videos as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from focusdepth_core.fde_bench.report import markdown
from focusdepth_core.fde_bench.video_scale import frames_until_right

Records = Sequence[dict]
EACH, FILTERED = FITS = ("each frame alone", "filtered")


def summary(found: dict[str, Records]) -> dict:
    """``found``: by question, as the modules that ask them yield."""
    scale = [r | {"fit": FITS[r["filtered"]]} for r in found["scale"]]
    return {
        "flicker": _grouped(found["flicker"], ("kind", "net", "depth", "region"), _flicker),
        "scale": _grouped(scale, ("sensor", "net", "fit"), _scale),
        "jumps": _grouped(found["jumps"], ("kind",), _jump),
        "cadence": _grouped(found["cadence"], ("way", "interval"), _cadence),
    }


def _grouped(records: Records, keys: Sequence[str], summarise: Callable[[Records], dict]) -> dict:
    """Nested by the keys, in the order in which their values come."""
    if not keys:
        return summarise(records)
    values = dict.fromkeys(r[keys[0]] for r in records)
    return {str(v): _grouped([r for r in records if r[keys[0]] == v], keys[1:], summarise) for v in values}


def _flicker(records: Records) -> dict:
    return {"change": _mean(records, "change"), "deviation": _mean(records, "deviation"), "videos": len(records)}


def _scale(records: Records) -> dict:
    silent = np.mean([np.isnan(r["image"]) for r in records])
    quantiles = {name: _quantiles(records, name) for name in ("target_m", "target", "image")}
    return quantiles | {"frames": len(records), "without_metres": _rounded(silent)}


def _jump(records: Records) -> dict:
    until = [frames_until_right(r) for r in records]
    silent = [np.count_nonzero(np.isnan(r["error"])) for r in records]
    wrong = [np.count_nonzero(~r["right"] & ~np.isnan(r["error"])) for r in records]
    errors = np.array([r["error"] for r in records])
    return {
        "jumps": len(records),
        "frames_until_right": {"p50": float(np.median(until)), "max": max(until)},
        "frames_without_metres": _rounded(np.mean(silent)),
        "frames_wrong": _rounded(np.mean(wrong)),
        "error": [_rounded(np.median(e[~np.isnan(e)])) if (~np.isnan(e)).any() else None for e in errors.T],
    }


def _cadence(records: Records) -> dict:
    frames = sum(not np.isnan(r["absrel"]) for r in records)
    return {name: _mean(records, name) for name in ("absrel", "iou", "ghost")} | {"frames": frames}


def _mean(records: Records, name: str) -> float | None:
    values = np.array([r[name] for r in records])
    return _rounded(np.mean(values[~np.isnan(values)])) if not np.isnan(values).all() else None


def _quantiles(records: Records, name: str) -> dict[str, float | None]:
    values = np.array([r[name] for r in records])
    values = values[~np.isnan(values)]
    return {f"p{q}": _rounded(np.percentile(values, q)) if values.size else None for q in (50, 95)}


def _rounded(value: Any) -> float:
    return float(f"{float(value):.4g}")


def tables(result: dict) -> str:
    """All four questions."""
    return "\n\n".join([_flicker_table(result), _scale_table(result), _jump_table(result), _cadence_table(result)])


def _flicker_table(result: dict) -> str:
    rows = [
        [kind, f"{depth}, {region}", *(_percent(nets[net][depth][region][name]) for net in nets for name in NAMES)]
        for kind, nets in result["flicker"].items()
        for depth, regions in next(iter(nets.values())).items()
        for region in regions
    ]
    head = "flicker ↓ | depth, region | plain: change per frame | deviation | focused: change per frame | deviation"
    return markdown(head, rows)


NAMES = ("change", "deviation")


def _scale_table(result: dict) -> str:
    rows = [
        [
            f"a sensor that {sensor}" if sensor.startswith("covers") else sensor,
            f"{net}, {fit}",
            *(_percent(value["target"][q]) for q in ("p50", "p95")),
            *("-" if v is None else f"{100 * v:.1f} cm" for v in value["target_m"].values()),
            _percent(value["image"]["p50"]),
        ]
        for sensor, nets in result["scale"].items()
        for net, fits in nets.items()
        for fit, value in fits.items()
    ]
    return markdown("metres | net, fit | target p50 ↓ | p95 ↓ | target p50 ↓ | p95 ↓ | image p50 ↓", rows)


def _jump_table(result: dict) -> str:
    rows = [
        [
            kind,
            f"{jump['frames_until_right']['p50']:g} (at most {jump['frames_until_right']['max']})",
            f"{jump['frames_wrong']:.1f}",
            f"{jump['frames_without_metres']:.1f}",
        ]
        for kind, jump in result["jumps"].items()
    ]
    return markdown("jump | frames until right, median | frames with wrong metres, mean | without metres, mean", rows)


def _cadence_table(result: dict) -> str:
    rows = [
        [way, interval, _percent(value["absrel"]), "-" if value["iou"] is None else f"{value['iou']:.2f}"]
        + [_percent(value["ghost"])]
        for way, intervals in result["cadence"].items()
        for interval, value in intervals.items()
    ]
    return markdown("cadence | every Nth frame | AbsRel of the target ↓ | IoU ↑ | found while hidden ↓", rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
