"""Checkpoints of a stage: safetensors, written whole or not at all.

A checkpoint holds the weights that can no longer be had elsewhere: not those of a pretrained branch that never learned.
``last`` also holds the optimiser, so that a resumed stage goes on bit for bit; ``best`` has the weights alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

MODEL, MOMENTS = "model.", ("exp_avg", "exp_avg_sq")  # prefixes of the tensors' names
LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class Progress:
    """``step``: how many optimiser steps are done; ``best``: the best score so far (lower is better) and its step;
    ``seconds``: that they took, with validation."""

    step: int = 0
    best_score: float | None = None
    best_step: int = 0
    seconds: float = 0.0


def folder(out: Path, stage: str) -> Path:
    """Of a stage in the folder of a run."""
    return out / "stages" / stage


def save(path: Path, model: dict[str, torch.Tensor], progress: Progress, moments: dict[str, torch.Tensor]) -> None:
    tensors = {f"{MODEL}{name}": value for name, value in model.items()} | moments
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part, {"progress": _text(progress)})
        part.replace(path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written ({error}); is the disk full?") from None
    finally:
        part.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, torch.Tensor], Progress, dict[str, torch.Tensor]]:
    """Weights, progress and the optimiser's moments. Raises ``ValueError`` that names a damaged file and the remedy."""
    progress = progress_of(path)
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (it is no dictionary)
    model = {key.removeprefix(MODEL): value for key, value in tensors.items() if key.startswith(MODEL)}
    return model, progress, {key: value for key, value in tensors.items() if not key.startswith(MODEL)}


def progress_of(path: Path) -> Progress:
    """Raises ``ValueError`` as ``load``: a file that is too short is refused without reading its tensors."""
    try:
        with safe_open(path, "pt") as file:
            return Progress(**json.loads(file.metadata()["progress"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete {path.parent}, and its stage starts again") from None


def restore(model: nn.Module, weights: dict[str, torch.Tensor], expected: set[str], source: Path) -> None:
    """``expected``: what it must hold. Raises ``ValueError`` for a checkpoint of another model."""
    try:
        _, unknown = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{source} does not fit the recipe's model: {error}") from None
    if unknown:
        raise ValueError(f"{source} has {unknown[0]}, which the recipe's model has not; give another --out")
    missing = sorted(expected - weights.keys())
    if missing:
        raise ValueError(f"{source} lacks {missing[0]} and {len(missing) - 1} more; give another --out")


def moments_of(optimiser: torch.optim.Optimizer, names: dict[nn.Parameter, str]) -> dict[str, torch.Tensor]:
    """AdamW's state by parameter name."""
    return {f"{key}.{names[p]}": state[key] for p, state in optimiser.state.items() for key in MOMENTS}


def restore_moments(
    optimiser: torch.optim.Optimizer,
    names: dict[nn.Parameter, str],
    moments: dict[str, torch.Tensor],
    step: int,
    source: Path,
) -> None:
    """Raises ``ValueError`` if they do not fit the parameters."""
    expected = {f"{key}.{name}": p.shape for p, name in names.items() for key in MOMENTS}
    if expected != {name: value.shape for name, value in moments.items()}:
        raise ValueError(f"{source} holds the optimiser of another stage; delete it, and its stage starts again")
    for parameter, name in names.items():
        state = {key: moments[f"{key}.{name}"].to(parameter.device) for key in MOMENTS}
        optimiser.state[parameter] = {"step": torch.tensor(float(step), device=parameter.device), **state}


def _text(progress: Progress) -> str:
    return json.dumps(asdict(progress))
