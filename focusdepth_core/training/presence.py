"""Whether a text is in the image: from which score on a model says so, chosen on the validation samples."""

from __future__ import annotations

import numpy as np
import torch

from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.training.data import validation_batches
from focusdepth_core.training.recipe import Stage, TrainConfig
from focusdepth_core.training.step import search


def calibrate(model: FocusDepth, config: TrainConfig, stage: Stage) -> float:
    """Set the threshold of the model's prompt branch; returns the share of right answers with it, presence and absence
    counting alike, on texts that fit the validation samples and texts that fit nothing in them; ``stage``: one that
    learns search."""
    present, absent = scores(model, config, stage)
    threshold, accuracy = best_threshold(present, absent)
    model.prompt.threshold.fill_(threshold)
    return accuracy


@torch.no_grad()
def scores(model: FocusDepth, config: TrainConfig, stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """Presence probability of texts that fit and of texts that do not. Raises ``ValueError`` if all fit."""
    found, there = [], []
    for batch, _ in validation_batches(config, stage, model.prompt):
        found.append(torch.sigmoid(search(model, batch)[1]))
        there.append(batch.wanted.flatten(2).amax(2) > 0)
    probability, fits = torch.cat(found).numpy(), torch.cat(there).numpy()
    if fits.all():
        raise ValueError("data.validation has no text that is missing in one of its images, so presence means nothing")
    return probability[fits], probability[~fits]


def best_threshold(present: np.ndarray, absent: np.ndarray) -> tuple[float, float]:
    """The score that tells the two apart best, half way between two that occur, and the mean of both shares of right
    answers with it."""
    values = np.unique(np.concatenate([present, absent, [0.0, 1.0]]))
    between = (values[1:] + values[:-1]) / 2
    right = [((present >= t).mean() + (absent < t).mean()) / 2 for t in between]
    best = int(np.argmax(right))
    return float(between[best]), float(right[best])
