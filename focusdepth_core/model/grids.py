"""Resampling and rasterising on token grids, with constant matrices and plain arithmetic so that both export anywhere.

Every grid covers the same image: coordinates run over [0, 1] on both axes.
"""

from __future__ import annotations

import torch
from torch import nn

Grid = tuple[int, int]  # rows, columns


def resampling_matrix(n_in: int, n_out: int) -> torch.Tensor:
    """n_out,n_in: the exact area mean when shrinking, half-pixel bilinear when enlarging."""
    if n_out <= n_in:
        edges = torch.arange(n_out + 1, dtype=torch.float64) * n_in / n_out
        cells = torch.arange(n_in, dtype=torch.float64)
        overlap = torch.minimum(edges[1:, None], cells + 1) - torch.maximum(edges[:-1, None], cells)
        return (overlap.clamp(min=0) * n_out / n_in).float()
    centre = ((torch.arange(n_out, dtype=torch.float64) + 0.5) * n_in / n_out - 0.5).clamp(0, n_in - 1)
    weight = 1 - (centre[:, None] - torch.arange(n_in, dtype=torch.float64)).abs()
    return weight.clamp(min=0).float()


class Resample(nn.Module):
    """B,C,src -> B,C,dst as two constant matrix products; nothing at all when the grids agree."""

    rows: torch.Tensor | None
    columns: torch.Tensor | None

    def __init__(self, src: Grid, dst: Grid) -> None:
        super().__init__()
        for name, n_in, n_out in (("rows", src[0], dst[0]), ("columns", src[1], dst[1])):
            matrix = None if n_in == n_out else resampling_matrix(n_in, n_out)
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.rows is not None:
            x = self.rows @ x
        return x if self.columns is None else x @ self.columns.t()


def raster_boxes(boxes: torch.Tensor, grid: Grid) -> torch.Tensor:
    """N,4 cxcywh in [0, 1] -> N,1,rows,columns: the share of each cell that its box covers."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    low, high = centre - half, centre + half
    across = _coverage(low[:, 0], high[:, 0], grid[1])
    down = _coverage(low[:, 1], high[:, 1], grid[0])
    return (down[:, :, None] * across[:, None, :])[:, None]


def _coverage(low: torch.Tensor, high: torch.Tensor, n: int) -> torch.Tensor:
    """N intervals in [0, 1] -> N,n: covered share of each of n cells."""
    edge = torch.arange(n, device=low.device, dtype=low.dtype) / n
    inside = torch.minimum(high[:, None], edge + 1 / n) - torch.maximum(low[:, None], edge)
    return (inside * n).clamp(0, 1)
