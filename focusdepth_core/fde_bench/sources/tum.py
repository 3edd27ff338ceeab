"""TUM RGB-D (Sturm et al. 2012, https://cvg.cit.tum.de/data/datasets/rgbd-dataset, CC BY 4.0), masks from a sidecar.

Layout: unpacked sequences below ``root``::

    rgbd_dataset_freiburg1_desk/{rgb,depth}/1305031453.359684.png
                                rgb.txt, depth.txt, groundtruth.txt
                                masks.json                             yours, see ``tum_masks``

- The lists hold "timestamp file" lines and '#' comments. Colour and depth belong together if they are at most 0.02 s
  apart: the closest pairs first, each image once.
- depth: u16, metres = value / 5000, 0 = missing, registered to the colour image.
- intrinsics are those published for freiburg1, 2 and 3; the ROS default otherwise.
- Consecutive frames are almost the same: of those with masks, one is kept if it is at least 1 s after the last one, or
  more than 10 cm or 10 degrees away from it, by ``groundtruth.txt`` where there is one.

The data set has no masks. Those of a model are pseudo labels: ``mask_source`` is "pseudo:<model>", and their figures
are reported apart.

Splits: by sequence; a hash of the name puts 15 % into "test" and 10 % into "val". Sequences of one room can be in
different splits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from focusdepth_core.fde_bench.image_files import read_depth
from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.reading import camera_of, each, inside
from focusdepth_core.fde_bench.sources.splits import split_of
from focusdepth_core.fde_bench.sources.tum_masks import MASKS, Masks
from focusdepth_core.fde_bench.sources.tum_times import Trajectory, associate, read_list, spread_out

DEPTH_SCALE = 5000.0
# fx, fy, cx, cy, from the data set's page on file formats.
CAMERAS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
ROS_DEFAULT = (525.0, 525.0, 319.5, 239.5)


@dataclass(frozen=True)
class TUM:
    """``root``: the folder of the sequences."""

    root: Path

    name = "tum"
    licence = "CC BY 4.0"
    mask_source = "pseudo"

    def items(self) -> list[str]:
        """The sequences that have masks."""
        sequences = sorted(path.parent for path in self.root.glob("*/rgb.txt"))
        if not sequences:
            raise SourceError(f"no sequence in {self.root}; expected rgbd_dataset_freiburg1_desk/rgb.txt")
        items = [folder.name for folder in sequences if (folder / MASKS).is_file()]
        if not items:
            raise SourceError(
                f"no sequence in {self.root} has a {MASKS}; TUM RGB-D has no masks, so a model makes them"
            )
        return items

    def frames(self, item: str) -> Iterator[SourceFrame | SourceError | OSError]:
        folder = self.root / item
        masks = Masks.read(folder)
        colour, depth = read_list(folder / "rgb.txt"), read_list(folder / "depth.txt")
        pairs = associate([time for time, _ in colour], [time for time, _ in depth])
        masked = [(i, j) for i, j in pairs if Path(colour[i][1]).stem in masks]
        if not masked:
            raise SourceError(f"{masks.path} names none of the {len(pairs)} frames of rgb.txt, such as {colour[0][1]}")
        kept = spread_out([colour[i][0] for i, _ in masked], Trajectory.read(folder / "groundtruth.txt"))
        files = [(colour[i][1], depth[j][1]) for i, j in (masked[k] for k in kept)]
        return each(lambda pair: _frame(folder, masks, *pair), files)


def _frame(folder: Path, masks: Masks, colour: str, depth: str) -> SourceFrame:
    stamp = Path(colour).stem
    depth_path = inside(folder, depth, folder / "depth.txt")
    shape = read_depth(depth_path).shape
    return SourceFrame(
        name=f"{folder.name}/{stamp}".lower(),
        group=folder.name,
        split=split_of(f"tum/{folder.name}"),
        image=inside(folder, colour, folder / "rgb.txt"),
        depth=depth_path,
        depth_scale=DEPTH_SCALE,
        instances=masks.instances(stamp, shape),
        intrinsics=camera_of(_camera(folder.name), shape, folder),
        mask_source=f"pseudo:{masks.model}",
    )


def _camera(sequence: str) -> tuple[float, float, float, float]:
    number = re.search(r"freiburg[123]", sequence)
    return CAMERAS[number[0]] if number else ROS_DEFAULT
