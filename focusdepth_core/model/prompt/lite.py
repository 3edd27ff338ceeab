"""The lite prompt branch: prompt features from the tokens that the geometry branch computes anyway, and a prompt.

It stands where SAM3 stands in the paper, at a few per cent of its cost. It learns where the target is from a box, text
or the mask of an earlier frame; the silhouette comes from the tokens and a convolutional stem that keeps fine edges. A
branch that reads text looks at the image by itself as well: tokens of a depth net say little of colour and kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from focusdepth_core.config import check_at_least_1
from focusdepth_core.model.grids import Grid
from focusdepth_core.model.prompt.base import Prompt, PromptBranch, PromptMaps, TextFeatures, for_each
from focusdepth_core.model.prompt.words import WordEncoder, check_words

GROUPS = 8  # of channels that are normalised together
FINE = 8  # the mask grid, times the patch grid


@dataclass(frozen=True)
class LiteConfig:
    """Sizes of the branch. Raises ``ValueError`` for values that cannot be."""

    kind: Literal["lite"] = "lite"
    """Names the branch in files."""
    width: int = 64
    """Channels, a multiple of 8."""
    depth: int = 2
    """Blocks of the transformer on the patch grid."""
    heads: int = 2
    """Attention heads of a block."""
    stem: int = 16
    """Channels at the mask's resolution, a multiple of 8."""
    text: int = 0
    """Channels of the text features; 0: the branch takes no text."""
    words: tuple[str, ...] = ()
    """All words that it will ever know."""
    prior: bool = False
    """Whether it takes the mask of an earlier frame."""

    def __post_init__(self) -> None:
        check_at_least_1(self, "width", "depth", "heads", "stem")
        for name in ("width", "stem"):
            if getattr(self, name) % GROUPS:
                raise ValueError(f"{name} = {getattr(self, name)} is no multiple of {GROUPS}, as normalisation needs")
        for name in ("width", "text"):
            if getattr(self, name) % self.heads:
                raise ValueError(f"{name} = {getattr(self, name)} does not divide into {self.heads} heads")
        if bool(self.text) != bool(self.words):
            raise ValueError(
                f"text = {self.text} with {len(self.words)} words; text needs both, a box-only branch neither"
            )
        check_words(self.words)

    @property
    def weights(self) -> None:
        """Always trained here."""
        return None

    @property
    def licence(self) -> str:
        return "Apache-2.0"


def _conv(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1), nn.GroupNorm(GROUPS, c_out), nn.ReLU())


class LitePrompt(PromptBranch):
    """One or more boxes (their union), text, a mask. Feature grids: 4, 2, 1 and 1 times the patch grid; mask: 8 times.

    A target without a mask gets its boxes in place of one, the whole image if it has none. With text, a token that
    stands for it goes through the transformer beside the image's, and tells whether the image has such a thing;
    ``threshold``: presence probability from which it has, chosen on validation data.
    """

    threshold: torch.Tensor

    side = 0
    pretrained = False

    def __init__(self, c_geometry: int, grid: Grid, config: LiteConfig) -> None:
        super().__init__()
        rows, columns = grid
        self.config, self.grid = config, grid
        self.takes = frozenset({"box"} | ({"text"} if config.text else set()) | ({"mask"} if config.prior else set()))
        self.width = width = config.width
        self.feature_grids = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), grid, grid]
        self.mask_grid = (FINE * rows, FINE * columns)
        self.tokens = nn.Conv2d(2 * c_geometry, width, 1)
        self.box = nn.Conv2d(1, width, 3, padding=1)
        layer = dict(dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, config.heads, 4 * width, **layer) for _ in range(config.depth)
        )
        self.stem = _conv(4 + config.prior, config.stem)
        self.down = _conv(config.stem, width, 2)
        self.to_2x, self.to_4x = _conv(width, width), _conv(width, width)
        self.to_fine = nn.Conv2d(width, config.stem, 1)
        self.mask = nn.Sequential(_conv(config.stem, config.stem), nn.Conv2d(config.stem, 1, 3, padding=1))
        self.prior = nn.Conv2d(1, width, 3, padding=1) if config.prior else None
        self.words = WordEncoder(config.words, config.text, config.heads) if config.text else None
        channels = ((3, width), (width, width), (width, width)) if config.text else ()
        self.looks = nn.ModuleList(_conv(*both, 2) for both in channels)  # at 4, 2 and 1 times the grid
        self.modulations = nn.ModuleList(nn.Linear(config.text, 2 * width, bias=False) for _ in self.looks)
        self.asked = nn.Linear(config.text, width) if config.text else None
        self.presence = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1)) if config.text else None
        self.judges_presence = bool(config.text)
        if self.judges_presence:
            self.register_buffer("threshold", torch.tensor(0.5))

    def encode_image(self, image: torch.Tensor, tokens: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The share that the image has in the stem's first layer; then B,width of the grid, and for a branch that reads
        text of 2 and 4 times the grid."""
        maps = [t.transpose(1, 2).unflatten(2, self.grid) for t in (tokens[1], tokens[3])]
        resized = F.interpolate(image, size=self.mask_grid, mode="bilinear", align_corners=False)
        first, seen = self.stem[0], [resized]
        for look in self.looks:
            seen.append(look(seen[-1]))
        at_1x = self.tokens(torch.cat(maps, 1)) + (seen.pop() if self.looks else 0)
        return F.conv2d(resized, first.weight[:, :3], first.bias, padding=1), at_1x, *reversed(seen[1:])

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        if self.words is None:
            raise ValueError(f"text {texts[0]!r}: this model takes no text; give the target a box")
        return self.words(self.words.tokens(texts))

    def forward(self, image_features: tuple[torch.Tensor, ...], prompt: Prompt) -> PromptMaps:
        self.check(prompt)
        image, *seen = (for_each(feature, prompt) for feature in image_features)
        rasters = self._rasters(prompt)
        text = self._text(prompt, rasters)
        if text is not None:
            seen = [self._as_asked(x, text, modulation) for x, modulation in zip(seen, self.modulations)]
        early, seen_2x, seen_4x = seen if self.words is not None else (*seen, 0, 0)
        early = self._with_places(early, rasters, prompt)
        at_1x, presence = self._attended(early, text)
        fine = F.conv2d(rasters, self.stem[0].weight[:, 3:], padding=1)
        fine = self.stem[2](self.stem[1](fine + image))
        at_2x = self.to_2x(F.interpolate(at_1x, scale_factor=2.0, mode="nearest") + seen_2x)
        at_4x = self.to_4x(F.interpolate(at_2x, scale_factor=2.0, mode="nearest") + self.down(fine) + seen_4x)
        coarse = F.interpolate(self.to_fine(at_4x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return PromptMaps([at_4x, at_2x, at_1x, early], self.mask(fine + coarse), presence)

    def _rasters(self, prompt: Prompt) -> torch.Tensor:
        """B*T,1 or 2,mask grid: where the boxes are, and the mask of an earlier frame if the branch takes one."""
        boxes = prompt.raster(self.mask_grid)
        if self.prior is None:
            return boxes.flatten(0, 1)[:, None]
        prior = boxes
        if prompt.prior is not None:
            prior = torch.where(prompt.prior.amax((2, 3), keepdim=True) > 0, prompt.prior, boxes)
        return torch.stack([boxes, prior], 2).flatten(0, 1)

    def _text(self, prompt: Prompt, rasters: torch.Tensor) -> torch.Tensor | None:
        """B*T,1,C, 0 for a target without text; None if the branch takes none."""
        if self.words is None:
            return None
        if prompt.text is None:
            return rasters.new_zeros(len(rasters), 1, self.config.text)
        features, mask = prompt.text.features.flatten(0, 1), prompt.text.mask.flatten(0, 1)
        return features * mask[..., None].to(features.dtype)

    @staticmethod
    def _as_asked(seen: torch.Tensor, text: torch.Tensor, modulation: nn.Linear) -> torch.Tensor:
        """B*T,width of some grid, each channel as the text wants it; as it is without text."""
        scale, shift = modulation(text[:, 0])[..., None, None].chunk(2, 1)
        return seen * (1 + scale) + shift

    def _with_places(self, seen: torch.Tensor, rasters: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        """B*T,width,grid that knows boxes and masks."""
        early = seen + self.box(prompt.raster(self.grid).flatten(0, 1)[:, None])
        return early if self.prior is None else early + self.prior(F.avg_pool2d(rasters[:, 1:], FINE))

    def _attended(self, early: torch.Tensor, text: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """B*T,width,grid after the transformer, and the presence of B*T targets."""
        sequence = early.flatten(2).transpose(1, 2)
        if self.asked is not None:
            sequence = torch.cat([self.asked(text), sequence], 1)
        for block in self.blocks:
            sequence = block(sequence)
        presence = None
        if self.presence is not None:
            presence, sequence = self.presence(sequence[:, 0])[:, 0], sequence[:, 1:]
        return sequence.transpose(1, 2).unflatten(2, self.grid), presence
