"""RLBench demonstrations (James et al. 2020), as ``tools/dataset_generator.py`` and its forks save them.

Layouts, both below ``root``::

    <task>/variation0/episodes/episode0/         stock
    <task>/all_variations/episodes/episode0/     YARR, PerAct
        {front,wrist,overhead,left_shoulder,...}_{rgb,depth,mask}/0.png
        low_dim_obs.pkl

Generate them with RLBench (https://github.com/stepjam/RLBench), or take those of PerAct. RLBench is licensed for
non-commercial use; results may be published if RLBench is named.

- depth: 24 bits in R, G, B from the far clipping plane down, ``near + x * (far - near)``; near and far differ by
  camera and step and come from ``low_dim_obs.pkl``. Nothing was hit at x = 1: missing.
- mask: the handle of the visible shape, R + 256 G + 65536 B.
- intrinsics have negative focal lengths (the camera's x and y axes point left and up); the principal point counts from
  pixel centres: four views of one scene agree to 0.03 mm with it, and to 2.5 mm if it is moved by half a pixel.
- ``low_dim_obs.pkl`` is read by ``safe_pickle`` and needs no RLBench; the other pickles are not read.

Handles have no names in the files. Write them once per task into the side file described in ``object_names``; with
RLBench running, ``{o.get_handle(): o.get_name() for o in task._task.get_base().get_objects_in_tree()}`` lists them.
Several handles can be one object, such as the frame and the legs of a cabinet.

Splits: a hash of the episode's path puts 15 % of the episodes into "test" and 10 % into "val".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focusdepth_core.fde_bench.image_files import read_rgb
from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.object_names import ObjectNames, Objects, instances
from focusdepth_core.fde_bench.sources.reading import camera_of, each
from focusdepth_core.fde_bench.sources.safe_pickle import Array, Record, load
from focusdepth_core.fde_bench.sources.splits import split_of

DEMO = "low_dim_obs.pkl"
CLASSES = (("rlbench.demo", "Demo"), ("rlbench.backend.observation", "Observation"))
FARTHEST = 2**24 - 1
LAYOUTS = ("variation[0-9]*", "all_variations")


@dataclass(frozen=True)
class RLBench:
    """``root``: the folder of the tasks; ``names``: the file of object names."""

    root: Path
    names: Path | None = None

    name = "rlbench"
    licence = "RLBench: non-commercial, results with attribution"
    mask_source = "true"

    def _read_names(self) -> ObjectNames:
        return ObjectNames.read(self.names, "RLBench stores only handles in its masks")

    def items(self) -> list[str]:
        """The episodes' folders."""
        self._read_names()
        demos = [demo for layout in LAYOUTS for demo in self.root.glob(f"*/{layout}/episodes/episode[0-9]*/{DEMO}")]
        if not demos:
            expected = f"<task>/variation0/episodes/episode0/{DEMO}"
            raise SourceError(f"no episode in {self.root}; expected {expected}, or all_variations for variation0")
        return sorted(demo.parent.relative_to(self.root).as_posix() for demo in demos)

    def frames(self, item: str) -> Iterator[SourceFrame | SourceError | OSError]:
        episode = _Episode(self.root / item, item, self._read_names().of(item.partition("/")[0], item))
        yield from each(episode.frame, episode.views())
        if not episode.named:
            raise SourceError(
                f"no handle of {item} has a name in {self.names}: its masks hold {sorted(episode.handles)[:40]}; "
                "handles differ between releases of RLBench, so list them again"
            )


class _Episode:
    """``handles``: all that occurred in the frames read so far; ``named``: whether one of them is in ``objects``."""

    def __init__(self, folder: Path, item: str, objects: Objects) -> None:
        self.folder, self.item, self.objects = folder, item, objects
        self.steps = _steps(folder / DEMO)
        self.handles: set[int] = set()

    @property
    def named(self) -> bool:
        return any(self.handles.intersection(group) for group in self.objects) or not self.handles

    def views(self) -> list[tuple[str, int]]:
        """(camera, step) of every image."""
        images = [(p.parent.name.removesuffix("_rgb"), p.stem) for p in self.folder.glob("*_rgb/*.png")]
        return sorted((camera, int(step)) for camera, step in images if step.isdecimal())

    def frame(self, view: tuple[str, int]) -> SourceFrame:
        camera, step = view
        if step >= len(self.steps):
            raise SourceError(f"{self.folder / DEMO} has {len(self.steps)} steps; there is an image of step {step}")
        lens = _Lens.of(self.steps[step], camera, self.folder / DEMO)
        handles = _code(read_rgb(self.folder / f"{camera}_mask" / f"{step}.png"), (1, 256, 65536))
        self.handles.update(np.unique(handles).tolist())
        return SourceFrame(
            name=f"{self.item}/{camera}_{step}",
            group=self.item,
            split=split_of(f"rlbench/{self.item}"),
            image=self.folder / f"{camera}_rgb" / f"{step}.png",
            depth=lens.depth(_code(read_rgb(self.folder / f"{camera}_depth" / f"{step}.png"), (65536, 256, 1))),
            depth_scale=1.0,
            instances=instances(handles, self.objects),
            intrinsics=camera_of(lens.k, handles.shape, self.folder / DEMO),
        )


@dataclass(frozen=True)
class _Lens:
    """A camera at one step. ``near``, ``far``: metres; ``k``: fx, fy, cx, cy in pixels."""

    near: float
    far: float
    k: tuple[float, float, float, float]

    @classmethod
    def of(cls, misc: dict[str, Any], camera: str, demo: Path) -> _Lens:
        near, far, k = (misc.get(f"{camera}_camera_{name}") for name in ("near", "far", "intrinsics"))
        if not (isinstance(near, float) and isinstance(far, float) and 0 < near < far < math.inf):
            raise SourceError(f"{demo}: the clipping planes of camera '{camera}' are {near} and {far}, not metres")
        if not isinstance(k, Array) or k.value.shape != (3, 3):
            raise SourceError(f"{demo}: camera '{camera}' has no 3 x 3 intrinsics")
        (fx, _, cx), (_, fy, cy), _ = k.value.astype(float).tolist()
        return cls(near, far, (abs(fx), abs(fy), cx, cy))

    def depth(self, code: np.ndarray) -> np.ndarray:
        """H,W 24-bit values to float32 metres, 0 = missing."""
        metres = self.near + code * ((self.far - self.near) / FARTHEST)
        return np.where(code < FARTHEST, metres, 0).astype(np.float32)


def _code(rgb: np.ndarray, weights: tuple[int, int, int]) -> np.ndarray:
    """H,W int32; in uint8, as upstream computes it, it would overflow."""
    return rgb.astype(np.int32) @ np.array(weights, np.int32)


def _steps(path: Path) -> list[dict[str, Any]]:
    """What each observation of a demonstration says about its cameras."""
    demo = load(path, CLASSES)
    observations = demo.fields.get("_observations") if isinstance(demo, Record) else None
    if not isinstance(observations, list):
        raise SourceError(f"{path} holds no demonstration")
    steps = [o.fields.get("misc") if isinstance(o, Record) else None for o in observations]
    if not all(isinstance(step, dict) for step in steps):
        raise SourceError(f"{path} has observations without 'misc', where near, far and the intrinsics should be")
    return steps
