"""A generated split as memory-mapped arrays: no decoding while training.

Made once beside the split (``SPLIT_packed/``) and opened by every later run.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from focusdepth_core.sim.splits import SCENE_FILE

MIN_VISIBLE = 0.3  # share of the target; less visible ones are neither trained on nor judged
MIN_AREA = 0.001  # of the image


@dataclass(frozen=True)
class Packed:
    """``image`` N,H,W,3 uint8 RGB; ``depth`` N,H,W uint16, metres * ``depth_scale``; ``ids`` N,H,W uint8 instances.

    ``targets``: the values in ``ids`` of each frame's usable targets.
    """

    image: np.ndarray
    depth: np.ndarray
    ids: np.ndarray
    depth_scale: float
    targets: list[list[int]]

    def __len__(self) -> int:
        return len(self.image)


def open_packed(split: Path) -> Packed:
    """Open the arrays of ``split`` (a folder of the generator), making them first if they are missing.

    Raises ``FileNotFoundError`` if the folder holds no scene.
    """
    folder = split.with_name(f"{split.name}_packed")
    if not folder.exists():
        _pack(split, folder)
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("image", "depth", "ids")]
    meta = json.loads((folder / "targets.json").read_text())
    return Packed(*arrays, meta["depth_scale"], meta["targets"])


def _pack(split: Path, folder: Path) -> None:
    scenes = [
        json.loads((p / SCENE_FILE).read_text()) for p in sorted(split.glob("[0-9]*")) if (p / SCENE_FILE).exists()
    ]
    if not scenes:
        raise FileNotFoundError(f"no scene in {split}; make some with python -m focusdepth_core.sim.generate")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    count, size = sum(len(s["frames"]) for s in scenes), scenes[0]["frames"][0]["intrinsics"]
    shape = (count, size["height"], size["width"])
    image = np.lib.format.open_memmap(part / "image.npy", "w+", np.uint8, (*shape, 3))
    depth = np.lib.format.open_memmap(part / "depth.npy", "w+", np.uint16, shape)
    ids = np.lib.format.open_memmap(part / "ids.npy", "w+", np.uint8, shape)
    meta: dict = {"depth_scale": scenes[0]["depth_scale"], "targets": []}
    frames = ((s["seed"], f) for s in scenes for f in s["frames"])
    for k, (seed, frame) in enumerate(tqdm(frames, total=count, desc=f"pack {split.name}", unit="image")):
        stem = split / f"{seed:06d}" / frame["name"]
        image[k] = cv2.imread(f"{stem}.jpg", cv2.IMREAD_COLOR)[..., ::-1]
        depth[k] = cv2.imread(f"{stem}_depth.png", cv2.IMREAD_UNCHANGED)
        ids[k] = cv2.imread(f"{stem}_ids.png", cv2.IMREAD_UNCHANGED)
        meta["targets"].append([t["id"] for t in usable_targets(frame)])
    for array in (image, depth, ids):
        array.flush()
    (part / "targets.json").write_text(json.dumps(meta))
    part.rename(folder)


def usable_targets(frame: dict) -> list[dict]:
    """The targets of one frame of scene.json that are visible and large enough to be trained on or judged."""
    area = MIN_AREA * frame["intrinsics"]["width"] * frame["intrinsics"]["height"]
    return [t for t in frame["targets"] if t["visible_fraction"] >= MIN_VISIBLE and t["area_px"] >= area]
