"""FocusDepth as the engines run it: one image, T targets, float32 arrays in and out.

``boxes``: T,4 cxcywh in [0, 1] of the input; ``has_box``: T, 0 for a target that is text alone; ``text``: T,L,C;
``text_mask``: T,L, 0 throughout for a target without text; ``prior``: T,rows,columns mask probability of an earlier
frame, on the grid of the mask logits, 0 throughout for a target without one. A model has only those that it takes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import torch
from torch import nn

from focusdepth_core.model.focusdepth import Features, FocusDepth
from focusdepth_core.model.mssa import Aligned
from focusdepth_core.model.prompt.base import PADDING, POSITIVE, Prompt, PromptBranch, TextFeatures

Tensors = tuple[torch.Tensor, ...]


def to_prompt(
    boxes: torch.Tensor,
    has_box: Optional[torch.Tensor] = None,
    text: Optional[torch.Tensor] = None,
    text_mask: Optional[torch.Tensor] = None,
    prior: Optional[torch.Tensor] = None,
) -> Prompt:
    """Of one image."""
    carried = None if prior is None else prior[None]
    if has_box is None:
        return replace(Prompt.box(boxes[None]), prior=carried)
    positive = torch.full_like(has_box, POSITIVE, dtype=torch.long)
    labels = torch.where(has_box > 0.5, positive, torch.full_like(positive, PADDING))
    words = None if text is None or text_mask is None else TextFeatures(text[None], text_mask[None] > 0.5)
    return Prompt(boxes[None, :, None], labels[None, :, None], words, carried)


def some_text(branch: PromptBranch) -> str:
    """One that it can read: the lite branch knows its own words only."""
    return getattr(branch.config, "words", ("object",))[0]


class Whole(nn.Module):
    """image 1,3,h,w and the prompts -> depth 1,h,w for all targets together, mask_logits T,rows,columns and, from a
    branch that judges it, presence T: the probability that what a text names is in the image.

    ``outputs``: their names.
    """

    def __init__(self, model: FocusDepth) -> None:
        super().__init__()
        self.model = model
        self.outputs = ("depth", "mask_logits", *(("presence",) if model.prompt.judges_presence else ()))

    def forward(
        self,
        image: torch.Tensor,
        boxes: torch.Tensor,
        has_box: Optional[torch.Tensor] = None,
        text: Optional[torch.Tensor] = None,
        text_mask: Optional[torch.Tensor] = None,
        prior: Optional[torch.Tensor] = None,
        prompt_image: Optional[torch.Tensor] = None,
    ) -> Tensors:
        found = self.model(image, to_prompt(boxes, has_box, text, text_mask, prior), prompt_image)
        presence = () if found.presence is None else (torch.sigmoid(found.presence[0]),)
        return (found.depth[0], found.mask_logits[0], *presence)


class Vision(nn.Module):
    """prompt_image 1,3,side,side -> what the prompt branch sees in it."""

    def __init__(self, model: FocusDepth) -> None:
        super().__init__()
        self.branch = model.prompt

    def forward(self, prompt_image: torch.Tensor) -> Tensors:
        return tuple(self.branch.encode_image(prompt_image, []))


class Prompted(nn.Module):
    """Image features and the prompts -> T,c_prompt,grid features and T,grid probability on each grid of MSSA, then
    mask_logits T,rows,columns."""

    def __init__(self, model: FocusDepth) -> None:
        super().__init__()
        self.branch, self.mssa = model.prompt, model.mssa

    def forward(
        self,
        features: Tensors,
        boxes: torch.Tensor,
        has_box: torch.Tensor,
        text: torch.Tensor,
        text_mask: torch.Tensor,
    ) -> Tensors:
        maps = self.branch(features, to_prompt(boxes, has_box, text, text_mask))
        aligned = self.mssa.align(maps)
        return (*aligned.features, *aligned.probability, maps.mask_logits[:, 0])


class Geometry(nn.Module):
    """image, boxes, whether there are texts, and the features and probabilities of ``Prompted`` -> depth 1,h,w for all
    targets together."""

    def __init__(self, model: FocusDepth) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, image: torch.Tensor, boxes: torch.Tensor, has_box: torch.Tensor, text_mask: torch.Tensor, maps: Tensors
    ) -> torch.Tensor:
        scales = len(maps) // 2
        aligned = Aligned(list(maps[:scales]), list(maps[scales:]))
        unread = maps[scales][:, None]  # in place of the mask, which is no input of the decoder
        features = Features(self.model.geometry.encode(image), aligned, unread)
        texts = text_mask[..., None]  # in place of their features, which are in the maps
        return self.model.decode(features, to_prompt(boxes, has_box, texts, text_mask)).depth[0]
