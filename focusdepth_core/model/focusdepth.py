"""FocusDepth: a Depth Anything net whose features are conditioned by a prompt through MSSA."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from focusdepth_core.model.geometry.da2 import DepthAnythingV2, GeometryConfig, pyramid_grids
from focusdepth_core.model.mssa import MSSA, MSSAConfig
from focusdepth_core.model.prompt.lite import LiteConfig, LitePrompt


@dataclass(frozen=True)
class FocusDepthConfig:
    """Everything that a checkpoint's weights depend on."""

    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    prompt: LiteConfig = field(default_factory=LiteConfig)
    mssa: MSSAConfig = field(default_factory=MSSAConfig)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FocusDepthConfig:
        geometry = {**values["geometry"], "neck": tuple(values["geometry"]["neck"])}
        return cls(GeometryConfig(**geometry), LiteConfig(**values["prompt"]), MSSAConfig(**values["mssa"]))


class FocusDepth(nn.Module):
    """Geometry branch, lite prompt branch and MSSA on the pyramid grids."""

    def __init__(self, config: FocusDepthConfig, geometry: DepthAnythingV2 | None = None) -> None:
        super().__init__()
        self.config = config
        self.geometry = DepthAnythingV2.untrained(config.geometry) if geometry is None else geometry
        grid = config.geometry.grid
        self.prompt = LitePrompt(config.geometry.hidden, grid, config.prompt)
        sources = self.prompt.feature_grids
        c_prompt, c_geometry = config.prompt.width, config.geometry.fusion
        self.mssa = MSSA(c_prompt, c_geometry, sources, self.prompt.fine, pyramid_grids(grid), config.mssa)

    def forward(self, image: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``image`` B,3,h,w normalised; ``boxes`` B,T,4 cxcywh in [0, 1] of the input.

        Returns raw disparity B,h,w, one map for all T targets, and mask logits B,T,rows,columns.
        """
        grid, count = self.config.geometry.grid, boxes.shape[1]
        tokens = self.geometry.encode(image)
        per_target = [t.repeat_interleave(count, 0) for t in (*tokens, image)]
        maps = self.prompt(per_target[:-1], per_target[-1], boxes.flatten(0, 1))
        pyramid = self.mssa(self.geometry.pyramid(tokens, grid), maps, boxes)
        logits = maps.mask_logits[:, 0].unflatten(0, boxes.shape[:2])
        return self.geometry.decode(pyramid, grid), logits

    def set_stage(self, stage: int) -> list[nn.Parameter]:
        """Freeze for training stage 1 (prompt branch and MSSA) or 2 (and the depth decoder); returns what learns.

        The geometry encoder is frozen in both. Raises ``ValueError`` for another stage.
        """
        if stage not in (1, 2):
            raise ValueError(f"stage = {stage}; there are stage 1 (MSSA) and stage 2 (MSSA and decoder)")
        self.requires_grad_(False)
        learning: list[nn.Module] = [self.prompt, self.mssa]
        if stage == 2:
            learning += [self.geometry.net.neck, self.geometry.net.head]
        for module in learning:
            module.requires_grad_(True)
        # The lowest fusion layer has no skip input, so this unit never runs (as in the original Depth Anything).
        self.geometry.net.neck.fusion_stage.layers[0].residual_layer1.requires_grad_(False)
        return [p for p in self.parameters() if p.requires_grad]

    def train(self, mode: bool = True) -> FocusDepth:
        """Training mode for all but the frozen encoder."""
        super().train(mode)
        self.geometry.net.backbone.eval()
        return self
