"""RoboTwin 2.0 (https://github.com/RoboTwin-Platform/RoboTwin, MIT), collected with depth and segmentation.

Layout below ``root`` (the ``data`` folder of RoboTwin)::

    <task>/<config>/data/episode0.hdf5
        observation/<camera>/{rgb,depth,actor_segmentation,intrinsic_cv}

The published sets lack depth and segmentation, and files since 2026-08 (``<embodiment>/data/episode_0000000.hdf5``
with ``vision/cam_head/colors``) cannot hold segmentation at all: such files are refused. Collect again with ``depth:
true`` and ``actor_segmentation: true`` under ``data_type`` of ``task_config/<config>.yml`` and the writer
``envs/utils/pkl2hdf5.py``.

- rgb: one JPEG per frame, padded with zeros. RGB was encoded as if it were BGR, so ``cv2.imdecode`` gives RGB.
- depth: float64 millimetres; 0 (sky) is missing.
- actor_segmentation: the colour number ``per_scene_id`` of PIL's colours in order (robotwin_colours.json).
- intrinsic_cv: the principal point counts from the corner of the first pixel, as in SAPIEN.

Ids have no names in the files. When collecting, add to ``envs/_base_task.py`` where an episode ends ::

    json.dump({str(e.per_scene_id): e.name for e in self.scene.entities}, open(f"names{self.ep_num}.json", "w"))

and make of it the side file described in ``object_names``, with episodes as ``beat_block_hammer/demo/data/episode0``:
leave out robot, table and walls, and join the links of one object.

Splits: a hash of the episode's path puts 15 % of the episodes into "test" and 10 % into "val".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.hdf5 import dataset, opened, read
from focusdepth_core.fde_bench.sources.object_names import ObjectNames, Objects, instances
from focusdepth_core.fde_bench.sources.reading import camera_of, each
from focusdepth_core.fde_bench.sources.splits import split_of
from focusdepth_core.perception.frame import Intrinsics

if TYPE_CHECKING:
    import h5py

COLLECT_AGAIN = (
    "collect again with 'depth: true' and 'actor_segmentation: true' under data_type of task_config/<config>.yml, "
    "and with the writer envs/utils/pkl2hdf5.py, whose files are <task>/<config>/data/episode0.hdf5"
)
PALETTE = np.array(
    [int(colour[1:], 16) for colour in json.loads(Path(__file__).with_name("robotwin_colours.json").read_text())]
)
# The start of frame of a JPEG: length and precision, then height and width. Image data never hold 0xFF and such a byte.
_JPEG_SIZE = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]...(..)(..)", re.DOTALL)


@dataclass(frozen=True)
class RoboTwin:
    """``root``: the folder of the tasks; ``names``: the file of object names."""

    root: Path
    names: Path | None = None

    name = "robotwin"
    licence = "MIT"
    mask_source = "true"

    def _read_names(self) -> ObjectNames:
        return ObjectNames.read(self.names, "RoboTwin stores only numbers of actors")

    def items(self) -> list[str]:
        """The episodes' files, without the ending."""
        files = self.root.glob("*/*/data/episode[0-9]*.hdf5")
        if found := sorted(f.relative_to(self.root).with_suffix("").as_posix() for f in files):
            self._read_names()
            return found
        new = next(self.root.glob("**/data/episode_[0-9]*.hdf5"), None)
        if new:
            raise SourceError(f"{new} is of the layout since 2026-08, which holds no segmentation; {COLLECT_AGAIN}")
        raise SourceError(f"no episode in {self.root}; expected <task>/<config>/data/episode0.hdf5")

    def frames(self, item: str) -> Iterator[SourceFrame | SourceError | OSError]:
        objects = self._read_names().of(item.partition("/")[0], item)
        path = self.root / f"{item}.hdf5"
        with opened(path) as file:
            cameras = getattr(file.get("observation"), "keys", list)()
            if not cameras:
                raise SourceError(f"{path} has no cameras in 'observation', so no segmentation; {COLLECT_AGAIN}")
            for name in sorted(cameras):
                camera = _Camera(file, name)
                yield from each(lambda step, c=camera: _frame(item, c, step, objects), range(len(camera)))


def _frame(item: str, camera: _Camera, step: int, objects: Objects) -> SourceFrame:
    return SourceFrame(
        name=f"{item}/{camera.name}_{step:04d}".lower(),
        group=item,
        split=split_of(f"robotwin/{item}"),
        image=camera.image(step),
        depth=camera.depth(step),
        depth_scale=1.0,
        instances=instances(camera.ids(step), objects),
        intrinsics=camera.intrinsics(step),
    )


class _Camera:
    """The arrays of one camera, checked."""

    def __init__(self, file: h5py.File, name: str) -> None:
        self.name = name
        self._path = Path(file.filename)
        group = f"observation/{name}"
        lacking = [n for n in ("rgb", "depth", "actor_segmentation") if f"{group}/{n}" not in file]
        if lacking:
            raise SourceError(f"{file.filename}: {group} has no {' and no '.join(lacking)}; {COLLECT_AGAIN}")
        self._depth = dataset(file, f"{group}/depth", (None, None, None), "f8")
        steps, *self.size = self._depth.shape
        self._rgb = dataset(file, f"{group}/rgb", (steps,), "S")
        self._colours = dataset(file, f"{group}/actor_segmentation", (steps, *self.size, 3), "u1")
        self._k = dataset(file, f"{group}/intrinsic_cv", (steps, 3, 3), "f")

    def __len__(self) -> int:
        return len(self._depth)

    def image(self, step: int) -> np.ndarray:
        """H,W,3 uint8 RGB. Raises ``SourceError`` for a damaged JPEG, or one of another size than the depth."""
        data = read(self._rgb, step)
        image = _decoded(data) if _jpeg_sizes(data) == {tuple(self.size)} else None
        if image is None:
            height, width = self.size
            raise SourceError(f"{self._where('rgb', step)} is damaged, or no JPEG of {width} x {height} pixels")
        return image

    def depth(self, step: int) -> np.ndarray:
        """H,W float32 metres, 0 = missing."""
        metres = (read(self._depth, step) / 1000).astype(np.float32)
        return np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(0))

    def ids(self, step: int) -> np.ndarray:
        """H,W integers. Raises ``SourceError`` for a colour that stands for none."""
        codes = read(self._colours, step).astype(np.int32) @ np.array([65536, 256, 1], np.int32)
        ids = np.searchsorted(PALETTE, codes).clip(max=len(PALETTE) - 1)
        if wrong := set(codes[PALETTE[ids] != codes].tolist()):
            raise SourceError(f"{self._where('actor_segmentation', step)} has the colour #{min(wrong):06x} of no id")
        return ids

    def intrinsics(self, step: int) -> Intrinsics:
        (fx, _, cx), (_, fy, cy), _ = read(self._k, step).astype(float).tolist()
        return camera_of((fx, fy, cx - 0.5, cy - 0.5), self.size, self._path)

    def _where(self, name: str, step: int) -> str:
        return f"{self._path}: {name} of {self.name}, step {step},"


def _jpeg_sizes(data: bytes) -> set[tuple[int, ...]]:
    """H,W as a JPEG says before it is decoded, since a small one can claim any size; nothing if it is not whole.

    OpenCV 4 would fill what a JPEG without its end lacks with grey, and decode another format under the same name.
    """
    if not (data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")):
        return set()
    return {tuple(int.from_bytes(side, "big") for side in sides) for sides in _JPEG_SIZE.findall(data)}


def _decoded(data: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # for some damage, where it is None for other
        return None
