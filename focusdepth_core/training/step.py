"""The loss of one batch, as a module: what several processes share the gradients of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from focusdepth_core.fde_bench.dataset import Batch
from focusdepth_core.losses import LossWeights, depth_loss, mask_loss, naming_loss, presence_loss
from focusdepth_core.model.focusdepth import Features, FocusDepth, FocusOutput
from focusdepth_core.model.prompt.base import Prompt, PromptMaps
from focusdepth_core.training.prompts import build_prompt
from focusdepth_core.training.recipe import Stage

PARTS = ("loss", "depth", "mask", "auxiliary", "presence")

Kept = Features | list[torch.Tensor] | None  # of a cache: all features, the encoder's tokens, or nothing


class Step(nn.Module):
    """What the losses of one model are made of."""

    def __init__(self, model: FocusDepth, weights: LossWeights) -> None:
        super().__init__()
        self.model, self.weights = model, weights


class PlainStep(Step):
    """The geometry branch alone, judged on the whole image."""

    def forward(self, batch: Batch, kinds: Sequence[str], kept: Kept = None) -> torch.Tensor:
        """``PARTS`` of the loss, in their order."""
        geometry = self.model.geometry
        image = self.model.shown(batch.image, Prompt.box(batch.box))
        depth = depth_loss(geometry(image), batch.depth, geometry.space, None, self.weights, batch.focal)
        return torch.stack([depth, depth.detach(), *torch.zeros(3, device=depth.device)])


class SearchStep(Step):
    """The search for texts alone, judged on where what they name is, and whether it is there."""

    def forward(self, batch: Batch, kinds: Sequence[str], kept: Kept = None) -> torch.Tensor:
        """``PARTS`` of the loss, in their order."""
        logits, presence = search(self.model, batch, kept)
        wanted, nothing = batch.wanted.to(logits.dtype), batch.depth.new_zeros(())
        mask = mask_loss(logits.flatten(0, 1), wanted.flatten(0, 1)) + naming_loss(logits, wanted)
        mask = self.weights.mask * mask
        there = wanted.flatten(2).amax(2)
        judged = self.weights.presence * presence_loss(presence, there)
        return torch.stack([mask + judged, nothing, mask.detach(), nothing, judged.detach()])


class PromptStep(Step):
    """The prompt branch alone, judged on where the target is."""

    def forward(self, batch: Batch, kinds: Sequence[str], kept: Kept = None) -> torch.Tensor:
        """``PARTS`` of the loss, in their order."""
        mask = self.weights.mask * mask_loss(find(self.model, batch, kinds, kept).mask_logits[:, 0], batch.mask)
        nothing = batch.depth.new_zeros(())
        return torch.stack([mask, nothing, mask.detach(), nothing, nothing])


class FocusStep(Step):
    """FocusDepth, with the region loss."""

    def forward(self, batch: Batch, kinds: Sequence[str], kept: Kept = None) -> torch.Tensor:
        """``PARTS`` of the loss, in their order."""
        out = predict(self.model, batch, kinds, kept)
        weights, space, nothing = self.weights, self.model.geometry.space, batch.depth.new_zeros(())
        parts = [depth_loss(out.depth[:, 0], batch.depth, space, batch.mask, weights, batch.focal)]
        for logits, weight in ((out.mask_logits, weights.mask), (out.auxiliary, weights.auxiliary)):
            learns = logits is not None and _learns(self.model, logits is out.auxiliary)
            parts.append(weight * mask_loss(logits[:, 0], batch.mask) if learns else nothing)
        return torch.stack([sum(parts), *(part.detach() for part in parts), nothing])


def step_of(model: FocusDepth, stage: Stage, weights: LossWeights) -> Step:
    steps: dict[str, type[Step]] = {"geometry": PlainStep, "search": SearchStep, "prompt": PromptStep}
    return steps.get(stage.learns, FocusStep)(model, weights)


def search(
    model: FocusDepth, batch: Batch, tokens: list[torch.Tensor] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The search on the texts that a batch asks for: logits B,Q,h,w of where, and B,Q of whether; ``tokens``: of the
    geometry encoder."""
    tokens = model.geometry.encode(model.shown(batch.image, Prompt.box(batch.box))) if tokens is None else tokens
    features = model.prompt.encode_text([text for asked in batch.asked for text in asked]).features[:, 0]
    logits = model.prompt.find(batch.image, tokens, features.unflatten(0, (len(batch.asked), -1)))
    return logits, model.prompt.search.judged(logits)


def find(model: FocusDepth, batch: Batch, kinds: Sequence[str], tokens: list[torch.Tensor] | None = None) -> PromptMaps:
    """The prompt branch on a batch; ``kinds``: how each sample is prompted; ``tokens``: of the geometry encoder."""
    prompt = build_prompt(model.prompt, batch, kinds)
    tokens = model.geometry.encode(model.shown(batch.image, prompt)) if tokens is None else tokens
    return model.prompt(model.prompt.encode_image(batch.image, tokens), prompt)


def predict(model: FocusDepth, batch: Batch, kinds: Sequence[str], kept: Kept = None) -> FocusOutput:
    """FocusDepth on a batch; ``kinds``: how each sample is prompted."""
    prompt = build_prompt(model.prompt, batch, kinds)
    if kept is None:
        return model(batch.image, prompt, batch.prompt_image)
    if not isinstance(kept, Features):
        kept = model.features(batch.image, kept, prompt, batch.prompt_image)
    return model.decode(kept, prompt)


def _learns(model: FocusDepth, auxiliary: bool) -> bool:
    """A branch that stays as it is would only push others towards its whims."""
    branch = model.auxiliary if auxiliary else model.prompt
    return any(p.requires_grad for p in branch.parameters())
