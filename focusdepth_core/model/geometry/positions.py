"""Where tokens and pixels are, as Depth Anything 3 tells its layers.

What the size that a net is made for needs is computed once, so that graphs hold it as constants; other sizes work too.
"""

from __future__ import annotations

import torch
from torch import nn

from focusdepth_core.model.grids import Grid

BASE = 100.0  # of the frequencies of both kinds, as published
WEIGHT = 0.1  # of the waves, as published
Rotation = tuple[torch.Tensor, torch.Tensor]  # cosine and sine: tokens,channels of a head


class Rotary(nn.Module):
    """Turns queries or keys B,heads,tokens,channels: one half of the channels by the row of a token, the other by its
    column."""

    def forward(self, x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        cosine, sine = rotation
        a, b = x.unflatten(-1, (2, 2, -1)).unbind(-2)
        return x * cosine.to(x.dtype) + torch.stack([-b, a], -2).flatten(-3) * sine.to(x.dtype)


class Rotations(nn.Module):
    """Of a class token and the patches of a grid, for heads of ``channels``."""

    tables: torch.Tensor

    def __init__(self, grid: Grid, channels: int) -> None:
        super().__init__()
        self.grid, self.channels = grid, channels
        self.register_buffer("tables", _rotations(grid, channels), persistent=False)

    def forward(self, grid: Grid) -> tuple[Rotation, Rotation]:
        """For attention within the image, where patches count from 1, and across views, where all are at 1; the class
        token is at 0 in both."""
        known = grid == self.grid
        tables = self.tables if known else _rotations(grid, self.channels).to(self.tables)
        return (tables[0], tables[1]), (tables[2], tables[3])


class ImagePositions(nn.Module):
    """Adds waves over the image to maps B,channels,rows,columns with ``cells`` squared cells in each patch of a grid:
    along x to the first half of the channels, along y to the second. They end at the image's half diagonal."""

    along_x: torch.Tensor
    along_y: torch.Tensor

    def __init__(self, channels: int, cells: int, grid: Grid) -> None:
        super().__init__()
        self.channels, self.cells, self.grid = channels, cells, grid
        for name, waves in zip(("along_x", "along_y"), self._waves(grid)):
            self.register_buffer(name, waves, persistent=False)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        waves = [self.along_x, self.along_y]
        if grid != self.grid:
            waves = [w.to(self.along_x) for w in self._waves(grid)]
        return torch.cat([half + w for half, w in zip(x.chunk(2, 1), waves)], 1)

    def _waves(self, grid: Grid) -> list[torch.Tensor]:
        """channels / 2,1,columns and channels / 2,rows,1."""
        aspect = grid[1] / grid[0]
        diagonal = (aspect**2 + 1) ** 0.5
        x = _wave(grid[1] * self.cells, aspect / diagonal, self.channels // 2)
        y = _wave(grid[0] * self.cells, 1 / diagonal, self.channels // 2)
        return [x[:, None], y[:, :, None]]


def _rotations(grid: Grid, channels: int) -> torch.Tensor:
    """4,tokens,channels: cosine and sine within the image, and across views."""
    rows, columns = (torch.arange(n) + 1 for n in grid)
    places = torch.cartesian_prod(rows, columns)
    within = torch.cat([places.new_zeros(1, 2), places])
    half = channels // 2
    frequency = 1.0 / BASE ** (torch.arange(0, half, 2).float() / half)
    tables = []
    for place in (within, within.clamp(max=1)):
        angles = place[:, :, None] * frequency  # tokens,2,half / 2
        angles = torch.cat([angles, angles], -1).flatten(1)
        tables += [angles.cos(), angles.sin()]
    return torch.stack(tables)


def _wave(count: int, span: float, channels: int) -> torch.Tensor:
    """channels,count: of the centres of cells that fill -span to span."""
    edge = span * (count - 1) / count
    frequency = 1.0 / BASE ** (torch.arange(channels // 2, dtype=torch.float32) / (channels / 2))
    angles = frequency[:, None] * torch.linspace(-edge, edge, count)
    return WEIGHT * torch.cat([angles.sin(), angles.cos()])
