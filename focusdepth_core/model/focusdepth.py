"""FocusDepth: a Depth Anything net whose features are conditioned by a prompt through MSSA."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from pydantic import Discriminator
from torch import nn

from focusdepth_core.model import hub
from focusdepth_core.model.geometry.base import GeometryBranch, pyramid_grids
from focusdepth_core.model.geometry.da2 import DepthAnythingV2, DepthAnythingV2Config
from focusdepth_core.model.geometry.da3 import DepthAnything3, DepthAnything3Config
from focusdepth_core.model.grids import Grid
from focusdepth_core.model.mssa import MSSA, Aligned, MSSAConfig
from focusdepth_core.model.prompt.base import Prompt, PromptBranch, PromptMaps
from focusdepth_core.model.prompt.lite import LiteConfig, LitePrompt
from focusdepth_core.model.prompt.sam3 import Sam3Prompt, Sam3PromptConfig

AnyGeometry = Annotated[DepthAnythingV2Config | DepthAnything3Config, Discriminator("kind")]
AnyPrompt = Annotated[LiteConfig | Sam3PromptConfig, Discriminator("kind")]


@dataclass(frozen=True)
class FocusDepthConfig:
    """Everything that a checkpoint's weights depend on."""

    geometry: AnyGeometry = field(default_factory=DepthAnythingV2Config)
    prompt: AnyPrompt = field(default_factory=LiteConfig)
    mssa: MSSAConfig = field(default_factory=MSSAConfig)
    auxiliary_mask: bool = False
    """A segmentation branch on the decoder (the paper), used in training alone: it predicts the target's mask."""

    @property
    def licence(self) -> str:
        """Of the weights: that of each branch, once."""
        return " AND ".join(dict.fromkeys([self.geometry.licence, self.prompt.licence]))


class Features(NamedTuple):
    """What is known before the fusion: ``tokens`` of the geometry encoder, and what the prompt branch found."""

    tokens: list[torch.Tensor]
    aligned: Aligned
    mask_logits: torch.Tensor
    presence: torch.Tensor | None = None


class FocusOutput(NamedTuple):
    """``depth``: raw B,K,h,w, K = 1 map for all targets or one for each; ``mask_logits``: B,T,rows,columns;
    ``auxiliary``: B,K,rows,columns logits of the decoder's segmentation branch, or None; ``presence``: B,T logits that
    what the prompt names is in the image, or None."""

    depth: torch.Tensor
    mask_logits: torch.Tensor
    auxiliary: torch.Tensor | None
    presence: torch.Tensor | None = None


class FocusDepth(nn.Module):
    """Geometry branch, prompt branch and MSSA."""

    def __init__(self, config: FocusDepthConfig) -> None:
        super().__init__()
        self.config = config
        self.geometry, self.grid = _geometry_branch(config.geometry), config.geometry.grid
        self.prompt = _prompt_branch(config.prompt, self.geometry.token_channels, self.grid)
        on_tokens = config.mssa.grids == "tokens"
        grids = [self.grid] * 4 if on_tokens else pyramid_grids(self.grid)
        channels = self.geometry.token_channels if on_tokens else self.geometry.pyramid_channels
        branch = self.prompt
        self.mssa = MSSA(branch.width, channels, branch.feature_grids, branch.mask_grid, grids, config.mssa)
        self.auxiliary = _segmentation_branch(self.geometry.pyramid_channels) if config.auxiliary_mask else None

    @classmethod
    def from_branches(cls, config: FocusDepthConfig) -> FocusDepth:
        """A model to be trained: the branches have the pretrained weights that ``config`` names, MSSA is new.

        Raises ``OSError`` for weights that cannot be had, ``ValueError`` for weights that do not fit.
        """
        model = cls(config)
        for branch in (model.geometry, model.prompt):
            if branch.config.weights is not None:
                branch.load_pretrained(branch.config.weights)
        return model

    @classmethod
    def from_pretrained(cls, source: str | Path) -> FocusDepth:
        """A model of ``save_pretrained``, by folder or hub id, in evaluation mode.

        Raises ``OSError`` for files that cannot be had, ``ValueError`` for damaged ones or those of another model.
        """
        model = cls(hub.read_config(source))
        hub.load_weights(model, source)
        return model.eval()

    def save_pretrained(self, folder: str | Path, name: str | None = None) -> None:
        """Write ``config.json`` and ``model.safetensors``; ``name``: of the model, the folder's if None."""
        hub.save(self, Path(folder), name or Path(folder).name)

    def push_to_hub(self, repo_id: str, private: bool = False) -> str:
        """Upload to the Hugging Face hub, after ``hf auth login``; returns the address."""
        return hub.push(self, repo_id, repo_id.rpartition("/")[2], private)

    def forward(
        self, image: torch.Tensor, prompt: Prompt, prompt_image: torch.Tensor | None = None, union: bool = True
    ) -> FocusOutput:
        """``image`` B,3,h,w normalised; ``prompt_image`` B,3,side,side for a prompt branch that has its own input.

        ``union``: one depth map for all targets of an image; else each is computed as if it were alone.
        """
        tokens = self.geometry.encode(self.shown(image, prompt))
        return self.decode(self.features(image, tokens, prompt, prompt_image), prompt, union)

    def shown(self, image: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        """What the geometry branch gets: the image, with the targets' boxes beside it if it has a channel for them."""
        if not getattr(self.config.geometry, "box_channel", False):
            return image
        height, width = image.shape[2:]
        boxes = prompt.raster((height, width)) * prompt.asks[..., None, None]
        return torch.cat([image, boxes.amax(1, keepdim=True)], 1)

    def features(
        self, image: torch.Tensor, tokens: list[torch.Tensor], prompt: Prompt, prompt_image: torch.Tensor | None = None
    ) -> Features:
        """Everything before the fusion. Raises ``ValueError`` if the prompt branch lacks its image."""
        if self.prompt.side and prompt_image is None:
            raise ValueError(f"prompt_image is missing: the prompt branch needs the image at {self.prompt.side} px")
        maps = self.prompt(self.prompt.encode_image(prompt_image if self.prompt.side else image, tokens), prompt)
        return self.features_of(tokens, maps)

    def features_of(self, tokens: list[torch.Tensor], maps: PromptMaps) -> Features:
        """Prompt maps brought to the geometry grids."""
        return Features(tokens, self.mssa.align(maps), maps.mask_logits, maps.presence)

    def decode(self, features: Features, prompt: Prompt, union: bool = True) -> FocusOutput:
        """Fusion and depth."""
        images, geometry = prompt.images, self._unconditioned(features.tokens)
        if not union:
            geometry = [g.repeat_interleave(prompt.targets, 0) for g in geometry]
            prompt = prompt.flat()
        rasters = [prompt.raster(grid) for grid in self.mssa.grids]
        pyramid = self._pyramid(self.mssa(geometry, features.aligned, rasters, prompt.asks))
        fused = self.geometry.fuse(pyramid, self.grid)
        depth = self.geometry.predict(fused, self.grid).unflatten(0, (images, -1))
        auxiliary = None if self.auxiliary is None else self.auxiliary(fused)[:, 0].unflatten(0, (images, -1))
        presence = None if features.presence is None else features.presence.unflatten(0, (images, -1))
        return FocusOutput(depth, features.mask_logits[:, 0].unflatten(0, (images, -1)), auxiliary, presence)

    def _unconditioned(self, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
        """What MSSA fuses into, B,C,grid each: the decoder's pyramid, or the tokens as maps."""
        if self.config.mssa.grids == "pyramid":
            return self.geometry.pyramid(tokens, self.grid)
        return [t.transpose(1, 2).unflatten(2, self.grid) for t in tokens]

    def _pyramid(self, fused: list[torch.Tensor]) -> list[torch.Tensor]:
        """The decoder's pyramid with the prompt in it."""
        if self.config.mssa.grids == "pyramid":
            return fused
        return self.geometry.pyramid([f.flatten(2).transpose(1, 2) for f in fused], self.grid)

    def set_stage(self, stage: int) -> list[nn.Parameter]:
        """Freeze for training stage 1 (MSSA, and a prompt branch that is not pretrained) or 2 (the depth decoder and
        its segmentation branch as well); returns what learns.

        Both encoders are frozen in both. Raises ``ValueError`` for another stage.
        """
        if stage not in (1, 2):
            raise ValueError(f"stage = {stage}; there are stage 1 (MSSA) and stage 2 (MSSA and decoder)")
        learning: list[nn.Module] = [self.mssa] if self.prompt.pretrained else [self.prompt, self.mssa]
        if stage == 2:
            learning += [*self.geometry.decoder, *([] if self.auxiliary is None else [self.auxiliary])]
        return self._learn(learning)

    def set_geometry(self) -> list[nn.Parameter]:
        """Freeze everything but the geometry branch, for pretraining and for the globally fine-tuned baseline."""
        return self._learn([self.geometry])

    def set_prompt(self) -> list[nn.Parameter]:
        """Freeze everything but the prompt branch, which learns to find targets.

        Raises ``ValueError`` for a branch that comes trained.
        """
        if self.prompt.pretrained:
            raise ValueError(f"the {self.prompt.config.kind} prompt branch comes trained; leave out learns: prompt")
        return self._learn([self.prompt])

    def set_search(self) -> list[nn.Parameter]:
        """Freeze everything but what the lite prompt branch searches the image for a text with.

        Raises ``ValueError`` for a branch that has nothing of the kind.
        """
        if self.prompt.search is None:
            raise ValueError(f"the {self.prompt.config.kind} prompt branch has no search to train; see learns: search")
        return self._learn([self.prompt.search])

    def _learn(self, learning: list[nn.Module]) -> list[nn.Parameter]:
        self.requires_grad_(False)
        for module in learning:
            module.requires_grad_(True)
        for parameter in self.geometry.unused:
            parameter.requires_grad_(False)
        if self.prompt.search is not None and self.prompt.search not in learning:
            self.prompt.search.requires_grad_(False)  # it learns in a stage of its own
        return [p for p in self.parameters() if p.requires_grad]

    def train(self, mode: bool = True) -> FocusDepth:
        """Training mode for all that learns: SAM3, for one, has dropout, which would make a frozen prompt noisy."""
        super().train(mode)
        for module in (self.prompt, self.geometry.encoder):
            if not any(p.requires_grad for p in module.parameters()):
                module.eval()
        return self


def _geometry_branch(config: AnyGeometry) -> GeometryBranch:
    return DepthAnything3(config) if isinstance(config, DepthAnything3Config) else DepthAnythingV2(config)


def _prompt_branch(config: AnyPrompt, token_channels: int, grid: Grid) -> PromptBranch:
    return Sam3Prompt(config) if isinstance(config, Sam3PromptConfig) else LitePrompt(token_channels, grid, config)


def _segmentation_branch(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1))
