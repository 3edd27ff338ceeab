"""The score of a stage on samples that never change: AbsRel after one global alignment, as the evaluation has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from focusdepth_core.fde_bench.dataset import Batch
from focusdepth_core.fde_bench.metrics import evaluate_pair
from focusdepth_core.losses import metres
from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.model.prompt.base import Prompt
from focusdepth_core.perception.result import Space
from focusdepth_core.training.data import validation_batches
from focusdepth_core.training.recipe import Stage, TrainConfig
from focusdepth_core.training.step import predict, search

REGIONS = ("foreground", "band", "global")
MASK = "mask"
MEASURES = (*REGIONS, MASK)
SCORED = {"geometry": "global", "search": MASK, "prompt": MASK, "mssa": "foreground", "decoder": "foreground"}
SHOWN = 4  # samples that become pictures


@dataclass(frozen=True)
class Shown:
    """One sample for the eye: ``image`` 3,h,w normalised; ``depth_m``, ``raw``, ``mask`` and ``probability`` h,w.

    ``probability``: of the mask that the prompt branch predicts, on its own grid; None without a prompt.
    """

    image: np.ndarray
    depth_m: np.ndarray
    raw: np.ndarray
    mask: np.ndarray
    probability: np.ndarray | None


@torch.no_grad()
def validate(
    model: FocusDepth, config: TrainConfig, stage: Stage, accelerator: Accelerator
) -> tuple[dict[str, float], list[Shown]]:
    """Means over the validation samples, at the network's input size, and samples to look at: AbsRel of each region,
    and of a stage with prompts the mask's error, 1 - IoU.

    Raises ``ValueError`` if no sample has enough truth to be judged.
    """
    rank, processes = accelerator.process_index, accelerator.num_processes
    model.eval()
    errors, shown = [], []
    for batch, kinds in validation_batches(config, stage, model.prompt, rank, processes):
        batch = batch.to(accelerator.device)
        with accelerator.autocast():
            raw, probability, masks = _predicted(model, stage, batch, kinds)
        of_depth, of_masks = _errors(raw, model.geometry.space, batch), _mask_errors(probability, masks)
        errors += [[*depth, mask] for depth, mask in zip(of_depth, of_masks)]
        shown += _shown(raw, probability, masks, batch) if len(shown) < SHOWN else []
    model.train()
    share = -(-config.data.validation_samples // processes)
    padded = np.full((share, len(MEASURES)), np.nan)
    padded[: len(errors)] = np.reshape(errors, (-1, len(MEASURES)))  # also of a process without a sample
    everyone = accelerator.gather(torch.from_numpy(padded).float().to(accelerator.device)).cpu().numpy()
    return _means(everyone, config), shown[:SHOWN]


def score(errors: dict[str, float], stage: Stage) -> float:
    """Lower is better."""
    return errors[SCORED[stage.learns]]


def _predicted(
    model: FocusDepth, stage: Stage, batch: Batch, kinds: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Raw depth (B,h,w; metres of a metric net), mask probability B,K,rows,columns, and what that should be, B,K,h,w:
    K texts of a search, or the one target."""
    masks, probability = batch.mask[:, None], None
    if stage.learns in ("geometry", "search"):
        raw = model.geometry(model.shown(batch.image, Prompt.box(batch.box))).float()
    else:
        out = predict(model, batch, kinds)
        raw, probability = out.depth[:, 0].float(), torch.sigmoid(out.mask_logits.float())
    if stage.learns == "search":
        masks, probability = batch.wanted.float(), torch.sigmoid(search(model, batch)[0].float())
    return (metres(raw, batch.focal) if model.geometry.space is Space.METRIC else raw), probability, masks


def _errors(raw: torch.Tensor, space: Space, batch: Batch) -> list[list[float]]:
    """AbsRel of each sample in each region; NaN where it has too little truth, or a metric net no focal length."""
    found = []
    arrays = [x.cpu().numpy() for x in (raw, batch.depth, batch.mask, batch.focal)]
    for z, depth, mask, focal in zip(*arrays):
        try:
            if space is Space.METRIC and not focal > 0:
                raise ValueError("without a focal length there are no metres")
            regions = evaluate_pair(z, space, depth, mask > 0).regions
            found.append([regions[name].absrel for name in REGIONS])
        except ValueError:
            found.append([np.nan] * len(REGIONS))
    return found


def _mask_errors(probability: torch.Tensor | None, masks: torch.Tensor) -> list[float]:
    """1 - IoU of each sample, on the grid of the predicted masks, of which those with something in them count; NaN
    without one."""
    if probability is None:
        return [np.nan] * len(masks)
    truth = F.interpolate(masks, size=probability.shape[2:], mode="area") > 0.5
    found = probability > 0.5
    error = 1 - (found & truth).sum((2, 3)) / (found | truth).sum((2, 3))
    return torch.where(truth.any(3).any(2), error, torch.nan).nanmean(1).tolist()


def _means(errors: np.ndarray, config: TrainConfig) -> dict[str, float]:
    judged = np.isfinite(errors).any(0)
    if not judged[: len(REGIONS)].all():
        missing = REGIONS[int(np.argmin(judged))]
        raise ValueError(
            f"data.validation: none of {config.data.validation_samples} samples has enough truth in its {missing} to "
            f"be judged; use more of them or another manifest"
        )
    return {name: float(np.nanmean(errors[:, i])) for i, name in enumerate(MEASURES) if judged[i]}


def _shown(raw: torch.Tensor, probability: torch.Tensor | None, masks: torch.Tensor, batch: Batch) -> list[Shown]:
    arrays = [x.cpu().numpy() for x in (batch.image, batch.depth, raw, masks[:, 0])]
    found = [None] * len(raw) if probability is None else probability[:, 0].cpu().numpy()
    return [Shown(*one, mask) for *one, mask in zip(*arrays, found)]
