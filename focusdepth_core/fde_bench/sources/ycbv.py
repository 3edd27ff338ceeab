"""YCB-Video (Xiang et al. 2018, https://rse-lab.cs.washington.edu/projects/posecnn/; MIT), in one of two layouts.

Toolbox, as released::

    data/0000/000001-{color,depth,label}.png, 000001-meta.mat
    image_sets/keyframe.txt (or keyframe.txt)    "0048/000001" per line

- label: class 1 to 21, at most one object of each, visible pixels only; depth: u16, metres = value / factor_depth,
  0 = missing; K and factor_depth from meta.mat, or the published ones where it is missing.
- ``data_syn`` has no background and is left out.

BOP, see ``ycbv_bop``: train_real/000000, test/000048. It is preferred where both are there, since it knows how much of
an object is visible.

Splits: scenes 0048 to 0059 are "test", of which only the 2949 key frames; a hash of the name puts 10 % of the other 80
scenes into "val".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from focusdepth_core.fde_bench.image_files import read_ids
from focusdepth_core.fde_bench.source import Instance, SourceError, SourceFrame
from focusdepth_core.fde_bench.sources import ycbv_bop
from focusdepth_core.fde_bench.sources.mat import read_mat
from focusdepth_core.fde_bench.sources.reading import camera_of, each
from focusdepth_core.fde_bench.sources.splits import split_of
from focusdepth_core.fde_bench.sources.ycb_objects import ycb_instance

FACTOR_DEPTH = 10000.0
# fx, fy, cx, cy of the two cameras, from DenseFusion's loader: scenes before 60, and the others.
FIRST_CAMERA = (1066.778, 1067.487, 312.9869, 241.3109)
SECOND_CAMERA = (1077.836, 1078.189, 323.7872, 279.6921)
SECOND_FROM = 60
TEST_SCENES = range(48, 60)
_KEYFRAME = re.compile(r"(\d{4})/(\d{6})")


@dataclass(frozen=True)
class YCBV:
    """``root``: the folder that holds ``data``, or ``train_real`` and ``test``."""

    root: Path

    name = "ycbv"
    licence = "MIT"
    mask_source = "true"

    def items(self) -> list[str]:
        """The scenes' folders."""
        folders = ycbv_bop.scenes(self.root) or sorted(self.root.glob("data/[0-9][0-9][0-9][0-9]"))
        if not folders:
            raise SourceError(f"no scene in {self.root}; expected data/0000, or train_real/000000 and test/000048")
        items = [folder.relative_to(self.root).as_posix() for folder in folders]
        if any(_split(item) == "test" for item in items if item.startswith("data/")) and not self._keyframes:
            raise SourceError(f"{self.root} has test scenes but no image_sets/keyframe.txt, which selects their frames")
        return items

    def frames(self, item: str) -> Iterator[SourceFrame | SourceError | OSError]:
        folder, split = self.root / item, _split(item)
        if not item.startswith("data/"):
            return ycbv_bop.frames(folder, item, split, self._keyframes)
        stems = sorted(path.name.removesuffix("-color.png") for path in folder.glob("*-color.png"))
        if split == "test":
            stems = sorted(image for scene, image in self._keyframes if int(scene) == int(folder.name))
        return each(lambda stem: _frame(folder, item, split, stem), stems)

    @cached_property
    def _keyframes(self) -> frozenset[tuple[str, str]]:
        """(scene of 4 digits, image of 6) of all key frames; empty if there is no list."""
        paths = [path for path in (self.root / "image_sets/keyframe.txt", self.root / "keyframe.txt") if path.is_file()]
        if not paths:
            return frozenset()
        lines = paths[0].read_text(encoding="utf-8", errors="replace").split()
        found = [_KEYFRAME.fullmatch(line) for line in lines]
        if not all(found):
            raise SourceError(f"{paths[0]} has the line '{lines[found.index(None)][:60]}'; expected 0048/000001")
        return frozenset((match[1], match[2]) for match in found)


def _split(item: str) -> str:
    scene = int(item.rpartition("/")[2])
    return "test" if scene in TEST_SCENES else split_of(f"ycbv/{scene:04d}", test=0)


def _frame(folder: Path, item: str, split: str, stem: str) -> SourceFrame:
    label = read_ids(folder / f"{stem}-label.png")
    k, factor_depth = _calibration(folder / f"{stem}-meta.mat")
    return SourceFrame(
        name=f"{item}/{stem}",
        group=f"{int(folder.name):04d}",
        split=split,
        image=folder / f"{stem}-color.png",
        depth=folder / f"{stem}-depth.png",
        depth_scale=factor_depth,
        instances=_instances(label, folder / f"{stem}-label.png"),
        intrinsics=camera_of(k, label.shape, folder / f"{stem}-meta.mat"),
    )


def _instances(label: np.ndarray, path: Path) -> tuple[Instance, ...]:
    found = np.unique(label[label > 0]).tolist()
    return tuple(ycb_instance(label == number, number, path) for number in found)


def _calibration(meta: Path) -> tuple[tuple[float, float, float, float], float]:
    """fx, fy, cx, cy and the divisor of the depth."""
    fallback = FIRST_CAMERA if int(meta.parent.name) < SECOND_FROM else SECOND_CAMERA
    if not meta.exists():
        return fallback, FACTOR_DEPTH
    found = read_mat(meta, ("intrinsic_matrix", "factor_depth"))
    k, factor = found.get("intrinsic_matrix"), found.get("factor_depth")
    if k is None or k.shape != (3, 3) or factor is None or factor.size != 1 or not factor.item() > 0:
        raise SourceError(f"{meta} has no 3 x 3 intrinsic_matrix and positive factor_depth")
    return (k[0, 0].item(), k[1, 1].item(), k[0, 2].item(), k[1, 2].item()), float(factor.item())
