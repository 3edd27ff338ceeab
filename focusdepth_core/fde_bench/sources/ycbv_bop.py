"""YCB-Video in the BOP layout (https://bop.felk.cvut.cz/datasets, MIT)::

    {train_real,test}/000000/{rgb,depth}/000001.png
                             mask_visib/000001_000000.png     image, place in scene_gt
                             scene_camera.json, scene_gt.json, scene_gt_info.json

``depth_scale`` of scene_camera.json leads to millimetres (0.1 here). train_synt and train_pbr have no real
depth and are left out. ``test`` may hold all frames or only those of the BOP challenge; where a keyframe.txt lies in
the root, its frames are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focusdepth_core.fde_bench.image_files import read_ids
from focusdepth_core.fde_bench.source import Instance, SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.reading import camera_of, each, read_json_object
from focusdepth_core.fde_bench.sources.ycb_objects import ycb_instance

CAMERA, OBJECTS, VISIBILITY = "scene_camera.json", "scene_gt.json", "scene_gt_info.json"


def scenes(root: Path) -> list[Path]:
    return sorted(path.parent for part in ("train_real", "test") for path in root.glob(f"{part}/[0-9]*/{CAMERA}"))


def frames(
    folder: Path, item: str, split: str, keyframes: frozenset[tuple[str, str]]
) -> Iterator[SourceFrame | SourceError | OSError]:
    scene = _Scene(folder, item, split, *(read_json_object(folder / file) for file in (CAMERA, OBJECTS, VISIBILITY)))
    images = sorted(int(key) for key in scene.objects if key.isdecimal())
    if split == "test" and keyframes:
        images = [image for image in images if (f"{int(folder.name):04d}", f"{image:06d}") in keyframes]
    return each(scene.frame, images)


@dataclass(frozen=True)
class _Scene:
    """One folder; ``camera``, ``objects``, ``visibility``: its three JSON files, by image."""

    folder: Path
    item: str
    split: str
    camera: dict[str, Any]
    objects: dict[str, Any]
    visibility: dict[str, Any]

    def frame(self, image: int) -> SourceFrame:
        try:
            return self._frame(image)
        except SourceError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            where = f"{self.folder}: image {image} in {CAMERA}, {OBJECTS} and {VISIBILITY}"
            raise SourceError(f"{where} is incomplete or damaged: {error!r}") from None

    def _frame(self, image: int) -> SourceFrame:
        camera = self.camera[str(image)]
        instances = self._instances(image)
        fx, _, cx, _, fy, cy, *_ = camera["cam_K"]
        shape = instances[0].mask.shape if instances else None
        return SourceFrame(
            name=f"{self.item}/{image:06d}",
            group=f"{int(self.folder.name):04d}",
            split=self.split,
            image=self.folder / "rgb" / f"{image:06d}.png",
            depth=self.folder / "depth" / f"{image:06d}.png",
            depth_scale=1000 / camera["depth_scale"],
            instances=instances,
            intrinsics=camera_of((fx, fy, cx, cy), shape, self.folder / CAMERA) if shape else None,
        )

    def _instances(self, image: int) -> tuple[Instance, ...]:
        pairs = zip(self.objects[str(image)], self.visibility[str(image)], strict=True)
        return tuple(self._instance(image, i, truth["obj_id"], info) for i, (truth, info) in enumerate(pairs))

    def _instance(self, image: int, place: int, number: int, info: dict[str, Any]) -> Instance:
        mask = read_ids(self.folder / "mask_visib" / f"{image:06d}_{place:06d}.png") > 0
        x, y, width, height = info["bbox_obj"]
        return ycb_instance(
            mask, number, self.folder / OBJECTS, float(info["visib_fract"]), (x, y, x + width, y + height)
        )
