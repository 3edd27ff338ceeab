"""Depth Anything V2 as the geometry branch: it never sees the prompt.

Output: affine-invariant disparity (scale * raw + shift = 1 / z), as all relative Depth Anything V2 models.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from focusdepth_core.model.grids import Grid

PATCH = 14


@dataclass(frozen=True)
class GeometryConfig:
    """Sizes of a Depth Anything V2 net; the defaults are ``nano``, small enough to train from scratch.

    ``height`` and ``width``: network input in pixels, multiples of the 14 px patch. Raises ``ValueError`` otherwise.
    """

    height: int = 168
    width: int = 224
    hidden: int = 128
    layers: int = 8
    heads: int = 4
    neck: tuple[int, int, int, int] = (32, 64, 96, 128)
    fusion: int = 32
    head: int = 16

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if value <= 0 or value % PATCH:
                raise ValueError(f"{name} = {value} px is not a multiple of the {PATCH} px patch")
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


class DepthAnythingV2(nn.Module):
    """Encoder, pyramid and decoder of ``DepthAnythingForDepthEstimation`` as separate steps."""

    def __init__(self, net: DepthAnythingForDepthEstimation) -> None:
        super().__init__()
        self.net = net

    @classmethod
    def untrained(cls, config: GeometryConfig) -> DepthAnythingV2:
        """A net that can be trained from scratch.

        The library's initialisation leaves the final ReLU dead; neck and head are initialised by Kaiming instead and
        the ReLU is dropped, which an affine-invariant output allows.
        """
        net = DepthAnythingForDepthEstimation(config.to_transformers())
        for module in (*net.neck.modules(), *net.head.modules()):
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        net.head.activation2 = nn.Identity()
        return cls(net)

    def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        """B,3,h,w normalised image -> four B,1+N,C token maps on the patch grid (class token first)."""
        return list(self.net.backbone(image).feature_maps)

    def pyramid(self, tokens: list[torch.Tensor], grid: Grid) -> list[torch.Tensor]:
        """Token maps -> B,fusion,rows,columns on 4, 2, 1 and 1/2 times the patch grid."""
        neck = self.net.neck
        return [conv(x) for conv, x in zip(neck.convs, neck.reassemble_stage(tokens, *grid))]

    def decode(self, pyramid: list[torch.Tensor], grid: Grid) -> torch.Tensor:
        """Pyramid -> raw disparity B,h,w."""
        return self.net.head(self.net.neck.fusion_stage(pyramid), *grid)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """B,3,h,w -> B,h,w. The input may have any size in whole patches."""
        grid = (image.shape[2] // PATCH, image.shape[3] // PATCH)
        return self.decode(self.pyramid(self.encode(image), grid), grid)


def pyramid_grids(grid: Grid) -> list[Grid]:
    """Sizes of the four pyramid levels above a patch grid."""
    rows, columns = grid
    return [(4 * rows, 4 * columns), (2 * rows, 2 * columns), grid, ((rows + 1) // 2, (columns + 1) // 2)]
