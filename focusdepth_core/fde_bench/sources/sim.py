"""Scenes of ``python -m focusdepth_core.sim.generate``; root: its OUT, with SPLIT/SEED folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from focusdepth_core.fde_bench.image_files import read_depth, read_ids
from focusdepth_core.fde_bench.source import SPLITS, Instance, SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.reading import each
from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.sim.splits import SCENE_FILE
from focusdepth_core.sim.texts import Described, texts_of


@dataclass(frozen=True)
class Sim:
    root: Path
    name = "sim"
    licence = "Apache-2.0"
    mask_source = "true"

    def items(self) -> list[str]:
        """SPLIT/SEED of every finished scene."""
        scenes = [s for split in SPLITS for s in sorted(self.root.glob(f"{split}/[0-9]*/{SCENE_FILE}"))]
        if not scenes:
            raise SourceError(f"no scene in {self.root}; make some with python -m focusdepth_core.sim.generate")
        return [scene.parent.relative_to(self.root).as_posix() for scene in scenes]

    def frames(self, item: str) -> Iterator[SourceFrame | SourceError | OSError]:
        scene = json.loads((self.root / item / SCENE_FILE).read_text())
        return each(lambda record: self._frame(item, record, scene["depth_scale"]), scene["frames"])

    def _frame(self, item: str, record: dict, depth_scale: float) -> SourceFrame:
        stem = self.root / item / record["name"]
        ids = read_ids(stem.with_name(f"{stem.name}_ids.png"))
        depth = read_depth(stem.with_name(f"{stem.name}_depth.png"))
        masks = [ids == target["id"] for target in record["targets"]]
        texts = texts_of([_described(target, mask, depth) for target, mask in zip(record["targets"], masks)])
        return SourceFrame(
            name=f"{item}/{record['name']}",
            group=item.partition("/")[2],
            split=item.partition("/")[0],
            image=stem.with_suffix(".jpg"),
            depth=stem.with_name(f"{stem.name}_depth.png"),
            depth_scale=depth_scale,
            instances=tuple(_instance(*one) for one in zip(record["targets"], masks, texts)),
            intrinsics=Intrinsics(**record["intrinsics"]),
        )


def _described(target: dict, mask: np.ndarray, depth: np.ndarray) -> Described:
    x = (target["box"][0] + target["box"][2]) / (2 * mask.shape[1])
    return Described(target["category"], target["colour"], x, float(np.median(depth[mask])))


def _instance(target: dict, mask: np.ndarray, texts: tuple[str, ...]) -> Instance:
    category = target["category"]
    return Instance(mask, category, category, texts, target["visible_fraction"])
