"""Multi-Scale Spatial-Aligned fusion (MSSA; arXiv 2605.11756, method section).

Per geometry scale: prompt features are aligned cell by cell with the geometry grid, four light experts are routed per
location, and a sigmoid gate adds the result as a residual. The experts' last layer starts at zero, so an untrained
MSSA returns the geometry features bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from focusdepth_core.model.grids import Grid, Resample, raster_boxes
from focusdepth_core.model.prompt.lite import PromptMaps

PRIORS = 2  # mask probability and box coverage


@dataclass(frozen=True)
class MSSAConfig:
    """``rank``: hidden channels of one expert."""

    experts: int = 4
    rank: int = 16


class MSSAScale(nn.Module):
    """Fusion at one scale; grids are fixed at construction."""

    def __init__(self, c_prompt: int, c_geometry: int, src: Grid, dst: Grid, config: MSSAConfig) -> None:
        super().__init__()
        c, self.experts = c_geometry, config.experts
        self.align = Resample(src, dst)
        self.project = nn.Conv2d(c_prompt, c, 1)
        self.prior = nn.Linear(PRIORS, c)
        self.norm_geometry, self.norm_prompt = nn.LayerNorm(c), nn.LayerNorm(c)
        self.router = nn.Linear(2 * c, config.experts)
        self.expert_in = nn.Linear(2 * c, config.experts * config.rank)
        self.expert_out = nn.Linear(config.experts * config.rank, c, bias=False)
        self.gate = nn.Linear(2 * c, c)
        nn.init.zeros_(self.expert_out.weight)

    def forward(self, geometry: torch.Tensor, prompt: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        """``geometry`` B,C,dst; ``prompt`` B,c_prompt,src; ``priors`` B,2,dst -> B,C,dst."""
        g = geometry.flatten(2).transpose(1, 2)  # B,N,C
        p = self.align(self.project(prompt)).flatten(2).transpose(1, 2)
        p = p + self.prior(priors.flatten(2).transpose(1, 2))
        x = torch.cat([self.norm_geometry(g), self.norm_prompt(p)], -1)
        route = self.router(x).softmax(-1)[..., None]  # B,N,E,1
        hidden = F.gelu(self.expert_in(x)).unflatten(-1, (self.experts, -1)) * route
        residual = torch.sigmoid(self.gate(x)) * self.expert_out(hidden.flatten(-2))
        return geometry + residual.transpose(1, 2).unflatten(2, geometry.shape[2:])


class MSSA(nn.Module):
    """One ``MSSAScale`` per geometry scale, finest first."""

    def __init__(
        self, c_prompt: int, c_geometry: int, sources: list[Grid], mask: Grid, targets: list[Grid], config: MSSAConfig
    ) -> None:
        super().__init__()
        self.grids = targets
        pairs = list(zip(sources, targets))
        self.scales = nn.ModuleList(MSSAScale(c_prompt, c_geometry, s, d, config) for s, d in pairs)
        self.mask_to_geometry = nn.ModuleList(Resample(mask, d) for d in targets)
        self.mask_to_prompt = nn.ModuleList(Resample(mask, s) for s in sources)

    def forward(self, geometry: list[torch.Tensor], maps: PromptMaps, boxes: torch.Tensor) -> list[torch.Tensor]:
        """Fuse T targets per image: their prompt maps are averaged, weighted by mask probability, so that one decode
        serves all. ``geometry``: B,C,grid each; ``maps``: of B*T targets; ``boxes``: B,T,4."""
        images = boxes.shape[:2]
        probability = torch.sigmoid(maps.mask_logits)
        fused = []
        for i, (g, p) in enumerate(zip(geometry, maps.features)):
            raster = raster_boxes(boxes.flatten(0, 1), self.grids[i])
            priors = torch.cat([self.mask_to_geometry[i](probability), raster], 1).unflatten(0, images).amax(1)
            fused.append(self.scales[i](g, _weighted_mean(p, self.mask_to_prompt[i](probability), images), priors))
        return fused


def _weighted_mean(features: torch.Tensor, weight: torch.Tensor, images: tuple[int, int]) -> torch.Tensor:
    """B*T,C,grid -> B,C,grid."""
    weight = (weight + 1e-3).unflatten(0, images)
    return (features.unflatten(0, images) * weight).sum(1) / weight.sum(1)
