"""The lite prompt branch: prompt features from the tokens that the geometry branch computes anyway, and a box.

It stands where SAM3 stands in the paper, at a few per cent of its cost: it knows where the target is from the box and
finds its silhouette from the tokens and a convolutional stem that keeps fine edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from focusdepth_core.model.grids import Grid, raster_boxes


@dataclass(frozen=True)
class LiteConfig:
    """``width``: channels; ``depth`` and ``heads``: of the transformer on the patch grid; ``stem``: fine channels."""

    width: int = 64
    depth: int = 2
    heads: int = 2
    stem: int = 16


@dataclass(frozen=True)
class PromptMaps:
    """What a prompt branch gives MSSA: features N,width,grid for the four geometry scales, finest first.

    ``mask_logits``: N,1,rows,columns of the target's silhouette.
    """

    features: list[torch.Tensor]
    mask_logits: torch.Tensor


def _conv(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1), nn.GroupNorm(8, c_out), nn.ReLU())


class LitePrompt(nn.Module):
    """Box prompts only. Feature grids: 4, 2, 1 and 1 times the patch grid; mask: 8 times."""

    def __init__(self, c_geometry: int, grid: Grid, config: LiteConfig) -> None:
        super().__init__()
        width, self.grid, self.fine = config.width, grid, (8 * grid[0], 8 * grid[1])
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

    def forward(self, tokens: list[torch.Tensor], image: torch.Tensor, boxes: torch.Tensor) -> PromptMaps:
        """``tokens``: N,1+cells,C maps of the geometry encoder; ``image``: N,3,h,w; ``boxes``: N,4 cxcywh in [0, 1]."""
        maps = [t[:, 1:].transpose(1, 2).unflatten(2, self.grid) for t in (tokens[1], tokens[3])]
        early = self.tokens(torch.cat(maps, 1)) + self.box(raster_boxes(boxes, self.grid))
        sequence = early.flatten(2).transpose(1, 2)
        for block in self.blocks:
            sequence = block(sequence)
        at_1x = sequence.transpose(1, 2).unflatten(2, self.grid)
        fine = F.interpolate(image, size=self.fine, mode="bilinear", align_corners=False)
        fine = self.stem(torch.cat([fine, raster_boxes(boxes, self.fine)], 1))
        at_2x = self.to_2x(F.interpolate(at_1x, scale_factor=2.0, mode="nearest"))
        at_4x = self.to_4x(F.interpolate(at_2x, scale_factor=2.0, mode="nearest") + self.down(fine))
        coarse = F.interpolate(self.to_fine(at_4x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return PromptMaps([at_4x, at_2x, at_1x, early], self.mask(fine + coarse))

    @property
    def feature_grids(self) -> list[Grid]:
        rows, columns = self.grid
        return [(4 * rows, 4 * columns), (2 * rows, 2 * columns), self.grid, self.grid]
