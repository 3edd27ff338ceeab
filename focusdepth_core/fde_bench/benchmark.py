"""How fast the parts of FDE-Bench are: ``python -m focusdepth_core.fde_bench benchmark {loader,metrics}``. Prints JSON.

``loader`` measures the training loader on a manifest that ``build`` made.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from datetime import datetime, timezone
from pathlib import Path

from focusdepth_core.fde_bench import metrics_benchmark
from focusdepth_core.machine import machine, versions

BATCH = 16


def loader_speed(path: Path, images: int, workers: int, canvas: tuple[int, int, int]) -> dict:
    """Images per second after the first batch; ``canvas``: width, height and side of the prompt branch's image, px."""
    from focusdepth_core.fde_bench.augment import Augment, CanvasSpec
    from focusdepth_core.fde_bench.dataset import FocusDataset, loader
    from focusdepth_core.fde_bench.manifest import Manifest

    before, start = _peak_mb(), time.perf_counter()
    manifest = Manifest.open(path)
    opened, grown = time.perf_counter() - start, _peak_mb() - before
    dataset = FocusDataset([(manifest, 1.0)], CanvasSpec(*canvas), Augment(), seed=0)
    batches = iter(loader(dataset, BATCH, range(BATCH + images), workers))
    next(batches)
    start = time.perf_counter()
    count = sum(len(batch.ids) for batch in batches)
    return {
        "images_per_s": round(count / (time.perf_counter() - start), 1),
        "images": count,
        "batch": BATCH,
        "workers": workers,
        "canvas": list(canvas),
        "manifest": {"rows": len(manifest), "open_s": round(opened, 3), "open_mb": round(grown, 1)},
        "method": "random rows in training order with augmentation, from files to batches; the first batch not counted",
        "versions": versions(("torch", "numpy", "opencv-python-headless", "pyarrow", "pycocotools")),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(required=True)
    loader = parts.add_parser("loader", help="the training loader")
    loader.set_defaults(part=_run_loader)
    loader.add_argument("manifest", type=Path)
    loader.add_argument("--images", type=int, default=960)
    loader.add_argument("--workers", type=int, default=os.cpu_count(), help="processes; 0 reads in this one")
    loader.add_argument("--width", type=int, default=168)
    loader.add_argument("--height", type=int, default=126)
    loader.add_argument("--prompt-side", type=int, default=0, help="1008 for SAM3")
    metrics = parts.add_parser("metrics", help="the metrics of the protocol")
    metrics.set_defaults(part=metrics_benchmark.run)
    metrics_benchmark.add_arguments(metrics)


def run(args: argparse.Namespace) -> int:
    return args.part(args)


def _run_loader(args: argparse.Namespace) -> int:
    canvas = (args.width, args.height, args.prompt_side)
    about = {"machine": machine(), "date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    print(json.dumps(about | loader_speed(args.manifest, args.images, args.workers, canvas), indent=1))
    return 0
