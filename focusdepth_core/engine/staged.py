"""A prompted network in stages, as one engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from focusdepth_core.engine.base import Engine, EngineError

TOLD = ("boxes", "has_box", "text_mask")  # what the geometry branch is told of the prompts


class PromptStages:
    """``vision``: prompt_image -> image features; ``prompt``: these and the prompts of T targets -> maps for the
    geometry branch, and mask_logits.

    Looks at the image once, whatever the number of targets.
    """

    def __init__(self, vision: Engine, prompt: Engine) -> None:
        self._vision, self._prompt = vision, prompt
        self.name = prompt.name

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Engine.run``; the geometry branch's image is not looked at."""
        given = {name: value for name, value in inputs.items() if name != "image"}
        if "prompt_image" not in given:
            raise EngineError(f"a network in stages takes image and prompt_image, but was given {sorted(inputs)}")
        features = self._vision.run({"prompt_image": given.pop("prompt_image")})
        return self._prompt.run({**features, **given})


class StagedEngine:
    """``geometry``: image, ``TOLD`` and the maps of ``PromptStages`` -> depth. ``prompt``: the stages before it."""

    def __init__(self, vision: Engine, prompt: Engine, geometry: Engine) -> None:
        self.prompt, self._geometry = PromptStages(vision, prompt), geometry
        self.name = geometry.name
        self.takes_frames = getattr(geometry, "takes_frames", False)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Engine.run``."""
        if "image" not in inputs:
            raise EngineError(f"a network in stages takes image and prompt_image, but was given {sorted(inputs)}")
        outputs = self.prompt.run(inputs)
        maps = {name: value for name, value in outputs.items() if name != "mask_logits"}
        maps.update({name: inputs[name] for name in TOLD if name in inputs})
        return {**outputs, **self._geometry.run({"image": inputs["image"], **maps})}


def joined(engines: Sequence[Engine]) -> Engine:
    """Of one network: itself, or its three stages as one."""
    return engines[0] if len(engines) == 1 else StagedEngine(*engines)
