"""How fast the simulator makes images: ``python -m focusdepth_core.sim.benchmark``. Prints JSON.

Whole scenes, from the seed to files on disk, in as many processes as there are cores; the time to start the processes
counts. With ``--stages`` one process is timed step by step as well.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path

from focusdepth_core.machine import machine, versions
from focusdepth_core.sim.arrange import arrange
from focusdepth_core.sim.exposure import Exposure
from focusdepth_core.sim.generate import VIEWS_PER_ARRANGEMENT, VIEWS_PER_SCENE, Size, generate
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.scene import Scene
from focusdepth_core.sim.splits import seed_range
from focusdepth_core.sim.view import random_view, shoot


def images_per_second(images: int, workers: int, size: Size) -> float:
    """Of the validation seeds."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        count = generate(Path(folder), "val", images, workers, size)
        return count / (time.perf_counter() - start)


def stage_times(scenes: int, size: Size) -> dict[str, float]:
    """Milliseconds per image of each step, in this process."""
    total: dict[str, float] = defaultdict(float)
    renderer = Renderer(size.width, size.height)
    for seed in seed_range("val")[:scenes]:
        start = time.perf_counter()
        scene = Scene(seed)
        compiled = time.perf_counter()
        renderer.load(scene.model)
        uploaded = time.perf_counter()
        total["compile"] += compiled - start
        total["upload"] += uploaded - compiled
        for _ in range(VIEWS_PER_SCENE // VIEWS_PER_ARRANGEMENT):
            start = time.perf_counter()
            shown = arrange(scene)
            arranged = time.perf_counter()
            for _ in range(VIEWS_PER_ARRANGEMENT):
                random_view(scene, shown)
                shoot(scene, renderer, shown, Exposure.random(scene.rng))
            total["arrange"] += arranged - start
            total["render"] += time.perf_counter() - arranged
    renderer.close()
    return {stage: round(1e3 * s / (scenes * VIEWS_PER_SCENE), 2) for stage, s in total.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--stages", action="store_true", help="time the steps of one process as well")
    args = parser.parse_args()
    size = Size(args.width, args.height)
    result = {
        "images_per_s": round(images_per_second(args.images, args.workers, size), 2),
        "images": args.images,
        "size": [args.width, args.height],
        "workers": args.workers,
        "views_per_scene": VIEWS_PER_SCENE,
        "machine": machine(),
        "versions": versions(("mujoco", "numpy", "opencv-python-headless")),
        "renderer": os.environ["MUJOCO_GL"],
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "method": "wall time from the first seed to the last file, process start included",
    }
    if args.stages:
        result["ms_per_image_in_one_process"] = stage_times(4, size)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
