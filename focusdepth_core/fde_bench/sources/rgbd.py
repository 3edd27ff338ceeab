"""Any RGB-D frames, one JSON each; root: their folder, which may have subfolders.

Beside ``NAME.json`` lie ``NAME_rgb.{png,jpg,ppm}``, ``NAME_depth.{png,pgm}`` (16 bits, 0 = missing) and
``NAME_inst.png`` (8 or 16 bits, 0 = no object). The JSON says:

* ``depth_units_per_m``: metres = value / that
* ``targets``: list of ``id`` (its value in the instance map) and ``category``, and where known ``texts`` (list) and
  ``visible_fraction``
* ``K``: 3 x 3, or null
* ``split`` ("test" if left out), ``group`` (its folder, or NAME in the root), ``mask_source`` ("true"), ``licence``
  ("unknown")
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from focusdepth_core.fde_bench.image_files import read_ids
from focusdepth_core.fde_bench.source import Instance, SourceError, SourceFrame
from focusdepth_core.perception.frame import Intrinsics

SUFFIXES = {"rgb": ("png", "jpg", "jpeg", "ppm"), "depth": ("png", "pgm"), "inst": ("png",)}


@dataclass(frozen=True)
class RGBD:
    root: Path
    name = "rgbd"
    licence = "unknown"
    mask_source = "true"

    def items(self) -> list[str]:
        """The JSON files that have a colour image."""
        found = [path for path in sorted(self.root.rglob("*.json")) if _beside(path, "rgb")]
        if not found:
            raise SourceError(f"{self.root} has no NAME.json with a NAME_rgb.png or .jpg beside it")
        return [path.relative_to(self.root).with_suffix("").as_posix() for path in found]

    def frames(self, item: str) -> Iterator[SourceFrame | SourceError]:
        path = self.root / f"{item}.json"
        try:
            yield self._frame(item, path, json.loads(path.read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError) as error:
            missing = f"{error} is missing" if isinstance(error, KeyError) else error
            yield SourceError(f"{path}: {missing}")

    def _frame(self, item: str, path: Path, about: dict) -> SourceFrame:
        files = {kind: _beside(path, kind) for kind in SUFFIXES}
        if not files["depth"]:
            raise SourceError(f"there is no {path.stem}_depth.png or .pgm")
        scale = about["depth_units_per_m"]
        if not (isinstance(scale, (int, float)) and scale > 0):
            raise SourceError(f"depth_units_per_m is {scale}; metres = value / depth_units_per_m, with it above 0")
        ids = read_ids(files["inst"]) if files["inst"] else None
        if ids is None and about["targets"]:
            raise SourceError(f"there are targets but no {path.stem}_inst.png")
        return SourceFrame(
            name=re.sub(r"[^a-z0-9_/.-]", "_", item.lower()),
            group=about.get("group") or (Path(item).parent.as_posix() if "/" in item else item),
            split=about.get("split", "test"),
            image=files["rgb"],
            depth=files["depth"],
            depth_scale=float(scale),
            instances=tuple(_instance(target, ids) for target in about["targets"]),
            intrinsics=_intrinsics(about.get("K"), ids),
            mask_source=about.get("mask_source"),
            licence=about.get("licence"),
        )


def _beside(path: Path, kind: str) -> Path | None:
    candidates = (path.with_name(f"{path.stem}_{kind}.{suffix}") for suffix in SUFFIXES[kind])
    return next((p for p in candidates if p.is_file()), None)


def _instance(target: dict, ids: np.ndarray) -> Instance:
    mask = ids == target["id"]
    if not mask.any():
        raise SourceError(f"target {target['id']} ({target['category']}) has no pixel in the instance map")
    name = str(target["category"])
    return Instance(mask, name, name, tuple(target.get("texts", ())), target.get("visible_fraction"))


def _intrinsics(k: list[list[float]] | None, ids: np.ndarray | None) -> Intrinsics | None:
    if k is None or ids is None:
        return None
    height, width = ids.shape
    return Intrinsics(k[0][0], k[1][1], k[0][2], k[1][2], width, height)
