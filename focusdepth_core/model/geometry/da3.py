"""Depth Anything 3 as the geometry branch: the depth of one image, without its cameras, rays, confidence and sky.

The layers are those of the package depth-anything-3; what happens between them is written here, because the package's
own forward pass is made for many views and cannot be exported: it asks its tensors for their largest position and
writes into them. Both give the same depth, bit for bit.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from focusdepth_core.model.geometry.base import (
    CANONICAL_FOCAL,
    PATCH,
    GeometryBranch,
    check_input_size,
    check_sizes,
    licence_of,
)
from focusdepth_core.model.geometry.positions import ImagePositions, Rotary, Rotations
from focusdepth_core.model.grids import Grid
from focusdepth_core.model.weights import CONFIG, WEIGHTS, fetch, load_strict, read_json, read_safetensors
from focusdepth_core.perception.result import Space

INSTALL = "pip install --no-deps depth-anything-3 && pip install einops omegaconf addict"
LICENCES = {  # by the table of models in the package's README
    "depth-anything/DA3-SMALL": "Apache-2.0",
    "depth-anything/DA3-BASE": "Apache-2.0",
    "depth-anything/DA3-LARGE": "CC-BY-NC-4.0",
    "depth-anything/DA3-LARGE-1.1": "CC-BY-NC-4.0",
    "depth-anything/DA3MONO-LARGE": "Apache-2.0",
    "depth-anything/DA3METRIC-LARGE": "Apache-2.0",
}
TRAINED_AT = 518  # px, side of the square image that position embeddings are stored for
PREFIX = "model."  # of all published names
AUXILIARY = (*(f"refinenet{i}_aux" for i in range(1, 5)), "output_conv1_aux", "output_conv2_aux")  # rays
Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class Architecture:
    """``name``: the package's. ``taps``: blocks that feed the decoder, counted from 0. ``start``: the first block with
    a camera token and rotary positions; from there on, odd blocks look across views. -1: a net for single images."""

    name: str
    hidden: int
    layers: int
    heads: int
    taps: Four
    start: int
    features: int
    channels: Four

    @property
    def multi_view(self) -> bool:
        return self.start >= 0

    @property
    def dropped(self) -> tuple[str, ...]:
        """How the published names of the parts begin that one image's depth does not need."""
        if not self.multi_view:
            return (f"{PREFIX}head.scratch.sky_output_conv2.",)
        return (f"{PREFIX}cam_enc.", f"{PREFIX}cam_dec.", *(f"{PREFIX}head.scratch.{name}." for name in AUXILIARY))


VARIANTS = {  # the package's configs/*.yaml
    "small": Architecture("da3-small", 384, 12, 6, (5, 7, 9, 11), 4, 64, (48, 96, 192, 384)),
    "base": Architecture("da3-base", 768, 12, 12, (5, 7, 9, 11), 4, 128, (96, 192, 384, 768)),
    "large": Architecture("da3-large", 1024, 24, 16, (11, 15, 19, 23), 8, 256, (256, 512, 1024, 1024)),
    "mono": Architecture("da3mono-large", 1024, 24, 16, (4, 11, 17, 23), -1, 256, (256, 512, 1024, 1024)),
    "metric": Architecture("da3metric-large", 1024, 24, 16, (4, 11, 17, 23), -1, 256, (256, 512, 1024, 1024)),
}


@dataclass(frozen=True)
class DepthAnything3Config:
    """Which Depth Anything 3 net. Raises ``ValueError`` for an input that is not whole patches."""

    kind: Literal["depth_anything_3"] = "depth_anything_3"
    """Names the family in files."""
    variant: Literal["small", "base", "large", "mono", "metric"] = "small"
    """metric gives metres at a focal length of 300 px, the others depth up to scale and shift."""
    weights: str | None = None
    """Pretrained ones, as a hub id or a folder."""
    height: int = 504
    """Of the input in pixels, as ``width``: multiples of the 14 px patch."""
    width: int = 504
    """See ``height``."""

    def __post_init__(self) -> None:
        check_input_size(self.height, self.width)

    @property
    def grid(self) -> Grid:
        return self.height // PATCH, self.width // PATCH

    @property
    def licence(self) -> str:
        return licence_of(self.weights, LICENCES)


class DepthAnything3(GeometryBranch):
    """Tokens of the multi-view nets have twice the encoder's channels: within the image, then across views."""

    def __init__(self, config: DepthAnything3Config) -> None:
        """Raises ``ValueError`` with the line that installs the package if it is missing."""
        super().__init__()
        self.config, self.architecture = config, VARIANTS[config.variant]
        self.space = Space.METRIC if config.variant == "metric" else Space.AFFINE_DEPTH
        self.focal_px = CANONICAL_FOCAL if config.variant == "metric" else None
        package = _package()
        backbone = _encoder(package, self.architecture)
        self.net = nn.ModuleDict(
            {"backbone": nn.ModuleDict({"pretrained": backbone}), "head": _head(package, self.architecture)}
        )
        if self.architecture.multi_view:
            self._add_positions(config.grid)
        self.token_channels = self.architecture.hidden * (2 if self.architecture.multi_view else 1)
        self.pyramid_channels = self.architecture.features

    def _add_positions(self, grid: Grid) -> None:
        """The multi-view nets tell their attention and their head where in the image things are."""
        sizes = self.architecture
        self.rotations = Rotations(grid, sizes.hidden // sizes.heads)
        maps = [(channels, 1) for channels in sizes.channels] + [(sizes.features // 2, PATCH)]
        self.positions = nn.ModuleList(ImagePositions(channels, cells, grid) for channels, cells in maps)

    @property
    def encoder(self) -> nn.Module:
        return self.net["backbone"]

    @property
    def decoder(self) -> list[nn.Module]:
        return [self.net["head"]]

    @property
    def unused(self) -> list[nn.Parameter]:
        return []

    def load_pretrained(self, source: str | Path) -> None:
        folder = fetch(source)
        _check_config(self.architecture, folder / CONFIG)
        path = folder / WEIGHTS
        load_strict(self.net, read_safetensors(path), str(path), PREFIX, self.architecture.dropped)

    def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        sizes, net = self.architecture, self.net["backbone"]["pretrained"]
        grid = (image.shape[2] // PATCH, image.shape[3] // PATCH)
        within, across = self.rotations(grid) if sizes.multi_view else (None, None)
        x = local = net.prepare_tokens_with_masks(image[:, None])[:, 0]  # B,1+N,C
        levels = []
        for i, block in enumerate(net.blocks):
            rotary = sizes.multi_view and i >= sizes.start
            if rotary and i == sizes.start:
                x = torch.cat([net.camera_token[:, :1].expand(len(x), -1, -1), x[:, 1:]], 1)
            looks_across = rotary and i % 2 == 1
            x = block(x, pos=(across if looks_across else within) if rotary else None)
            local = local if looks_across else x
            if i in sizes.taps:
                levels.append(torch.cat([local, net.norm(x)], -1) if sizes.multi_view else net.norm(x))
        return [level[:, 1:] for level in levels]

    def pyramid(self, tokens: list[torch.Tensor], grid: Grid) -> list[torch.Tensor]:
        head, levels = self.net["head"], []
        for i, t in enumerate(tokens):
            x = head.norm(t).transpose(1, 2).unflatten(2, grid)
            # The package's two heads differ in memory layout, which decides how a convolution rounds.
            x = head.projects[i](x if self.architecture.multi_view else x.contiguous())
            x = self.positions[i](x, grid) if self.architecture.multi_view else x
            x = head.resize_layers[i](x)
            levels.append(head.scratch.get_submodule(f"layer{i + 1}_rn")(x))
        return levels

    def fuse(self, pyramid: list[torch.Tensor], grid: Grid) -> torch.Tensor:
        chain = self.net["head"].scratch
        x = chain.refinenet4(pyramid[3], size=pyramid[2].shape[2:])
        x = chain.refinenet3(x, pyramid[2], size=pyramid[1].shape[2:])
        x = chain.refinenet2(x, pyramid[1], size=pyramid[0].shape[2:])
        return chain.refinenet1(x, pyramid[0])

    def predict(self, fused: torch.Tensor, grid: Grid) -> torch.Tensor:
        chain, size = self.net["head"].scratch, (PATCH * grid[0], PATCH * grid[1])
        x = F.interpolate(chain.output_conv1(fused), size, mode="bilinear", align_corners=True)
        x = self.positions[-1](x, grid) if self.architecture.multi_view else x
        return chain.output_conv2(x)[:, 0].exp()  # a second channel is the confidence


def _package() -> SimpleNamespace:
    """The parts of depth-anything-3 in use, without what they print."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations of parts that are not in use
            from depth_anything_3.model.dinov2.vision_transformer import DinoVisionTransformer
            from depth_anything_3.model.dpt import DPT
            from depth_anything_3.model.dualdpt import DualDPT
            from depth_anything_3.utils.logger import LOG_LEVELS, logger
    except ImportError as error:
        raise ValueError(f"Depth Anything 3 cannot be used ({error}); install it with: {INSTALL}") from error
    logger.level = LOG_LEVELS["ERROR"]
    return SimpleNamespace(encoder=DinoVisionTransformer, single=DPT, multi=DualDPT)


def _encoder(package: Any, sizes: Architecture) -> nn.Module:
    net = package.encoder(
        img_size=TRAINED_AT,
        patch_size=PATCH,
        embed_dim=sizes.hidden,
        depth=sizes.layers,
        num_heads=sizes.heads,
        drop_path_uniform=True,  # of rate 0; the other way reads numbers from tensors, which the meta device has not
        alt_start=sizes.start,
        qknorm_start=sizes.start,
        rope_start=sizes.start,
        cat_token=sizes.multi_view,
    )
    net.rope = None
    for block in net.blocks[max(sizes.start, 0) :]:
        block.attn.rope = Rotary()
    return net


def _head(package: Any, sizes: Architecture) -> nn.Module:
    channels = {"features": sizes.features, "out_channels": sizes.channels}
    if not sizes.multi_view:
        return package.single(sizes.hidden, use_sky_head=False, **channels)
    head = package.multi(2 * sizes.hidden, **channels)
    for name in AUXILIARY:
        delattr(head.scratch, name)
    return head


def _check_config(sizes: Architecture, path: Path) -> None:
    """Raises ``ValueError`` if the published net is another one. Only its name tells mono from metric."""
    values = read_json(path)
    check_sizes({"model_name": (sizes.name, values.get("model_name"))}, path)
    net, head = (values.get("config", {}).get(part, {}) for part in ("net", "head"))
    differences = {
        "net.out_layers": (list(sizes.taps), net.get("out_layers")),
        "net.alt_start": (sizes.start, net.get("alt_start")),
        "net.rope_start": (sizes.start, net.get("rope_start")),
        "head.features": (sizes.features, head.get("features")),
        "head.out_channels": (list(sizes.channels), head.get("out_channels")),
    }
    check_sizes(differences, path)
