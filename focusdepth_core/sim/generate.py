"""Render a data set: ``python -m focusdepth_core.sim.generate OUT --split train --images 20000 --workers 2``.

One folder per scene, OUT/SPLIT/SEED, written whole or not at all, so a killed run goes on where it stopped:
``NNN.jpg`` colour, ``NNN_depth.png`` 16-bit z (divide by ``depth_scale``; 0 = invalid), ``NNN_ids.png`` 8-bit instance
ids, and ``scene.json`` with K and the targets of every frame.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from focusdepth_core.sim.arrange import arrange
from focusdepth_core.sim.exposure import Exposure
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.scene import Scene
from focusdepth_core.sim.splits import SCENE_FILE, seed_range
from focusdepth_core.sim.view import SimFrame, random_view, shoot

DEPTH_SCALE = 5000  # units per metre: 0.2 mm steps, 13.1 m at most
VIEWS_PER_SCENE = 16
VIEWS_PER_ARRANGEMENT = 2


@dataclass(frozen=True)
class Size:
    width: int
    height: int


def scene_frames(seed: int, renderer: Renderer, views: int = VIEWS_PER_SCENE) -> Iterator[SimFrame]:
    """The frames of one scene, the same for the same seed, size and MuJoCo."""
    scene = Scene(seed)
    renderer.load(scene.model)
    for view in range(views):
        if view % VIEWS_PER_ARRANGEMENT == 0:
            shown = arrange(scene)
        random_view(scene, shown)
        yield shoot(scene, renderer, shown, Exposure.random(scene.rng))


def write_scene(seed: int, renderer: Renderer, folder: Path, views: int = VIEWS_PER_SCENE) -> int:
    """Write OUT/SPLIT/SEED and return its number of frames."""
    part = folder / f".{seed:06d}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    frames = []
    for k, frame in enumerate(scene_frames(seed, renderer, views)):
        _write(part / f"{k:03d}.jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        depth = np.minimum(frame.depth_m * DEPTH_SCALE + 0.5, 65535).astype(np.uint16)
        _write(part / f"{k:03d}_depth.png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 2])
        _write(part / f"{k:03d}_ids.png", frame.instances.astype(np.uint8), [])
        k_matrix = asdict(frame.intrinsics)
        frames.append({"name": f"{k:03d}", "intrinsics": k_matrix, "targets": [asdict(t) for t in frame.targets]})
    (part / SCENE_FILE).write_text(json.dumps({"seed": seed, "depth_scale": DEPTH_SCALE, "frames": frames}))
    part.rename(folder / f"{seed:06d}")
    return len(frames)


def _write(path: Path, image: np.ndarray, options: list[int]) -> None:
    if not cv2.imwrite(str(path), image, options):
        raise OSError(f"cannot write {path}; is the disk full?")


_renderer: Renderer | None = None


def _work(seed: int, folder: Path, size: Size, views: int) -> int:
    """Runs in a worker process, which keeps one OpenGL context for all of its scenes."""
    global _renderer
    if _renderer is None:
        _renderer = Renderer(size.width, size.height)
    return write_scene(seed, _renderer, folder, views)


def _one_thread_per_worker() -> None:
    cv2.setNumThreads(1)
    os.environ["LP_NUM_THREADS"] = "1"  # Mesa's software rasteriser takes every core otherwise


def generate(out: Path, split: str, images: int, workers: int, size: Size, first: int = 0) -> int:
    """Render until OUT/SPLIT holds ``images`` frames, seeds from the split's ``first``; returns their number."""
    folder = out / split
    folder.mkdir(parents=True, exist_ok=True)
    seeds = seed_range(split)[first : first - (-images // VIEWS_PER_SCENE)]
    missing = [s for s in seeds if not (folder / f"{s:06d}" / SCENE_FILE).exists()]
    done = (len(seeds) - len(missing)) * VIEWS_PER_SCENE
    work = partial(_work, folder=folder, size=size, views=VIEWS_PER_SCENE)
    pool = multiprocessing.get_context("spawn").Pool(workers, _one_thread_per_worker)
    with pool, tqdm(total=len(seeds) * VIEWS_PER_SCENE, initial=done, unit="image", desc=split) as bar:
        for count in pool.imap_unordered(work, missing):
            done += count
            bar.update(count)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the data set")
    parser.add_argument("--split", default="train", choices=["train", "val", "test"], help="whose seeds to use")
    parser.add_argument("--images", type=int, default=1600, help=f"rounded up to whole scenes of {VIEWS_PER_SCENE}")
    parser.add_argument("--first", type=int, default=0, help="skip that many seeds of the split (several machines)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    args = parser.parse_args()
    count = generate(args.out, args.split, args.images, args.workers, Size(args.width, args.height), args.first)
    print(f"{count} images in {args.out / args.split}")


if __name__ == "__main__":
    main()
