"""A prompted network that is told of a target and not what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from focusdepth_core.engine.base import Engine
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.open import open_model
from focusdepth_core.perception.pipeline import Pipeline

ASKED = ("has_box", "text_mask", "prior")  # inputs that are 0 where a target has no such thing


class UnaskedEngine:
    """``engine`` with prompts that hold neither box nor text nor mask."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.name = engine, engine.name

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Engine.run``."""
        return self._engine.run(
            {name: np.zeros_like(value) if name in ASKED else value for name, value in inputs.items()}
        )


def open_unasked(folder: Path, backend: str) -> Pipeline:
    """Raises ``ValueError`` for a model that takes boxes only: it cannot be asked for nothing."""
    model = ModelFolder.read(folder)
    if "text" not in model.prompts:
        raise ValueError(f"model {model.name} takes {', '.join(model.prompts)}: without a box there is nothing to ask")
    networks = open_model(model, backend)
    return Pipeline(model, UnaskedEngine(networks.focus), networks.plain, networks.texts)
