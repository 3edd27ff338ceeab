"""What a stage starts from, what learns in it, and which weights only its checkpoints have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.training import checkpoint
from focusdepth_core.training.checks import lineage
from focusdepth_core.training.recipe import SCRATCH, Stage, TrainConfig


def new_model(config: TrainConfig, stage: Stage) -> FocusDepth:
    """The weights that the stage's line of stages began with; always the same random ones.

    Raises ``OSError`` or ``ValueError`` for pretrained weights that cannot be had or do not fit.
    """
    torch.manual_seed(config.seed)
    settings, from_scratch = config.model, lineage(config.stages, stage.name)[0].start == SCRATCH
    if from_scratch:
        settings = replace(settings, geometry=replace(settings.geometry, weights=None))
    model = FocusDepth.from_branches(settings)
    if config.pretrained is not None and not from_scratch:
        _adopt(model, config.pretrained)
    return model


def _adopt(model: FocusDepth, folder: Path) -> None:
    """The depth net of a model folder. Raises as ``new_model``."""
    try:
        model.geometry.adopt(FocusDepth.from_pretrained(folder).geometry.state_dict())
    except ValueError as error:
        raise ValueError(f"pretrained = {folder} does not fit the recipe's model: {error}") from None


def start_model(config: TrainConfig, stage: Stage) -> FocusDepth:
    """The model as the stage finds it. Raises as ``new_model`` and ``checkpoint.load``."""
    model = new_model(config, stage)
    before = lineage(config.stages, stage.name)[:-1]
    if before:
        load_into(model, config, before[-1], checkpoint.LAST)
    return model


def finished_model(config: TrainConfig, name: str) -> FocusDepth:
    """With the best weights of a finished stage, in evaluation mode."""
    model = new_model(config, lineage(config.stages, name)[-1])
    load_into(model, config, lineage(config.stages, name)[-1], checkpoint.BEST)
    return model.eval()


def load_into(model: FocusDepth, config: TrainConfig, stage: Stage, file: str) -> None:
    """``file``: which checkpoint of the stage."""
    path = checkpoint.folder(config.out, stage.name) / file
    weights, _, _ = checkpoint.load(path)
    checkpoint.restore(model, weights, own_names(model, config, stage), path)


def learning(model: FocusDepth, stage: Stage) -> list[nn.Parameter]:
    """Freeze all else; returns what learns."""
    if stage.learns == "geometry":
        return model.set_geometry()
    if stage.learns == "search":
        return model.set_search()
    if stage.learns == "prompt":
        return model.set_prompt()
    return model.set_stage(1 if stage.learns == "mssa" else 2)


def own_names(model: FocusDepth, config: TrainConfig, stage: Stage) -> set[str]:
    """What a checkpoint has to hold: all but pretrained weights that no stage so far has changed.

    Leaves ``model`` frozen as ``learning`` does.
    """
    line = lineage(config.stages, stage.name)
    pretrained = ["prompt."] if model.prompt.pretrained and model.config.prompt.weights is not None else []
    pretrained += ["geometry."] if line[0].start != SCRATCH else []
    names = {name for name in model.state_dict() if not name.startswith(tuple(pretrained))}
    for earlier in line:
        learning(model, earlier)
        names |= {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return names
