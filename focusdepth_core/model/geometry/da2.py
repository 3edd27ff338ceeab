"""Depth Anything V2 as the geometry branch: it never sees the prompt.

Output: affine-invariant disparity (scale * raw + shift = 1 / z), as all relative Depth Anything V2 models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from focusdepth_core.model.geometry.base import PATCH, GeometryBranch, check_input_size
from focusdepth_core.model.grids import Grid
from focusdepth_core.perception.result import Space


@dataclass(frozen=True)
class DepthAnythingV2Config:
    """Sizes of a Depth Anything V2 net; the defaults are ``nano``, small enough to train from scratch.

    ``height`` and ``width``: network input in pixels, multiples of the 14 px patch. Raises ``ValueError`` otherwise.
    """

    kind: Literal["depth_anything_v2"] = "depth_anything_v2"
    weights: str | None = None
    height: int = 168
    width: int = 224
    hidden: int = 128
    layers: int = 8
    heads: int = 4
    neck: tuple[int, int, int, int] = (32, 64, 96, 128)
    fusion: int = 32
    head: int = 16

    def __post_init__(self) -> None:
        check_input_size(self.height, self.width)
        if self.layers % 4:
            raise ValueError(
                f"layers = {self.layers}; the decoder taps four evenly spaced layers, so use a multiple of 4"
            )
        if self.hidden % self.heads:
            raise ValueError(f"hidden = {self.hidden} does not divide into {self.heads} heads")

    @property
    def grid(self) -> Grid:
        return self.height // PATCH, self.width // PATCH

    def to_transformers(self) -> DepthAnythingConfig:
        quarter = self.layers // 4
        backbone = Dinov2Config(
            image_size=max(self.height, self.width),
            patch_size=PATCH,
            hidden_size=self.hidden,
            num_attention_heads=self.heads,
            num_hidden_layers=self.layers,
            out_indices=[quarter, 2 * quarter, 3 * quarter, 4 * quarter],
            apply_layernorm=True,
            reshape_hidden_states=False,
        )
        return DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=self.hidden,
            neck_hidden_sizes=list(self.neck),
            fusion_hidden_size=self.fusion,
            head_hidden_size=self.head,
        )


class DepthAnythingV2(GeometryBranch):
    """Encoder, pyramid and decoder of ``DepthAnythingForDepthEstimation`` as separate steps."""

    space = Space.AFFINE_DISPARITY

    def __init__(self, config: DepthAnythingV2Config) -> None:
        """A net that can be trained from scratch.

        The library's initialisation leaves the final ReLU dead; neck and head are initialised by Kaiming instead and
        the ReLU is dropped, which an affine-invariant output allows.
        """
        super().__init__()
        self.config = config
        self.token_channels, self.pyramid_channels = config.hidden, config.fusion
        self.net = DepthAnythingForDepthEstimation(config.to_transformers())
        for module in (*self.net.neck.modules(), *self.net.head.modules()):
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.net.head.activation2 = nn.Identity()

    @property
    def encoder(self) -> nn.Module:
        return self.net.backbone

    @property
    def decoder(self) -> list[nn.Module]:
        return [self.net.neck, self.net.head]

    @property
    def unused(self) -> list[nn.Parameter]:
        """The lowest fusion layer has no skip input, so one of its units never runs (as in the original)."""
        lowest = self.net.neck.fusion_stage.layers[0].residual_layer1
        return [self.net.backbone.embeddings.mask_token, *lowest.parameters()]

    def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [tokens[:, 1:] for tokens in self.net.backbone(image).feature_maps]

    def pyramid(self, tokens: list[torch.Tensor], grid: Grid) -> list[torch.Tensor]:
        neck = self.net.neck
        maps = [t.transpose(1, 2).unflatten(2, grid).contiguous() for t in tokens]
        return [conv(layer(x)) for conv, layer, x in zip(neck.convs, neck.reassemble_stage.layers, maps)]

    def fuse(self, pyramid: list[torch.Tensor], grid: Grid) -> torch.Tensor:
        return self.net.neck.fusion_stage(pyramid)[-1]

    def predict(self, fused: torch.Tensor, grid: Grid) -> torch.Tensor:
        return self.net.head([fused], *grid)
