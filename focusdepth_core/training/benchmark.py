"""How fast a recipe trains, and whether its data keeps up.

    python -m focusdepth_core.training.benchmark --config config/train/nano.yaml --stage stage2 --batch 64

Prints JSON: images per second of whole optimiser steps on data that is on the device already, of the loader alone, and
the loader's rate over the steps' (goal: 1.5). Random weights serve for speed, so nothing is downloaded. Other options
are those of python -m focusdepth_core.train.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import date
from pathlib import Path

import torch
from accelerate import Accelerator

from focusdepth_core.machine import machine, versions
from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.train import read_config
from focusdepth_core.training.data import simulate, training_batches
from focusdepth_core.training.estimate import random_batch
from focusdepth_core.training.recipe import Stage, TrainConfig
from focusdepth_core.training.run import PRECISIONS
from focusdepth_core.training.stage import CLIP
from focusdepth_core.training.step import step_of
from focusdepth_core.training.weights import learning

WARM_UP = 3  # steps


def step_rate(model: FocusDepth, config: TrainConfig, stage: Stage, steps: int, accelerator: Accelerator) -> float:
    """Images per second in this process: forward, backward, clipping and optimiser."""
    parameters = learning(model, stage)
    model.train()
    optimiser = torch.optim.AdamW(parameters, lr=stage.lr, weight_decay=config.weight_decay, fused=True)
    step = accelerator.prepare(step_of(model, stage, config.loss))
    batch = random_batch(model, config, stage, accelerator)
    for i in range(WARM_UP + steps):
        if i == WARM_UP:
            _wait(accelerator)
            start = time.perf_counter()
        for _ in range(config.accumulate):
            accelerator.backward(step(batch, ["box"] * len(batch.ids))[0] / config.accumulate)
        accelerator.clip_grad_norm_(parameters, CLIP)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    _wait(accelerator)
    return steps * config.accumulate * len(batch.ids) / (time.perf_counter() - start)


def loader_rate(model: FocusDepth, config: TrainConfig, stage: Stage, steps: int) -> float:
    """Images per second from files to batches, after the first ones."""
    batches = training_batches(config, stage, model.prompt, range(WARM_UP + steps))
    for _ in range(WARM_UP * config.accumulate):
        next(batches)
    start = time.perf_counter()
    images = sum(len(batch.ids) for batch, _ in batches)
    return images / (time.perf_counter() - start)


def benchmark(config: TrainConfig, name: str, steps: int) -> dict[str, object]:
    """Raises ``ValueError`` for a stage that the recipe has not, or data that cannot be read."""
    stages = {stage.name: stage for stage in config.stages}
    if name not in stages:
        raise ValueError(f"--stage {name} is not in the recipe; there are {', '.join(stages)}")
    if config.threads:
        torch.set_num_threads(config.threads)
    simulate(config.data.simulate, config.data.workers)
    accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=PRECISIONS[config.precision])
    model = FocusDepth(config.model).to(accelerator.device)
    training = step_rate(model, config, stages[name], steps, accelerator)
    loading = loader_rate(model, config, stages[name], steps)
    gpu = torch.cuda.get_device_name() if accelerator.device.type == "cuda" else None
    return {
        "stage": name,
        "batch": config.batch,
        "accumulate": config.accumulate,
        "precision": config.precision,
        "training_images_per_s": round(training, 1),
        "loader_images_per_s": round(loading, 1),
        "loader_over_training": round(loading / training, 2),
        "loader_workers": config.data.workers,
        "method": f"{steps} steps of one process after {WARM_UP} for warming up; the loader runs while nothing trains",
        "threads": torch.get_num_threads(),
        "device": gpu or "cpu",
        "machine": machine(),
        "date": date.today().isoformat(),
        "versions": versions(["torch", "transformers", "accelerate"]),
    }


def _wait(accelerator: Accelerator) -> None:
    if accelerator.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--stage", required=True, help="whose steps")
    parser.add_argument("--steps", type=int, default=50, help="optimiser steps to measure")
    parser.add_argument("--json", type=Path, help="write the JSON here as well")
    args, rest = parser.parse_known_args()
    try:
        text = json.dumps(benchmark(read_config(rest), args.stage, args.steps), indent=1)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if args.json:
        args.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
