"""Multi-Scale Spatial-Aligned fusion (MSSA; arXiv 2605.11756, method section).

Per geometry scale: prompt features are aligned cell by cell with the geometry grid, four light experts are routed per
location, and a sigmoid gate adds the result as a residual. The experts' last layer starts at zero, so an untrained
MSSA returns the geometry features bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from focusdepth_core.config import check_at_least_1
from focusdepth_core.model.grids import Grid, Resample
from focusdepth_core.model.prompt.base import PromptMaps

PRIORS = 2  # mask probability and box coverage
LEAST = 1e-3  # weight of a target where its mask is not


@dataclass(frozen=True)
class MSSAConfig:
    """Where MSSA acts, and the paper's ablations. Raises ``ValueError`` for values that cannot be."""

    grids: Literal["pyramid", "tokens"] = "pyramid"
    """tokens: between encoder and decoder, all on the patch grid (the paper). pyramid: on the decoder's real scales."""
    experts: int = 4
    """1 is the ablation with one MLP; give it the rank of all experts together."""
    rank: int = 16
    """Hidden channels of one expert."""
    gate: bool = True
    """False, an ablation: the result is added as it is."""
    shared: bool = False
    """Ablation: the same fusion for all scales."""
    alignment: Literal["aligned", "shuffled"] = "aligned"
    """shuffled, an ablation: prompt features and priors are permuted over the cells of each scale, always alike."""
    source: Literal["prompt", "box"] = "prompt"
    """box, an ablation: MSSA sees where the box is and nothing else of the prompt."""

    def __post_init__(self) -> None:
        check_at_least_1(self, "experts", "rank")


class Aligned(NamedTuple):
    """Per geometry scale, cell by cell: prompt ``features`` N,c_prompt,grid and mask ``probability`` N,grid."""

    features: list[torch.Tensor]
    probability: list[torch.Tensor]


class MSSAScale(nn.Module):
    """Fusion at one scale."""

    def __init__(self, c_prompt: int, c_geometry: int, config: MSSAConfig) -> None:
        super().__init__()
        c, self.experts = c_geometry, config.experts
        self.project = nn.Conv2d(c_prompt, c, 1)
        self.prior = nn.Linear(PRIORS, c)
        self.norm_geometry, self.norm_prompt = nn.LayerNorm(c), nn.LayerNorm(c)
        self.router = nn.Linear(2 * c, config.experts)
        self.expert_in = nn.Linear(2 * c, config.experts * config.rank)
        self.expert_out = nn.Linear(config.experts * config.rank, c, bias=False)
        self.gate = nn.Linear(2 * c, c) if config.gate else None
        nn.init.zeros_(self.expert_out.weight)

    def forward(
        self, geometry: torch.Tensor, prompt: torch.Tensor, priors: torch.Tensor, asks: torch.Tensor
    ) -> torch.Tensor:
        """``geometry`` B,C,grid; ``prompt`` B,c_prompt,grid; ``priors`` B,2,grid; ``asks`` B,1,1, 0 for an image that
        stays as it is -> B,C,grid."""
        g = geometry.flatten(2).transpose(1, 2)  # B,N,C
        p = self.project(prompt).flatten(2).transpose(1, 2)
        p = p + self.prior(priors.flatten(2).transpose(1, 2))
        x = torch.cat([self.norm_geometry(g), self.norm_prompt(p)], -1)
        route, hidden, gate = self._routed(x)
        hidden = F.gelu(hidden).unflatten(-1, (self.experts, -1)) * route.softmax(-1)[..., None]
        residual = asks * self.expert_out(hidden.flatten(-2))
        if gate is not None:
            residual = torch.sigmoid(gate) * residual
        return geometry + residual.transpose(1, 2).unflatten(2, geometry.shape[2:])

    def _routed(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Router, first layers of the experts and gate as one matrix product."""
        layers = [layer for layer in (self.router, self.expert_in, self.gate) if layer is not None]
        weight, bias = torch.cat([m.weight for m in layers]), torch.cat([m.bias for m in layers])
        route, hidden, *gate = F.linear(x, weight, bias).split([m.out_features for m in layers], -1)
        return route, hidden, gate[0] if gate else None


class MSSA(nn.Module):
    """One ``MSSAScale`` per geometry scale, finest first; ``grids``: of the geometry scales."""

    def __init__(
        self, c_prompt: int, c_geometry: int, sources: list[Grid], mask: Grid, grids: list[Grid], config: MSSAConfig
    ) -> None:
        super().__init__()
        self.config, self.grids = config, grids
        count = 1 if config.shared else len(grids)
        self.scales = nn.ModuleList(MSSAScale(c_prompt, c_geometry, config) for _ in range(count))
        self.features_to_geometry = nn.ModuleList(Resample(s, d) for s, d in zip(sources, grids))
        self.mask_to_geometry = nn.ModuleList(Resample(mask, d) for d in grids)
        for i, (rows, columns) in enumerate(grids):
            order = None
            if config.alignment == "shuffled":
                order = torch.randperm(rows * columns, generator=torch.Generator().manual_seed(i))
            self.register_buffer(f"order_{i}", order, persistent=False)

    def align(self, maps: PromptMaps) -> Aligned:
        """Prompt maps brought to the geometry grids."""
        probability = torch.sigmoid(maps.mask_logits)
        features = [resample(f) for resample, f in zip(self.features_to_geometry, maps.features)]
        return Aligned(features, [resample(probability)[:, 0] for resample in self.mask_to_geometry])

    def forward(
        self, geometry: list[torch.Tensor], aligned: Aligned, rasters: list[torch.Tensor], asks: torch.Tensor
    ) -> list[torch.Tensor]:
        """Fuse T targets per image: their features are averaged, weighted by mask probability, so that one decode
        serves all. ``geometry``: B,C,grid each; ``aligned``: of B*T targets; ``rasters``: B,T,grid each; ``asks``: B,T,
        see ``Prompt.asks``."""
        fused, asking = [], asks.to(geometry[0].dtype)[..., None, None]
        for i, (g, raster) in enumerate(zip(geometry, rasters)):
            features = aligned.features[i].unflatten(0, raster.shape[:2])
            probability = aligned.probability[i].unflatten(0, raster.shape[:2])
            if self.config.source == "box":
                features, probability = torch.zeros_like(features), torch.zeros_like(probability)
            p = self._shuffled(_weighted_mean(features, asking * (probability + LEAST)), i)
            priors = self._shuffled(torch.stack([(asking * probability).amax(1), (asking * raster).amax(1)], 1), i)
            fused.append(self.scales[0 if self.config.shared else i](g, p, priors, asking.amax(1)))
        return fused

    def _shuffled(self, x: torch.Tensor, scale: int) -> torch.Tensor:
        order = getattr(self, f"order_{scale}")
        return x if order is None else x.flatten(2)[:, :, order].unflatten(2, x.shape[2:])


def _weighted_mean(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """B,T,C,grid and B,T,grid -> B,C,grid, 0 where there is no weight."""
    share = weight / weight.sum(1, keepdim=True).clamp(min=LEAST / 10)
    return (features * share[:, :, None]).sum(1)
