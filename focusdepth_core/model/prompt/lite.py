"""The lite prompt branch: prompt features from the tokens that the geometry branch computes anyway, and a box.

It stands where SAM3 stands in the paper, at a few per cent of its cost: it knows where the target is from the box and
finds its silhouette from the tokens and a convolutional stem that keeps fine edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from focusdepth_core.model.grids import Grid
from focusdepth_core.model.prompt.base import Prompt, PromptBranch, PromptMaps, TextFeatures


@dataclass(frozen=True)
class LiteConfig:
    """``width``: channels; ``depth`` and ``heads``: of the transformer on the patch grid; ``stem``: fine channels."""

    kind: Literal["lite"] = "lite"
    width: int = 64
    depth: int = 2
    heads: int = 2
    stem: int = 16

    @property
    def weights(self) -> None:
        """Always trained here."""
        return None

    @property
    def licence(self) -> str:
        return "Apache-2.0"


def _conv(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1), nn.GroupNorm(8, c_out), nn.ReLU())


class LitePrompt(PromptBranch):
    """Box prompts only. Feature grids: 4, 2, 1 and 1 times the patch grid; mask: 8 times."""

    takes = frozenset({"box"})
    side = 0
    pretrained = False

    def __init__(self, c_geometry: int, grid: Grid, config: LiteConfig) -> None:
        super().__init__()
        rows, columns = grid
        self.config, self.grid = config, grid
        self.width = width = config.width
        self.feature_grids = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), grid, grid]
        self.mask_grid = (8 * rows, 8 * columns)
        self.tokens = nn.Conv2d(2 * c_geometry, width, 1)
        self.box = nn.Conv2d(1, width, 3, padding=1)
        layer = dict(dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, config.heads, 4 * width, **layer) for _ in range(config.depth)
        )
        self.stem = _conv(4, config.stem)
        self.down = _conv(config.stem, width, 2)
        self.to_2x, self.to_4x = _conv(width, width), _conv(width, width)
        self.to_fine = nn.Conv2d(width, config.stem, 1)
        self.mask = nn.Sequential(_conv(config.stem, config.stem), nn.Conv2d(config.stem, 1, 3, padding=1))

    def encode_image(self, image: torch.Tensor, tokens: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """B,width,grid of two projected token maps, and the image on the mask grid."""
        maps = [t.transpose(1, 2).unflatten(2, self.grid) for t in (tokens[1], tokens[3])]
        return self.tokens(torch.cat(maps, 1)), F.interpolate(
            image, size=self.mask_grid, mode="bilinear", align_corners=False
        )

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        raise ValueError(f"text {texts[0]!r}: this model takes boxes only; give the target a box")

    def forward(self, image_features: tuple[torch.Tensor, ...], prompt: Prompt) -> PromptMaps:
        tokens, image = (x.repeat_interleave(prompt.targets, 0) for x in image_features)
        coarse_box, fine_box = (prompt.raster(g).flatten(0, 1)[:, None] for g in (self.grid, self.mask_grid))
        early = tokens + self.box(coarse_box)
        sequence = early.flatten(2).transpose(1, 2)
        for block in self.blocks:
            sequence = block(sequence)
        at_1x = sequence.transpose(1, 2).unflatten(2, self.grid)
        fine = self.stem(torch.cat([image, fine_box], 1))
        at_2x = self.to_2x(F.interpolate(at_1x, scale_factor=2.0, mode="nearest"))
        at_4x = self.to_4x(F.interpolate(at_2x, scale_factor=2.0, mode="nearest") + self.down(fine))
        coarse = F.interpolate(self.to_fine(at_4x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return PromptMaps([at_4x, at_2x, at_1x, early], self.mask(fine + coarse))
