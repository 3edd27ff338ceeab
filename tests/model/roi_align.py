"""``roi_align`` as torchvision defines it, one bilinear sample after the other."""

from __future__ import annotations

import math

import numpy as np
import torch


def roi_align_by_definition(maps: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    """``boxes``: xyxy in cells, N,4 for each image -> B*N,C,size,size."""
    out = [[_roi(m.double().numpy(), b.double().tolist(), size) for b in each] for m, each in zip(maps, boxes)]
    return torch.tensor(np.array(out)).flatten(0, 1).to(maps.dtype)


def _roi(map_: np.ndarray, box: list[float], size: int) -> np.ndarray:
    x0, y0, x1, y1 = box
    height, width = max(y1 - y0, 1.0) / size, max(x1 - x0, 1.0) / size
    rows, columns = math.ceil(height), math.ceil(width)
    result = np.zeros((map_.shape[0], size, size))
    for i in range(size):
        for j in range(size):
            points = [
                _bilinear(map_, y0 + (i + (a + 0.5) / rows) * height, x0 + (j + (b + 0.5) / columns) * width)
                for a in range(rows)
                for b in range(columns)
            ]
            result[:, i, j] = np.mean(points, axis=0)
    return result


def _bilinear(map_: np.ndarray, y: float, x: float) -> np.ndarray:
    rows, columns = map_.shape[1:]
    if not (-1 <= y <= rows and -1 <= x <= columns):
        return np.zeros(map_.shape[0])
    y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
    top, left = min(int(y), max(rows - 2, 0)), min(int(x), max(columns - 2, 0))
    v, u = y - top, x - left
    above = (1 - u) * map_[:, top, left] + u * map_[:, top, left + 1]
    return (1 - v) * above + v * ((1 - u) * map_[:, top + 1, left] + u * map_[:, top + 1, left + 1])
