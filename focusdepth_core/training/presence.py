"""Whether a text is in the image: from which score on a model says so, chosen on the validation samples."""

from __future__ import annotations

import numpy as np
import torch

from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.training.data import validation_batches
from focusdepth_core.training.recipe import Stage, TrainConfig
from focusdepth_core.training.step import predict


def calibrate(model: FocusDepth, config: TrainConfig, stage: Stage) -> float:
    """Set the threshold of the model's prompt branch; returns the share of right answers with it, presence and absence
    counting alike, on texts that fit the validation samples and texts that fit nothing in them."""
    present, absent = scores(model, config, stage)
    threshold, accuracy = best_threshold(present, absent)
    model.prompt.threshold.fill_(threshold)
    return accuracy


@torch.no_grad()
def scores(model: FocusDepth, config: TrainConfig, stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """Presence probability of texts that fit and of texts that do not, both of all forms: a category alone is easier
    than one with a colour. Raises ``ValueError`` if there are none that do not."""
    found: dict[str, list[float]] = {"text": [], "absent": []}
    for batch, _ in validation_batches(config, stage, model.prompt, other_texts=True):
        for kinds in (["text"] * len(batch.ids), ["absent" if text else "text" for text in batch.absent]):
            for kind, logit in zip(kinds, predict(model, batch, kinds).presence[:, 0]):
                found[kind].append(float(torch.sigmoid(logit)))
    if not found["absent"]:
        raise ValueError("data.validation has no text that is missing in one of its images, so presence means nothing")
    return np.array(found["text"]), np.array(found["absent"])


def best_threshold(present: np.ndarray, absent: np.ndarray) -> tuple[float, float]:
    """The score that tells the two apart best, half way between two that occur, and the mean of both shares of right
    answers with it."""
    values = np.unique(np.concatenate([present, absent, [0.0, 1.0]]))
    between = (values[1:] + values[:-1]) / 2
    right = [((present >= t).mean() + (absent < t).mean()) / 2 for t in between]
    best = int(np.argmax(right))
    return float(between[best]), float(right[best])
