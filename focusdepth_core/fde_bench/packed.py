"""A generated split as memory-mapped arrays: no decoding while training.

Made beside the split (``SPLIT_packed/``), opened by every later run, and made anew once the split has other scenes.
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
    """Open the arrays of ``split`` (a folder of the generator), making them first if they are missing or old.

    Raises ``FileNotFoundError`` if the folder holds no scene, ``OSError`` for an image that cannot be read.
    """
    scenes = [p.name for p in scene_folders(split)]
    folder = split.with_name(f"{split.name}_packed")
    about = folder / "about.json"
    if not about.exists() or json.loads(about.read_text())["scenes"] != scenes:
        _pack(split, scenes, folder)
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("image", "depth", "ids")]
    meta = json.loads(about.read_text())
    return Packed(*arrays, meta["depth_scale"], meta["targets"])


def scene_folders(split: Path) -> list[Path]:
    """The finished scenes of a folder of the generator. Raises ``FileNotFoundError`` if there is none."""
    folders = sorted(p.parent for p in split.glob(f"[0-9]*/{SCENE_FILE}"))
    if not folders:
        raise FileNotFoundError(f"no scene in {split}; make some with python -m focusdepth_core.sim.generate")
    return folders


def read_frame(stem: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image H,W,3 uint8 RGB, scaled depth H,W uint16 and ids H,W uint8 of one frame; ``stem``: its path, no suffix.

    Raises ``OSError`` for a file that is missing or damaged.
    """
    colour, depth, ids = (_read(f"{stem}{suffix}") for suffix in (".jpg", "_depth.png", "_ids.png"))
    return cv2.cvtColor(colour, cv2.COLOR_BGR2RGB), depth, ids


def _read(path: str) -> np.ndarray:
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise OSError(f"{path} is missing or damaged; delete its folder and generate the scene again")
    return image


def _pack(split: Path, names: list[str], folder: Path) -> None:
    scenes = [json.loads((split / name / SCENE_FILE).read_text()) for name in names]
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    count, size = sum(len(s["frames"]) for s in scenes), scenes[0]["frames"][0]["intrinsics"]
    shape = (count, size["height"], size["width"])
    image = np.lib.format.open_memmap(part / "image.npy", "w+", np.uint8, (*shape, 3))
    depth = np.lib.format.open_memmap(part / "depth.npy", "w+", np.uint16, shape)
    ids = np.lib.format.open_memmap(part / "ids.npy", "w+", np.uint8, shape)
    meta: dict = {"scenes": names, "depth_scale": scenes[0]["depth_scale"], "targets": []}
    frames = ((name, f) for name, s in zip(names, scenes) for f in s["frames"])
    for k, (name, frame) in enumerate(tqdm(frames, total=count, desc=f"pack {split.name}", unit="image")):
        image[k], depth[k], ids[k] = read_frame(split / name / frame["name"])
        meta["targets"].append([t["id"] for t in usable_targets(frame)])
    for array in (image, depth, ids):
        array.flush()
    (part / "about.json").write_text(json.dumps(meta))
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def usable_targets(frame: dict) -> list[dict]:
    """The targets of one frame of scene.json that are visible and large enough to be trained on or judged."""
    area = MIN_AREA * frame["intrinsics"]["width"] * frame["intrinsics"]["height"]
    return [t for t in frame["targets"] if t["visible_fraction"] >= MIN_VISIBLE and t["area_px"] >= area]
