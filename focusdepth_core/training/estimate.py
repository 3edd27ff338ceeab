"""What a run will need, measured before it starts: memory and time of each stage."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.table import Table

from focusdepth_core.engine.prompted import some_text
from focusdepth_core.fde_bench.augment import ASKED
from focusdepth_core.fde_bench.dataset import Batch
from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.training.data import canvas_of
from focusdepth_core.training.recipe import Stage, TrainConfig
from focusdepth_core.training.step import step_of
from focusdepth_core.training.weights import learning

HOW = (
    "Memory: weights, gradients and the optimiser's two moments, and what one forward pass keeps for the backward pass "
    "(measured); a frozen encoder's own peak comes on top. Time: the second of two passes on random images, times the "
    "passes of all steps; reading data, validation and the optimiser are left out."
)


@dataclass(frozen=True)
class Estimate:
    """``learning`` and ``total``: parameters; ``seconds``: of the stage."""

    learning: int
    total: int
    activation_bytes: int
    seconds: float

    @property
    def bytes(self) -> int:
        return 4 * self.total + 12 * self.learning + self.activation_bytes


def estimate(model: FocusDepth, config: TrainConfig, stage: Stage, accelerator: Accelerator) -> Estimate:
    """Two passes, forward and backward, with random data; the model's weights stay as they are."""
    parameters = learning(model, stage)
    model.train()
    step = step_of(model, stage, config.loss)
    batch = random_batch(model, config, stage, accelerator)
    for _ in range(2):
        started, kept = time.perf_counter(), {}
        with accelerator.autocast(), torch.autograd.graph.saved_tensors_hooks(_noting(kept), lambda x: x):
            loss = step(batch, ["box"] * len(batch.ids))[0]
        loss.backward()
        loss.item()  # waits for the GPU
        seconds = time.perf_counter() - started
    for parameter in parameters:
        parameter.grad = None
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    total = sum(p.numel() for p in model.parameters())
    activations = sum(size for pointer, size in kept.items() if pointer not in own)
    return Estimate(sum(p.numel() for p in parameters), total, activations, seconds * config.accumulate * stage.steps)


def random_batch(model: FocusDepth, config: TrainConfig, stage: Stage, accelerator: Accelerator) -> Batch:
    """Of one pass in one process."""
    count = config.batch // (config.accumulate * accelerator.num_processes)
    canvas, device = canvas_of(config, stage, model.prompt), accelerator.device
    side, shape = canvas.prompt_side, (count, canvas.height, canvas.width)
    box = torch.tensor([0.5, 0.5, 0.4, 0.4], device=device).expand(count, 1, 4)
    mask = torch.zeros(shape, device=device)
    mask[:, shape[1] // 4 : shape[1] // 2, shape[2] // 4 : shape[2] // 2] = 1
    text = some_text(model.prompt) if "text" in model.prompt.takes else ""
    return Batch(
        image=torch.randn(count, 3, *shape[1:], device=device),
        prompt_image=torch.randn(count, 3, side, side, device=device) if side else None,
        depth=1 + torch.rand(shape, device=device),
        mask=mask,
        box=box,
        text=(text,) * count,
        focal=torch.full((count,), 300.0, device=device),
        ids=("",) * count,
        failures=(),
        asked=((text,) * ASKED,) * count,
        wanted=mask[:, None].expand(-1, ASKED, -1, -1).byte(),
    )


def print_table(estimates: dict[str, Estimate], config: TrainConfig) -> None:
    table = Table("stage", "learns", "steps", "M weights", "learning", "GB", "time", title="Plan")
    for stage in config.stages:
        e = estimates[stage.name]
        table.add_row(
            stage.name,
            stage.learns,
            str(stage.steps),
            f"{e.total / 1e6:.2f}",
            f"{e.learning / 1e6:.2f}",
            f"{e.bytes / 1e9:.2f}",
            _duration(e.seconds),
        )
    console = Console()
    console.print(table)
    console.print(HOW)


def _noting(kept: dict[int, int]):
    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    return note


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{seconds / 60:.1f} min"
