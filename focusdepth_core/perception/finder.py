"""Finds targets without their depth: what a slow prompt branch does on keyframes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np

from focusdepth_core.engine.base import Engine, Texts
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.open import open_model
from focusdepth_core.engine.staged import StagedEngine
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.network_inputs import check_target, check_targets, network_inputs
from focusdepth_core.perception.target import Target


class Finder:
    """A model that is asked for masks alone. ``engine``: gives mask_logits for what the model takes."""

    def __init__(self, model: ModelFolder, engine: Engine, texts: Optional[Texts] = None) -> None:
        self.model = model
        self._engine, self._texts = engine, texts

    @classmethod
    def open(
        cls,
        model_dir: Union[str, Path],
        backend: str = "auto",
        threads: int = 0,
        report: Optional[Callable[[str], None]] = None,
    ) -> Finder:
        """Of a model in stages the geometry stage is left out. See ``Pipeline.open`` for the arguments.

        Raises as that does, and ``ValueError`` for a model that takes no text.
        """
        model = ModelFolder.read(model_dir)
        if "text" not in model.prompts:
            raise ValueError(f"model {model.name} takes {', '.join(model.prompts)}; a finder is asked by text")
        networks = open_model(model, backend, threads, report)
        focus = networks.focus.prompt if isinstance(networks.focus, StagedEngine) else networks.focus
        finder = cls(model, focus, networks.texts)
        width, height = model.input.width, model.input.height
        finder.find(Frame(np.zeros((height, width, 3), np.uint8)), [Target("warm-up", (0, 0, width, height))])
        return finder

    def check(self, target: Target) -> None:
        """Raises ``ValueError`` for a target that it cannot look for."""
        check_target(self.model, self._texts, target)

    def find(self, frame: Frame, targets: Sequence[Target]) -> list[np.ndarray]:
        """The mask of each target, H,W bool, empty where it is not to be seen. Raises as ``Pipeline.process``."""
        check_targets(self.model, targets)
        letterbox = Letterbox(frame.width, frame.height, self.model.input)
        outputs = self._engine.run(network_inputs(self.model, frame, letterbox, targets, self._texts, {}))
        is_there = [True] * len(targets)
        if self.model.presence_threshold is not None:
            is_there = (outputs["presence"] >= self.model.presence_threshold).tolist()
        return [(letterbox.to_frame(m) > 0) & seen for m, seen in zip(outputs["mask_logits"], is_there)]
