"""What FocusDepth asks of a geometry branch: a monocular depth net in steps, which never sees the prompt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from focusdepth_core.model.grids import Grid
from focusdepth_core.perception.result import Space

PATCH = 14  # px, side of a DINOv2 patch
CANONICAL_FOCAL = 300.0  # px of the input, at which the output of a metric net is metres


class GeometryConfig(Protocol):
    """``height`` and ``width``: input in pixels, whole patches; ``weights``: hub id or folder of pretrained weights."""

    kind: str
    height: int
    width: int
    weights: str | None

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches."""
        ...

    @property
    def licence(self) -> str:
        """Of the weights, as an SPDX id; "Apache-2.0" if they are ours, "unknown" if nobody said."""
        ...


class GeometryBranch(nn.Module, ABC):
    """Depth in four steps, so that MSSA can act between them.

    ``space``: what is invariant in the output (see ``Space``). ``focal_px``: of a metric net, the focal length at
    which its output is metres; at another one, in pixels of the net's input, z = output * focal / ``focal_px``.
    ``token_channels`` and ``pyramid_channels``: C of ``encode`` and F of ``pyramid``.
    """

    config: GeometryConfig
    space: Space
    focal_px: float | None = None
    token_channels: int
    pyramid_channels: int

    @property
    @abstractmethod
    def encoder(self) -> nn.Module:
        """Frozen while MSSA and the decoder are trained."""

    @property
    @abstractmethod
    def decoder(self) -> list[nn.Module]:
        """What stage 2 trains."""

    @property
    @abstractmethod
    def unused(self) -> list[nn.Parameter]:
        """What the original net carries and never runs: it gets no gradient."""

    @abstractmethod
    def load_pretrained(self, source: str | Path) -> None:
        """Copy published weights into the net, from a hub id or a folder of ``config.json`` and ``model.safetensors``.

        Raises ``OSError`` if they cannot be had, ``ValueError`` that lists every size and tensor that does not fit.
        """

    def adopt(self, state: dict[str, torch.Tensor]) -> None:
        """Take the weights of a net like this one. Raises ``ValueError`` for those of another."""
        own = self.state_dict()
        faults = [name for name in own if name not in state or own[name].shape != state[name].shape]
        if faults or own.keys() != state.keys():
            raise ValueError(f"these are weights of another depth net, see {(faults or sorted(state.keys() - own))[0]}")
        self.load_state_dict(state)

    @abstractmethod
    def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        """B,3,h,w normalised image -> four B,N,C maps of patch tokens, row by row, without a class token."""

    @abstractmethod
    def pyramid(self, tokens: list[torch.Tensor], grid: Grid) -> list[torch.Tensor]:
        """Token maps -> B,F,rows,columns on 4, 2, 1 and 1/2 times the patch grid."""

    @abstractmethod
    def fuse(self, pyramid: list[torch.Tensor], grid: Grid) -> torch.Tensor:
        """Pyramid -> the decoder's last feature map B,F,rows,columns, 8 times the patch grid."""

    @abstractmethod
    def predict(self, fused: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Last feature map -> raw depth B,h,w in ``space``."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """B,3,h,w -> B,h,w. The input may have any size in whole patches."""
        grid = (image.shape[2] // PATCH, image.shape[3] // PATCH)
        return self.predict(self.fuse(self.pyramid(self.encode(image), grid), grid), grid)


def check_input_size(height: int, width: int) -> None:
    """Raises ``ValueError`` for a side that is not a positive multiple of the patch."""
    for name, value in (("height", height), ("width", width)):
        if value <= 0 or value % PATCH:
            raise ValueError(f"{name} = {value} px is not a multiple of the {PATCH} px patch")


def pyramid_grids(grid: Grid) -> list[Grid]:
    """Sizes of the four pyramid levels above a patch grid."""
    rows, columns = grid
    return [(4 * rows, 4 * columns), (2 * rows, 2 * columns), grid, ((rows + 1) // 2, (columns + 1) // 2)]


def licence_of(weights: str | None, published: Mapping[str, str]) -> str:
    """Of pretrained weights: "Apache-2.0" for None, which is our own, "unknown" for what is not in the table."""
    return "Apache-2.0" if weights is None else published.get(weights, "unknown")


def check_sizes(differences: Mapping[str, tuple[object, object]], path: Path) -> None:
    """``differences``: field -> its value here and in the published ``path``. Raises ``ValueError`` if any differ."""
    faults = [f"{field} = {ours}, there {theirs}" for field, (ours, theirs) in differences.items() if ours != theirs]
    if faults:
        raise ValueError(f"{path} describes another net than this one: {'; '.join(faults)}")
