"""Train the nano model from scratch: ``python -m focusdepth_core.train --data DATA --out RUN``.

Phases, each saved when done and skipped when found, so that a stopped run goes on:

1. ``small``    the geometry net at two thirds of the size, on crops
2. ``full``     the geometry net at full size
3. ``stage1``   prompt branch and MSSA, everything else frozen
4. ``stage2``   prompt branch, MSSA and depth decoder, encoder frozen
5. ``baseline`` the geometry net fine-tuned as a whole, without a prompt: what FocusDepth is compared with

``baseline`` starts from the same weights as ``stage1`` and takes as many steps on as many images as 3 and 4 together.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from focusdepth_core.fde_bench.batches import Batch, batches
from focusdepth_core.fde_bench.packed import open_packed
from focusdepth_core.losses import RegionWeights, disparity_loss, mask_loss
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import PATCH

CHECKPOINT = "{}.safetensors"


@dataclass(frozen=True)
class Steps:
    """Optimiser steps of each phase; the baseline takes stage1 + stage2."""

    small: int = 3600
    full: int = 900
    stage1: int = 350
    stage2: int = 750


@dataclass(frozen=True)
class TrainConfig:
    data: Path
    """Folder of python -m focusdepth_core.sim.generate, with train/."""
    out: Path
    """Where checkpoints, config.json and train_log.jsonl go."""
    model: FocusDepthConfig = field(default_factory=FocusDepthConfig)
    steps: Steps = field(default_factory=Steps)
    batch: int = 16
    lr: float = 6e-4
    """Peak learning rate of small and full (AdamW, cosine)."""
    finetune_lr: float = 4e-4
    """Peak learning rate of baseline, stage1 and stage2."""
    region: RegionWeights = field(default_factory=RegionWeights)
    seed: int = 0
    threads: int = 0
    """CPU threads; 0 leaves the choice to torch."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Phase:
    """``loss`` of one batch; ``shrink``: network input relative to full size; ``smallest_crop``: side of crops."""

    name: str
    learning: Callable[[FocusDepth], list[nn.Parameter]]
    loss: Callable[[FocusDepth, dict[str, torch.Tensor], RegionWeights], torch.Tensor]
    steps: int
    lr: float
    start: str | None
    shrink: float = 1.0
    smallest_crop: float = 0.75


def _geometry_parameters(model: FocusDepth) -> list[nn.Parameter]:
    model.requires_grad_(False)
    model.geometry.requires_grad_(True)
    return list(model.geometry.parameters())


def _plain_loss(model: FocusDepth, batch: dict[str, torch.Tensor], region: RegionWeights) -> torch.Tensor:
    return disparity_loss(model.geometry(batch["image"]), batch["depth"], weights=region)


def _focus_loss(model: FocusDepth, batch: dict[str, torch.Tensor], region: RegionWeights) -> torch.Tensor:
    raw, logits = model(batch["image"], batch["box"])
    return disparity_loss(raw, batch["depth"], batch["mask"], region) + mask_loss(logits[:, 0], batch["mask"])


def phases(config: TrainConfig) -> list[Phase]:
    s = config.steps
    return [
        Phase("small", _geometry_parameters, _plain_loss, s.small, config.lr, None, 2 / 3, 0.5),
        Phase("full", _geometry_parameters, _plain_loss, s.full, config.lr, "small"),
        Phase("stage1", lambda m: m.set_stage(1), _focus_loss, s.stage1, config.finetune_lr, "full"),
        Phase("stage2", lambda m: m.set_stage(2), _focus_loss, s.stage2, config.finetune_lr, "stage1"),
        Phase("baseline", _geometry_parameters, _plain_loss, s.stage1 + s.stage2, config.finetune_lr, "full"),
    ]


def _tensors(source: Iterator[Batch], device: str) -> Iterator[dict[str, torch.Tensor]]:
    for batch in source:
        yield {k: torch.from_numpy(v).to(device) for k, v in vars(batch).items()}


def _rate(step: int, steps: int, peak: float) -> float:
    """Cosine with a short warm-up."""
    warm_up = min(1.0, (step + 1) / max(1, min(200, steps // 10)))
    return peak * warm_up * (0.5 * (1 + math.cos(math.pi * step / steps)) + 0.01)


def run_phase(phase: Phase, model: FocusDepth, config: TrainConfig, source: Iterator[Batch]) -> dict[str, float]:
    """Train ``model`` in place. Raises ``FloatingPointError`` when the loss is no longer a number."""
    parameters = phase.learning(model)
    optimiser = torch.optim.AdamW(parameters, lr=phase.lr, weight_decay=0.05, fused=True)
    model.train()
    started, mean = time.monotonic(), 0.0
    bar = tqdm(range(phase.steps), desc=phase.name, unit="step", mininterval=5)
    for step, batch in zip(bar, _tensors(source, config.device)):
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, phase.steps, phase.lr)
        loss = phase.loss(model, batch, config.region)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss is {loss.item()} in step {step} of {phase.name}; lower the learning rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        mean += (loss.item() - mean) * max(0.01, 1 / (step + 1))
        if step % 20 == 0:
            bar.set_postfix(loss=f"{mean:.3f}")
    seconds = time.monotonic() - started
    return {"loss": mean, "seconds": seconds, "images_per_s": phase.steps * config.batch / seconds}


def save(model: FocusDepth, path: Path) -> None:
    """Written whole or not at all."""
    part = path.with_suffix(".part")
    save_file(model.state_dict(), part)
    part.replace(path)


def train(config: TrainConfig) -> None:
    torch.manual_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    geometry = config.model.geometry
    data = open_packed(config.data / "train")
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "config.json").write_text(json.dumps(config.model.to_dict(), indent=1))
    for index, phase in enumerate(phases(config)):
        path = config.out / CHECKPOINT.format(phase.name)
        if path.exists():
            print(f"{phase.name}: found {path}")
            continue
        model = FocusDepth(config.model).to(config.device)
        if phase.start:
            model.load_state_dict(load_file(config.out / CHECKPOINT.format(phase.start)))
        size = [PATCH * round(n * phase.shrink / PATCH) for n in (geometry.width, geometry.height)]
        source = batches(data, config.batch, *size, phase.smallest_crop, (config.seed, index))
        result = run_phase(phase, model, config, source)
        save(model, path)
        with (config.out / "train_log.jsonl").open("a") as log:
            log.write(json.dumps({"phase": phase.name, "images": len(data), **result, "steps": phase.steps}) + "\n")


def main() -> None:
    train(tyro.cli(TrainConfig, description=__doc__))


if __name__ == "__main__":
    main()
