"""Judge a model on generated scenes: ``python -m focusdepth_core.fde_bench.evaluate MODEL DATA/test --out FILE``.

Every usable target of a frame is a pair. The focused depth of its box and the unprompted depth of the frame each get
one global alignment to the truth; AbsRel and delta_1 are averaged over a pair's pixels, then over pairs. Confidence
intervals are 95 % paired bootstrap over scenes. Targets of held-out categories are listed apart.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from tqdm import tqdm

from focusdepth_core.fde_bench.metrics import PairMetrics, evaluate_pair
from focusdepth_core.fde_bench.packed import read_frame, scene_folders, usable_targets
from focusdepth_core.machine import machine
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target
from focusdepth_core.sim.splits import SCENE_FILE, held_out_categories

REGIONS = ("foreground", "band", "background", "global")
BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Pair:
    """One target: the errors of both nets, and the overlap of the predicted with the true mask."""

    scene: int
    category: str
    mask_iou: float
    focus: PairMetrics
    plain: PairMetrics


def pairs_of_scene(pipeline: Pipeline, folder: Path) -> Iterator[Pair]:
    """Evaluate the frames of one generated scene at their own size."""
    scene = json.loads((folder / SCENE_FILE).read_text())
    for record in scene["frames"]:
        image, scaled_depth, ids = read_frame(folder / record["name"])
        depth = scaled_depth.astype(np.float32) / scene["depth_scale"]
        frame = Frame(image)
        plain = pipeline.process(frame, []).relative_depth
        for target in usable_targets(record):
            mask = ids == target["id"]
            result = pipeline.process(frame, [Target(str(target["id"]), tuple(target["box"]))])
            found = result.targets[0].mask
            iou = np.count_nonzero(found & mask) / np.count_nonzero(found | mask)
            judged = [evaluate_pair(raw, result.space, depth, mask) for raw in (result.relative_depth, plain)]
            yield Pair(scene["seed"], target["category"], iou, *judged)


def summary(pairs: list[Pair]) -> dict:
    """Mean metrics of both nets, the relative change of AbsRel with its interval, and the mean IoU of the masks."""
    result: dict = {"pairs": len(pairs), "scenes": len({p.scene for p in pairs})}
    for net in ("focus", "plain"):
        regions = [getattr(p, net).regions for p in pairs]
        result[net] = {
            r: {m: _mean([getattr(x[r], m) for x in regions]) for m in ("absrel", "delta_1")} for r in REGIONS
        }
        result[net]["clipped"] = _mean([getattr(p, net).alignment.clipped for p in pairs])
        result[net]["failed_alignments"] = sum(getattr(p, net).alignment.failed for p in pairs)
    result["absrel_change"] = {r: _change(pairs, r) for r in REGIONS}
    result["mask_iou"] = round(float(np.mean([p.mask_iou for p in pairs])), 4)
    return result


def _mean(values: list[float]) -> float:
    return round(float(np.nanmean(values)), 4)


def _change(pairs: list[Pair], region: str) -> dict[str, float]:
    """Relative change of AbsRel from plain to focus, with its 95 % interval over resampled scenes."""
    scenes = np.unique([p.scene for p in pairs], return_inverse=True)[1]
    values = np.array([[p.focus.regions[region].absrel, p.plain.regions[region].absrel] for p in pairs])
    kept = np.isfinite(values).all(1)
    sums = np.stack([np.bincount(scenes[kept], values[kept, i], scenes.max() + 1) for i in (0, 1)])
    drawn = np.random.default_rng(0).integers(0, sums.shape[1], (BOOTSTRAPS, sums.shape[1]))
    focus, plain = sums[:, drawn].sum(2)
    low, high = np.quantile(focus / plain - 1, [0.025, 0.975])
    mean = sums[0].sum() / sums[1].sum() - 1
    return {"mean": round(float(mean), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def evaluate(model_dir: Path, split: Path, scenes: int) -> dict:
    """Raises ``FileNotFoundError`` if ``split`` holds no scene."""
    folders = scene_folders(split)[: scenes or None]
    pipeline = Pipeline.open(model_dir)
    pairs = [pair for folder in tqdm(folders, unit="scene") for pair in pairs_of_scene(pipeline, folder)]
    held_out = held_out_categories()
    groups = {
        "all": pairs,
        "trained_categories": [p for p in pairs if p.category not in held_out],
        "held_out_categories": [p for p in pairs if p.category in held_out],
    }
    about = {"model": pipeline.model.name, "split": split.name, "date": date.today().isoformat(), "machine": machine()}
    return about | {name: summary(group) for name, group in groups.items() if group}


def table(result: dict) -> str:
    """AbsRel as Markdown."""
    lines = ["| targets | region | plain | focus | change (95 %) |", "|---|---|---|---|---|"]
    for group, values in result.items():
        if not isinstance(values, dict):
            continue
        for region in ("foreground", "band", "global"):
            change = values["absrel_change"][region]
            numbers = " | ".join(f"{values[net][region]['absrel']:.4f}" for net in ("plain", "focus"))
            interval = f"{change['mean']:+.1%} ({change['low']:+.1%} to {change['high']:+.1%})"
            lines.append(f"| {group.replace('_', ' ')} ({values['pairs']}) | {region} | {numbers} | {interval} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("split", type=Path, help="folder of python -m focusdepth_core.sim.generate, OUT/test")
    parser.add_argument("--scenes", type=int, default=0, help="only that many scenes; 0 takes all")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    args = parser.parse_args()
    result = evaluate(args.model, args.split, args.scenes)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
