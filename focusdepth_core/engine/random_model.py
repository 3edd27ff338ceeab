"""A recipe's network with random weights, exported: as fast as a trained one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Optional

import torch

from focusdepth_core.engine.export import CONFIG, export
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.model.describe import load_config
from focusdepth_core.model.focusdepth import FocusDepth


def exported(recipe: Path, size: Optional[tuple[int, int]], folder: Path) -> ModelFolder:
    """``size``: width and height of its input; None: the recipe's. Without samples, as no answer of it means anything.

    Raises ``ValueError`` for a file that is no recipe, or a size that the network cannot have.
    """
    config = load_config(recipe)
    if size is not None:
        config = replace(config, geometry=replace(config.geometry, width=size[0], height=size[1]))
    torch.manual_seed(0)
    FocusDepth(config).save_pretrained(folder / "trained", recipe.stem)
    export(folder / "trained", folder / "exported", name=recipe.stem)
    path = folder / "exported" / CONFIG
    values = json.loads(path.read_text(encoding="utf-8"))
    values["files"].pop("samples", None)
    path.write_text(json.dumps(values), encoding="utf-8")
    return ModelFolder.read(folder / "exported")
