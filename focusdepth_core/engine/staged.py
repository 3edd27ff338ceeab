"""A prompted network in stages, as one engine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from focusdepth_core.engine.base import Engine, EngineError

BOXES = ("boxes", "has_box")  # what the geometry branch is told of the prompts


class StagedEngine:
    """Looks at the image once, whatever the number of targets.

    ``vision``: prompt_image -> image features; ``prompt``: these and the prompts of T targets -> maps for the geometry
    branch, and mask_logits; ``geometry``: image, boxes and maps -> depth.
    """

    def __init__(self, vision: Engine, prompt: Engine, geometry: Engine) -> None:
        self._vision, self._prompt, self._geometry = vision, prompt, geometry
        self.name = geometry.name

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Engine.run``."""
        given = dict(inputs)
        missing = [name for name in ("image", "prompt_image") if name not in given]
        if missing:
            raise EngineError(f"a network in stages takes image and prompt_image, but was given {sorted(given)}")
        image, features = given.pop("image"), self._vision.run({"prompt_image": given.pop("prompt_image")})
        outputs = self._prompt.run({**features, **given})
        maps = {name: value for name, value in outputs.items() if name != "mask_logits"}
        maps.update({name: given[name] for name in BOXES if name in given})
        return {**outputs, **self._geometry.run({"image": image, **maps})}
