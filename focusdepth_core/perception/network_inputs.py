"""What the networks are given: the frame as their inputs show it, and the targets as their prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

import cv2
import numpy as np

from focusdepth_core.engine.base import Engine, Texts
from focusdepth_core.engine.model_folder import ModelFolder, PromptInput
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.frame_input import frame_input
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.target import Target

Arrays = dict[str, np.ndarray]


def check_targets(model: ModelFolder, targets: Sequence[Target]) -> None:
    """Raises ``ValueError`` for a target by text alone if the model takes boxes only."""
    for target in targets:
        if target.box is None and "text" not in model.prompts:
            raise ValueError(
                f"target '{target.id}' is given by the text '{target.text}' alone, but model {model.name} takes: "
                f"{', '.join(model.prompts)}"
            )


def check_target(model: ModelFolder, texts: Optional[Texts], target: Target) -> None:
    """Raises ``ValueError`` for a target that the model cannot be asked for: by a text it does not take or know."""
    check_targets(model, [target])
    if texts is not None and target.text is not None:
        texts.features(target.text)


def network_inputs(
    model: ModelFolder,
    frame: Frame,
    letterbox: Letterbox,
    targets: Sequence[Target],
    texts: Optional[Texts],
    priors: Mapping[str, np.ndarray],
    engine: Optional[Engine] = None,
) -> Arrays:
    """All float32. ``image`` for both networks, and for the prompted one ``boxes``, then, for a model that takes text,
    ``has_box``, ``text`` and ``text_mask``, ``prior`` for one that takes masks, and ``prompt_image`` if it has its own
    input.

    ``priors``: mask probability in an earlier frame on the model's ``mask_grid``, by target id; ``engine``: the
    one that they are for, if that may prepare the image by itself. Raises ``ValueError``
    for a text that the model does not know.
    """
    inputs = {"image": frame_input(engine, frame, letterbox)}
    if targets:
        boxes = np.array([target.box or (0.0, 0.0, 0.0, 0.0) for target in targets], np.float64)
        inputs["boxes"] = letterbox.boxes_to_input(boxes).astype(np.float32)
        if model.prompt_input is not None:
            inputs["prompt_image"] = stretched(frame.image, letterbox, model.prompt_input)
        if texts is not None:
            inputs["has_box"] = np.array([target.box is not None for target in targets], np.float32)
            inputs.update(_text_inputs(targets, texts))
        if model.mask_grid is not None:
            unknown = np.zeros(model.mask_grid, np.float32)
            inputs["prior"] = np.stack([priors.get(target.id, unknown) for target in targets])
    return inputs


def _text_inputs(targets: Sequence[Target], texts: Texts) -> Arrays:
    """T,L,C and T,L; zeros for a target without text."""
    told = [texts.nothing() if target.text is None else texts.features(target.text) for target in targets]
    return {"text": np.stack([features for features, _ in told]), "text_mask": np.stack([mask for _, mask in told])}


def stretched(rgb: np.ndarray, letterbox: Letterbox, spec: PromptInput) -> np.ndarray:
    """H,W,3 uint8 -> 1,3,side,side float32: the letterboxed input stretched to a square, with its padding.

    It is made from the frame itself, which may have more detail than the other input.
    """
    canvas, side = letterbox.spec, spec.side
    width, height = round(side * letterbox.width / canvas.width), round(side * letterbox.height / canvas.height)
    method = cv2.INTER_AREA if width < letterbox.frame_width else cv2.INTER_LINEAR
    small = cv2.resize(rgb, (max(1, width), max(1, height)), interpolation=method)
    out = np.empty((1, 3, side, side), np.float32)
    for channel, (padding, mean, std) in enumerate(zip(canvas.mean, spec.mean, spec.std)):
        out[0, channel] = (padding - mean) / std
        inside = out[0, channel, : small.shape[0], : small.shape[1]]
        np.multiply(small[..., channel], np.float32(1 / (255 * std)), out=inside)
        inside -= np.float32(mean / std)
    return out
