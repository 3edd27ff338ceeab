"""Any RGB-D frames, one JSON each; root: their folder, which may have subfolders.

Beside ``NAME.json`` lie ``NAME_rgb.{png,jpg,ppm}``, ``NAME_depth.{png,pgm}`` (16 bits, 0 = missing) and
``NAME_inst.png`` (8 or 16 bits, 0 = no object). The JSON says:

* ``depth_units_per_m``: metres = value / that
* ``targets``: list of ``id`` (its value in the instance map) and ``category``, and where known ``texts`` (list) and
  ``visible_fraction``
* ``K``: 3 x 3, or null
* ``split`` ("test" if left out), ``group`` (its folder, or NAME in the root), ``mask_source`` ("true"; masks of any
  other source are judged apart), ``licence`` ("unknown")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focusdepth_core.fde_bench.image_files import read_ids
from focusdepth_core.fde_bench.source import SPLITS, Instance, SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.reading import (
    each,
    field,
    is_number,
    is_text,
    is_texts,
    optional,
    read_json_object,
)
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

    def frames(self, item: str) -> Iterator[SourceFrame | SourceError | OSError]:
        return each(self._frame, [item])

    def _frame(self, item: str) -> SourceFrame:
        path = self.root / f"{item}.json"
        about = read_json_object(path)
        try:
            return _frame(item, path, about)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from None


def _frame(item: str, path: Path, about: dict[str, Any]) -> SourceFrame:
    files = {kind: _beside(path, kind) for kind in SUFFIXES}
    if not files["depth"]:
        raise SourceError(f"there is no {path.stem}_depth.png or .pgm")
    targets = field(about, "targets", _is_targets, 'write a list such as [{"id": 1, "category": "mug"}], or []')
    ids = read_ids(files["inst"]) if files["inst"] else None
    if ids is None and targets:
        raise SourceError(f"there are targets but no {path.stem}_inst.png")
    scale = field(about, "depth_units_per_m", _is_positive, "metres = value / depth_units_per_m, a number above 0")
    return SourceFrame(
        name=re.sub(r"[^a-z0-9_/.-]", "_", item.lower()),
        group=_text(about, "group", "kitchen-3") or (Path(item).parent.as_posix() if "/" in item else item),
        split=field(about, "split", optional(lambda s: s in SPLITS), f"write one of {SPLITS}") or "test",
        image=files["rgb"],
        depth=files["depth"],
        depth_scale=float(scale),
        instances=tuple(_instance(target, ids) for target in targets),
        intrinsics=_intrinsics(about, ids),
        mask_source=_text(about, "mask_source", "true"),
        licence=_text(about, "licence", "CC BY 4.0"),
    )


def _beside(path: Path, kind: str) -> Path | None:
    candidates = (path.with_name(f"{path.stem}_{kind}.{suffix}") for suffix in SUFFIXES[kind])
    return next((p for p in candidates if p.is_file()), None)


def _instance(target: dict[str, Any], ids: np.ndarray) -> Instance:
    number = field(target, "id", _is_id, "write the object's value in the instance map, 1 to 65535")
    name = field(target, "category", is_text, f"write what target {number} is, such as 'mug', in quotes")
    texts = field(target, "texts", optional(is_texts), f'write a list for target {number}, such as ["red mug"]')
    visible = field(target, "visible_fraction", optional(_is_share), f"write a number 0 to 1 for target {number}")
    mask = ids == number
    if not mask.any():
        raise SourceError(f"target {number} ({name}) has no pixel in the instance map")
    return Instance(mask, name, name, tuple(texts or ()), visible)


def _intrinsics(about: dict[str, Any], ids: np.ndarray | None) -> Intrinsics | None:
    k = field(about, "K", optional(_is_matrix), "write 3 rows of 3 numbers, or null")
    if k is None or ids is None:
        return None
    height, width = ids.shape
    try:
        return Intrinsics(k[0][0], k[1][1], k[0][2], k[1][2], width, height)
    except ValueError as error:
        raise SourceError(f"'K' has a {error}") from None


def _text(about: dict[str, Any], name: str, example: str) -> str | None:
    return field(about, name, optional(is_text), f"write text in quotes, such as '{example}'")


def _is_targets(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(target, dict) for target in value)


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _is_id(value: Any) -> bool:
    return is_number(value) and isinstance(value, int) and 0 < value < 2**16


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_row, value))


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(is_number, value))
