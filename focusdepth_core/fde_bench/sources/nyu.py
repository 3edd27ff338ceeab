"""NYU Depth v2, the 1449 labelled frames: ``nyu_depth_v2_labeled.mat`` and ``splits.mat`` in one folder.

Get both from https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html (Silberman et al. 2012). No licence is stated;
the data are in use for academic work.

- The .mat is HDF5 (version 7.3), and MATLAB's axes come reversed: images N,3,W,H; depths, rawDepths, labels and
  instances N,W,H; ``names`` and ``scenes`` hold references to strings as u16.
- ``depths`` are in-painted; only pixels that were measured (``rawDepths`` > 0) are kept, all others are missing.
- ``instances`` are numbered within a label, so an object is a pair (label, instance).
- The frame is cropped to the part that colour and depth share (rows 45 to 471, columns 41 to 601, Eigen et al. 2014).
- Walls, floors, ceilings and the "otherstructure" of the 40 classes of Gupta et al. 2013 are no targets
  (nyu_stuff.json).

Splits: the 654 official test frames are "test". Of the scenes of the 795 training frames, a hash of the name puts 10 %
into "val"; parts of one room, such as bedroom_0078a and bedroom_0078b, go together. Without ``splits.mat`` the same
hash also chooses 15 % of the rooms as "test", which cannot be compared with published figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

import numpy as np

from focusdepth_core.fde_bench.rules import normalised
from focusdepth_core.fde_bench.source import Instance, SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.hdf5 import dataset, opened, read, text
from focusdepth_core.fde_bench.sources.mat import read_mat
from focusdepth_core.fde_bench.sources.reading import each
from focusdepth_core.fde_bench.sources.splits import split_of
from focusdepth_core.perception.frame import Intrinsics

if TYPE_CHECKING:
    import h5py

WIDTH, HEIGHT = 640, 480
TOP, BOTTOM, LEFT, RIGHT = 45, 471, 41, 601
# Of the colour camera, from camera_params.m of the NYU toolbox, moved into the crop.
INTRINSICS = Intrinsics(518.8579, 519.4696, 325.5824 - LEFT, 253.7362 - TOP, RIGHT - LEFT, BOTTOM - TOP)
FRAMES = 50  # of one item
STUFF = frozenset(json.loads(Path(__file__).with_name("nyu_stuff.json").read_text()))


@dataclass(frozen=True)
class NYU:
    """``root``: the folder with ``nyu_depth_v2_labeled.mat``."""

    root: Path

    name = "nyu"
    licence = "NYU Depth v2: none stated, academic use"
    mask_source = "true"

    @property
    def _file(self) -> Path:
        return self.root / "nyu_depth_v2_labeled.mat"

    def items(self) -> list[str]:
        with opened(self._file) as file:
            count = len(dataset(file, "depths", (None, WIDTH, HEIGHT), "f4"))
        self._check_splits(count)
        return [f"{start:04d}" for start in range(0, count, FRAMES)]

    def frames(self, item: str) -> Iterator[SourceFrame | SourceError | OSError]:
        with opened(self._file) as file:
            labeled = _Labeled(file)
            indices = range(int(item), min(int(item) + FRAMES, len(labeled)))
            yield from each(lambda i: self._frame(labeled, i), indices)

    def _frame(self, labeled: _Labeled, index: int) -> SourceFrame:
        scene = labeled.scene(index)
        return SourceFrame(
            name=f"{index + 1:04d}",  # as in the official lists
            group=scene,
            split=self._split(index, scene.rstrip(ascii_lowercase)),
            image=labeled.image(index),
            depth=labeled.depth(index),
            depth_scale=1.0,
            instances=labeled.instances(index),
            intrinsics=INTRINSICS,
        )

    def _split(self, index: int, room: str) -> str:
        if self._official is None:
            return split_of(f"nyu/{room}")
        return "test" if index in self._official["test"] else split_of(f"nyu/{room}", test=0)

    @cached_property
    def _official(self) -> dict[str, frozenset[int]] | None:
        """Indices from 0 (the file counts from 1); None without ``splits.mat``."""
        path = self.root / "splits.mat"
        if not path.exists():
            return None
        found = read_mat(path, ("trainNdxs", "testNdxs"))
        if len(found) < 2:
            raise SourceError(f"{path} has {', '.join(found) or 'neither list'}; expected trainNdxs and testNdxs")
        return {name: frozenset((found[f"{name}Ndxs"].ravel() - 1).tolist()) for name in ("train", "test")}

    def _check_splits(self, count: int) -> None:
        if self._official is None:
            return
        train, test = self._official["train"], self._official["test"]
        if train & test or train | test != set(range(count)):
            sizes = f"{len(train)} training and {len(test)} test frames"
            raise SourceError(f"{self.root / 'splits.mat'} has {sizes}, which do not part the {count} frames from 1")


class _Labeled:
    """The arrays of the file, checked, with the axes of images."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        count = len(dataset(file, "depths", (None, WIDTH, HEIGHT), "f4"))
        planes = {"depths": "f4", "rawDepths": "f4", "labels": "u2", "instances": "u1"}
        self._planes = {name: dataset(file, name, (count, WIDTH, HEIGHT), kind) for name, kind in planes.items()}
        self._images = dataset(file, "images", (count, 3, WIDTH, HEIGHT), "u1")
        self._scenes = dataset(file, "scenes", (1, count), "O")
        self._names = [text(file, reference) for reference in dataset(file, "names", (1, None), "O")[0]]

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> np.ndarray:
        """H,W,3 uint8 RGB."""
        return np.ascontiguousarray(read(self._images, index).transpose(2, 1, 0)[TOP:BOTTOM, LEFT:RIGHT])

    def depth(self, index: int) -> np.ndarray:
        """H,W float32 metres, 0 where nothing was measured."""
        return np.where(self._plane("rawDepths", index) > 0, self._plane("depths", index), np.float32(0))

    def scene(self, index: int) -> str:
        return text(self._file, self._scenes[0, index])

    def instances(self, index: int) -> tuple[Instance, ...]:
        """Raises ``SourceError`` for a label without a name."""
        labels = self._plane("labels", index)
        if labels.max() > len(self._names):
            raise SourceError(
                f"{self._file.filename}: frame {index + 1} has label {labels.max()} of {len(self._names)} names"
            )
        pairs = labels.astype(np.int32) * 256 + self._plane("instances", index)
        objects = [(pair, self._names[pair // 256 - 1]) for pair in np.unique(pairs[labels > 0])]
        return tuple(
            Instance(pairs == pair, normalised(name), name, (name,)) for pair, name in objects if name not in STUFF
        )

    def _plane(self, name: str, index: int) -> np.ndarray:
        return read(self._planes[name], index).T[TOP:BOTTOM, LEFT:RIGHT]
