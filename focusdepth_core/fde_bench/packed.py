"""A generated split as memory-mapped arrays at the network's size: no decoding while training.

Made once beside the split (``SPLIT_224x168/``) and opened by every later run.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

SCENE_FILE = "scene.json"
MIN_VISIBLE = 0.3  # share of the target; less visible ones are neither trained on nor judged
MIN_AREA = 0.001  # of the image


@dataclass(frozen=True)
class PackedTarget:
    """``id``: value in ``ids``; ``box``: x0, y0, x1, y1 as shares of the image, half-open."""

    id: int
    category: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Packed:
    """``image`` N,h,w,3 uint8 RGB; ``depth`` N,h,w uint16, metres * ``depth_scale``; ``ids`` N,h,w uint8."""

    image: np.ndarray
    depth: np.ndarray
    ids: np.ndarray
    depth_scale: float
    scenes: list[int]  # seed of each frame
    targets: list[list[PackedTarget]]

    def __len__(self) -> int:
        return len(self.image)


def open_packed(split: Path, width: int, height: int) -> Packed:
    """Open the arrays of ``split`` (a folder of the generator) at this size, making them first if they are missing.

    Raises ``FileNotFoundError`` if the folder holds no scene.
    """
    folder = split.with_name(f"{split.name}_{width}x{height}")
    if not folder.exists():
        _pack(split, folder, width, height)
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("image", "depth", "ids")]
    meta = json.loads((folder / "targets.json").read_text())
    targets = [[PackedTarget(t["id"], t["category"], tuple(t["box"])) for t in row] for row in meta["targets"]]
    return Packed(*arrays, meta["depth_scale"], meta["scenes"], targets)


def _pack(split: Path, folder: Path, width: int, height: int) -> None:
    scenes = [
        json.loads((p / SCENE_FILE).read_text()) for p in sorted(split.glob("[0-9]*")) if (p / SCENE_FILE).exists()
    ]
    if not scenes:
        raise FileNotFoundError(f"no scene in {split}; make some with python -m focusdepth_core.sim.generate")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    count = sum(len(s["frames"]) for s in scenes)
    image = np.lib.format.open_memmap(part / "image.npy", "w+", np.uint8, (count, height, width, 3))
    depth = np.lib.format.open_memmap(part / "depth.npy", "w+", np.uint16, (count, height, width))
    ids = np.lib.format.open_memmap(part / "ids.npy", "w+", np.uint8, (count, height, width))
    meta: dict = {"depth_scale": scenes[0]["depth_scale"], "scenes": [], "targets": []}
    frames = ((s["seed"], f) for s in scenes for f in s["frames"])
    for k, (seed, frame) in enumerate(tqdm(frames, total=count, desc=f"pack {split.name}", unit="image")):
        stem, size = split / f"{seed:06d}" / frame["name"], (width, height)
        colour = cv2.imread(f"{stem}.jpg", cv2.IMREAD_COLOR)
        image[k] = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)[..., ::-1]
        depth[k] = cv2.resize(
            cv2.imread(f"{stem}_depth.png", cv2.IMREAD_UNCHANGED), size, interpolation=cv2.INTER_NEAREST
        )
        ids[k] = cv2.resize(cv2.imread(f"{stem}_ids.png", cv2.IMREAD_UNCHANGED), size, interpolation=cv2.INTER_NEAREST)
        meta["scenes"].append(seed)
        k = frame["intrinsics"]
        unit = np.array([k["width"], k["height"]] * 2)
        meta["targets"].append([t | {"box": (t["box"] / unit).tolist()} for t in usable_targets(frame)])
    for array in (image, depth, ids):
        array.flush()
    (part / "targets.json").write_text(json.dumps(meta))
    part.rename(folder)


def usable_targets(frame: dict) -> list[dict]:
    """The targets of one frame of scene.json that are visible and large enough to be trained on or judged."""
    area = MIN_AREA * frame["intrinsics"]["width"] * frame["intrinsics"]["height"]
    return [t for t in frame["targets"] if t["visible_fraction"] >= MIN_VISIBLE and t["area_px"] >= area]
