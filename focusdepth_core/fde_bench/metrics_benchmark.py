"""How many pairs the metrics judge per second. Prints JSON.

A pair is one prediction and one target of a made-up image; nothing is shared between pairs, as an evaluation does for
the targets of one image. Threads judge side by side, as they do there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from focusdepth_core.fde_bench.alignment import Prediction, Truth
from focusdepth_core.fde_bench.judging import keep_freed_memory
from focusdepth_core.fde_bench.metrics import Region, edge_metrics, evaluate_pair, region_metrics
from focusdepth_core.fde_bench.report import provenance
from focusdepth_core.perception.result import Space

Pair = tuple[np.ndarray, np.ndarray, np.ndarray]
GRID = 4  # pixels per sample of the made-up prediction, about as smooth as a network's


def made_up(seed: int, width: int, height: int) -> Pair:
    """Prediction in disparity, truth in metres and mask: twelve discs on a slope, the last one is the target."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.linspace(4, 1.2, height, dtype=np.float32)[:, None], width, 1)
    for _ in range(12):
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        disc = np.zeros((height, width), np.uint8)
        cv2.circle(disc, centre, int(rng.integers(height // 20, height // 6)), 1, -1)
        truth[disc > 0] = truth[centre[1], centre[0]] * rng.uniform(0.6, 0.9)
    size = (width // GRID, height // GRID)
    coarse = cv2.resize(1 / truth, size, interpolation=cv2.INTER_AREA)
    coarse += rng.normal(0, 0.01, coarse.shape)
    return cv2.resize(coarse.astype(np.float32), (width, height)), truth, disc > 0


def with_edges(raw: np.ndarray, gt_m: np.ndarray, mask: np.ndarray) -> None:
    truth = Truth(gt_m)
    prediction, region = Prediction(raw, Space.AFFINE_DISPARITY, truth), Region(mask, truth)
    region_metrics(prediction, region)
    edge_metrics(prediction, region)


def pairs_per_second(judge: Callable[..., object], pairs: list[Pair], workers: int, seconds: float) -> float:
    """The best of three runs of at least ``seconds`` each."""

    def rate(count: int) -> float:
        start = time.perf_counter()
        for _ in pool.map(lambda i: judge(*pairs[i % len(pairs)]), range(count)):
            pass
        return count / (time.perf_counter() - start)

    with ThreadPoolExecutor(workers) as pool:
        count = max(int(rate(4 * workers) * seconds), workers)
        return max(rate(count) for _ in range(3))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads (one per core)")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("W", "H"), help="pixels (640 480)")
    parser.add_argument("--seconds", type=float, default=3, help="of each of three runs (3)")


def run(args: argparse.Namespace) -> int:
    keep_freed_memory()  # as an evaluation does
    cv2.setNumThreads(1)  # the pairs are spread over the cores already
    pairs = [made_up(seed, *args.size) for seed in range(8)]
    judges = {
        "without_boundary_f1": lambda raw, gt, mask: evaluate_pair(raw, Space.AFFINE_DISPARITY, gt, mask),
        "all_metrics": with_edges,
    }
    rates = {n: round(pairs_per_second(judge, pairs, args.workers, args.seconds), 1) for n, judge in judges.items()}
    method = "best of three runs; one prediction and one target per pair, alignment included, decoding not"
    result = {"pairs_per_s": rates, "size": list(args.size), "workers": args.workers, "method": method}
    print(json.dumps(result | provenance(), indent=1))
    return 0
