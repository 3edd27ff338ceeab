"""Depth Anything V2 as the geometry branch: it never sees the prompt.

Output: affine-invariant disparity (scale * raw + shift = 1 / z), as all relative Depth Anything V2 models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from focusdepth_core.config import check_at_least_1
from focusdepth_core.model.geometry.base import PATCH, GeometryBranch, check_input_size, check_sizes, licence_of
from focusdepth_core.model.grids import Grid
from focusdepth_core.model.weights import CONFIG, WEIGHTS, fetch, load_strict, read_json, read_safetensors
from focusdepth_core.perception.result import Space

LICENCES = {  # by their model cards
    "depth-anything/Depth-Anything-V2-Small-hf": "Apache-2.0",
    "depth-anything/Depth-Anything-V2-Base-hf": "CC-BY-NC-4.0",
    "depth-anything/Depth-Anything-V2-Large-hf": "CC-BY-NC-4.0",
}
Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class DepthAnythingV2Config:
    """Sizes of a Depth Anything V2 net; the defaults are ``nano``, small enough to train from scratch.

    Raises ``ValueError`` for sizes that cannot be.
    """

    kind: Literal["depth_anything_v2"] = "depth_anything_v2"
    """Names the family in files."""
    weights: str | None = None
    """Pretrained ones, as a hub id or a folder."""
    height: int = 168
    """Of the input in pixels, as ``width``: multiples of the 14 px patch."""
    width: int = 224
    """See ``height``."""
    hidden: int = 128
    """Channels of the encoder."""
    layers: int = 8
    """Blocks of the encoder."""
    heads: int = 4
    """Attention heads of a block."""
    taps: Four | None = None
    """Layers that feed the decoder, counted from 1; None spreads them evenly."""
    neck: Four = (32, 64, 96, 128)
    """Channels of the four scales before they are made alike."""
    fusion: int = 32
    """Channels of the decoder."""
    head: int = 16
    """Channels of the last layers, at full size."""
    positions: int | None = None
    """Side in pixels of the square image that position embeddings are stored for; None takes the input's longer one.
    They are stretched over other sizes."""
    final_relu: bool = False
    """The published nets cut their output at 0, which has no gradient there: so it is done in evaluation mode only."""
    box_channel: bool = False
    """A fourth input channel shows the share of each pixel that the targets' boxes cover: what FocusDepth is compared
    with as the plainest way to tell a net about a target."""

    def __post_init__(self) -> None:
        check_input_size(self.height, self.width)
        check_at_least_1(self, "hidden", "layers", "heads", "fusion", "head")
        if self.taps is None and self.layers % 4:
            raise ValueError(f"layers = {self.layers} is no multiple of 4, so taps cannot be spread evenly: give taps")
        if self.taps is not None and not 0 < self.taps[0] < self.taps[1] < self.taps[2] < self.taps[3] <= self.layers:
            raise ValueError(f"taps = {self.taps} do not ascend from 1 to at most layers = {self.layers}")
        if self.hidden % self.heads:
            raise ValueError(f"hidden = {self.hidden} does not divide into {self.heads} heads")
        if self.positions is not None and (self.positions <= 0 or self.positions % PATCH):
            raise ValueError(f"positions = {self.positions} px is not a multiple of the {PATCH} px patch")

    @property
    def grid(self) -> Grid:
        return self.height // PATCH, self.width // PATCH

    @property
    def licence(self) -> str:
        return licence_of(self.weights, LICENCES)

    def to_transformers(self) -> DepthAnythingConfig:
        quarter = self.layers // 4
        backbone = Dinov2Config(
            image_size=self.positions or max(self.height, self.width),
            num_channels=3 + self.box_channel,
            patch_size=PATCH,
            hidden_size=self.hidden,
            num_attention_heads=self.heads,
            num_hidden_layers=self.layers,
            out_indices=list(self.taps or (quarter, 2 * quarter, 3 * quarter, 4 * quarter)),
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


SMALL = DepthAnythingV2Config(
    weights="depth-anything/Depth-Anything-V2-Small-hf",
    height=518,
    width=518,
    hidden=384,
    layers=12,
    heads=6,
    neck=(48, 96, 192, 384),
    fusion=64,
    head=32,
    positions=518,
    final_relu=True,
)
BASE = replace(
    SMALL,
    weights="depth-anything/Depth-Anything-V2-Base-hf",
    hidden=768,
    heads=12,
    neck=(96, 192, 384, 768),
    fusion=128,
)
LARGE = replace(
    SMALL,
    weights="depth-anything/Depth-Anything-V2-Large-hf",
    hidden=1024,
    layers=24,
    heads=16,
    taps=(5, 12, 18, 24),
    neck=(256, 512, 1024, 1024),
    fusion=256,
)
PUBLISHED_AS = {  # fields and what decides beside them -> where the published config.json has it
    "hidden": "backbone_config.hidden_size",
    "layers": "backbone_config.num_hidden_layers",
    "heads": "backbone_config.num_attention_heads",
    "taps": "backbone_config.out_indices",
    "positions": "backbone_config.image_size",
    "neck": "neck_hidden_sizes",
    "fusion": "fusion_hidden_size",
    "head": "head_hidden_size",
    "patch": "patch_size",
    "factors": "reassemble_factors",
    "type": "depth_estimation_type",
}


class DepthAnythingV2(GeometryBranch):
    """Encoder, pyramid and decoder of ``DepthAnythingForDepthEstimation`` as separate steps."""

    space = Space.AFFINE_DISPARITY

    def __init__(self, config: DepthAnythingV2Config) -> None:
        """A net that can be trained from scratch.

        The library's initialisation leaves the final ReLU dead; neck and head are initialised by Kaiming instead.
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
        self.net.head.activation2 = _EvaluationReLU() if config.final_relu else nn.Identity()
        if config.box_channel:
            nn.init.zeros_(self._patches.weight[:, 3:])  # at first it is the net without

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

    @property
    def _patches(self) -> nn.Conv2d:
        return self.net.backbone.embeddings.patch_embeddings.projection

    def adopt(self, state: dict[str, torch.Tensor]) -> None:
        """A net without the box channel may be given to one that has it."""
        (name,) = (n for n, p in self.named_parameters() if p is self._patches.weight)
        more = self._patches.in_channels - state[name].shape[1] if name in state else 0
        super().adopt({n: F.pad(t, (0, 0, 0, 0, 0, more)) if n == name else t for n, t in state.items()})

    def load_pretrained(self, source: str | Path) -> None:
        folder = fetch(source)
        _check_config(self.net.config, folder / CONFIG)
        load_strict(self.net, read_safetensors(folder / WEIGHTS), str(folder / WEIGHTS))

    def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        missing = self._patches.in_channels - image.shape[1]  # nobody is prompted
        image = F.pad(image, (0, 0, 0, 0, 0, missing)) if missing else image
        return [tokens[:, 1:] for tokens in self.net.backbone(image).feature_maps]

    def pyramid(self, tokens: list[torch.Tensor], grid: Grid) -> list[torch.Tensor]:
        neck = self.net.neck
        maps = [t.transpose(1, 2).unflatten(2, grid).contiguous() for t in tokens]
        return [conv(layer(x)) for conv, layer, x in zip(neck.convs, neck.reassemble_stage.layers, maps)]

    def fuse(self, pyramid: list[torch.Tensor], grid: Grid) -> torch.Tensor:
        return self.net.neck.fusion_stage(pyramid)[-1]

    def predict(self, fused: torch.Tensor, grid: Grid) -> torch.Tensor:
        return self.net.head([fused], *grid)


class _EvaluationReLU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.training else x.relu()


def _check_config(ours: DepthAnythingConfig, path: Path) -> None:
    """Raises ``ValueError`` if the published net has other sizes or is of another kind."""
    values = read_json(path)
    check_sizes({"model_type": (ours.model_type, values.get("model_type"))}, path)
    try:
        theirs = DepthAnythingConfig.from_dict(values)
    except StrictDataclassError as error:
        raise ValueError(f"{path} is not understood: {error}") from None
    check_sizes({name: (_value(ours, place), _value(theirs, place)) for name, place in PUBLISHED_AS.items()}, path)


def _value(config: DepthAnythingConfig, place: str) -> object:
    value = attrgetter(place)(config)
    return tuple(value) if isinstance(value, list) else value
