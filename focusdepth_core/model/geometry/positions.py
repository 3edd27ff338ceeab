"""Where tokens and pixels are, as Depth Anything 3 tells its layers: from sizes alone, so graphs hold constants."""

from __future__ import annotations

import torch
from torch import nn

from focusdepth_core.model.grids import Grid

BASE = 100.0  # of both kinds of frequencies, as published
WEIGHT = 0.1  # of position maps, as published
Rotation = tuple[torch.Tensor, torch.Tensor]  # cosine and sine, tokens,channels of a head


class Rotary(nn.Module):
    """Turns queries or keys B,heads,tokens,channels by their positions: one half of the channels by the row, the other
    by the column. No parameters."""

    def forward(self, x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        cosine, sine = rotation
        a, b = x.unflatten(-1, (2, 2, -1)).unbind(-2)
        return x * cosine.to(x.dtype) + torch.stack([-b, a], -2).flatten(-3) * sine.to(x.dtype)


def rotations(grid: Grid, channels: int, device: torch.device) -> tuple[Rotation, Rotation]:
    """Of a class token and ``grid``'s patches: for attention within the image, where patches count from 1, and for
    attention across views, where all patches of a view are at 1. The class token is at 0 in both."""
    rows, columns = (torch.arange(n, device=device) + 1 for n in grid)
    places = torch.cartesian_prod(rows, columns)
    first = places.new_zeros(1, 2)
    within = torch.cat([first, places])
    return _rotation(within, channels), _rotation(within.clamp(max=1), channels)


def image_positions(channels: int, size: Grid, aspect: float, device: torch.device) -> torch.Tensor:
    """channels,rows,columns: sines and cosines of x, then of y, measured in half diagonals of an image from its centre.

    ``aspect``: width / height of the image.
    """
    diagonal = (aspect**2 + 1) ** 0.5
    x = _waves(size[1], aspect / diagonal, channels // 2, device)
    y = _waves(size[0], 1 / diagonal, channels // 2, device)
    return WEIGHT * torch.cat([x[:, None].expand(-1, *size), y[:, :, None].expand(-1, *size)])


def _rotation(places: torch.Tensor, channels: int) -> Rotation:
    half = channels // 2
    frequency = 1.0 / BASE ** (torch.arange(0, half, 2, device=places.device).float() / half)
    angles = places[:, :, None] * frequency  # tokens,2,half / 2
    angles = torch.cat([angles, angles], -1).flatten(1)
    return angles.cos(), angles.sin()


def _waves(count: int, span: float, channels: int, device: torch.device) -> torch.Tensor:
    """channels,count: of cell centres that fill -span to span."""
    edge = span * (count - 1) / count
    half = channels // 2
    frequency = 1.0 / BASE ** (torch.arange(half, device=device, dtype=torch.float32) / (channels / 2))
    angles = frequency[:, None] * torch.linspace(-edge, edge, count, device=device)
    return torch.cat([angles.sin(), angles.cos()])
