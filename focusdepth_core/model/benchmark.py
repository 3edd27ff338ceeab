"""Time of FocusDepth beside the plain depth net, in one run: ``python -m focusdepth_core.model benchmark CONFIG``.

CONFIG is a recipe of config/train/ or the folder of a model; random weights serve for speed, and a recipe's pretrained
weights are not loaded. The variants take turns, so that a busy moment meets all of them; the ratios are of medians.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from focusdepth_core.machine import machine, versions
from focusdepth_core.model.describe import load_config
from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.model.prompt.base import Prompt

MANY = 8
WARM_UP = 2


def variants(model: FocusDepth, device: str, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """The plain net, and FocusDepth with one and with ``MANY`` boxes."""
    config, side = model.config.geometry, model.prompt.side
    image = torch.randn(1, 3, config.height, config.width, device=device, dtype=dtype)
    own = torch.randn(1, 3, side, side, device=device, dtype=dtype) if side else None
    centres = torch.linspace(0.2, 0.8, MANY, device=device, dtype=dtype)
    boxes = torch.stack([centres, centres, torch.full_like(centres, 0.2), torch.full_like(centres, 0.3)], 1)[None]
    one, many = Prompt.box(boxes[:, :1]), Prompt.box(boxes)
    return {
        "plain": lambda: model.geometry(image),
        "focus, 1 target": lambda: model(image, one, own),
        f"focus, {MANY} targets in union": lambda: model(image, many, own),
        f"focus, {MANY} targets one by one": lambda: model(image, many, own, union=False),
    }


def time_each(calls: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, list[float]]:
    """Milliseconds of every round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for step in tqdm(range(WARM_UP + rounds), desc="rounds"):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            if step >= WARM_UP:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Quantiles of each variant, and its median relative to the plain net's and to one target's."""
    medians = {name: float(np.median(t)) for name, t in times.items()}
    result = {}
    for name, values in times.items():
        quantiles = np.quantile(values, [0.5, 0.95, 0.99])
        result[name] = {k: round(float(v), 2) for k, v in zip(("p50_ms", "p95_ms", "p99_ms"), quantiles)}
        result[name]["ratio_to_plain"] = round(medians[name] / medians["plain"], 3)
        result[name]["ratio_to_1_target"] = round(medians[name] / medians["focus, 1 target"], 3)
    return result


@contextmanager
def _peak_memory(device: str, result: dict[str, object]) -> Iterator[None]:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    yield
    if device == "cuda":
        result["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)


def benchmark(config: Path, rounds: int, device: str, dtype: str) -> dict[str, object]:
    """Raises ``ValueError`` for a configuration that cannot be read."""
    torch.manual_seed(0)
    number = getattr(torch, dtype)
    model = FocusDepth(load_config(config)).eval().to(device, number)
    about: dict[str, object] = {
        "config": config.name,
        "backend": f"torch eager, {device}, {dtype}",
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "method": f"batch 1, variants in turn, {WARM_UP} rounds of warm-up, ratios of medians",
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": versions(["torch", "transformers"]),
    }
    with torch.inference_mode(), _peak_memory(device, about):
        times = time_each(variants(model, device, number), rounds, device)
    return about | {"results": summary(times)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="recipe (YAML) or model folder")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--out", type=Path, help="write the JSON here as well")


def run(args: argparse.Namespace) -> None:
    text = json.dumps(benchmark(args.config, args.rounds, args.device, args.dtype), indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)
