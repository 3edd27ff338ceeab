"""Boxes for SAM3: their features as its geometry encoder makes them, without torchvision, and what lies outside them.

Plain matrix products with shapes that depend on nothing but the grids, so that it exports anywhere.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from focusdepth_core.model.grids import Grid
from focusdepth_core.model.prompt.base import PADDING, POSITIVE, Prompt, for_each

MASKED = -1e4  # added to attention logits; unlike -inf it survives FP16 and a row where all is masked
MARGIN, RAMP = 0.1, 0.25  # of a box's side


def roi_align(maps: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    """``maps`` B,C,rows,columns; ``boxes`` B,N,4 cxcywh in [0, 1] -> B,N,C,size,size.

    What torchvision's ``roi_align`` computes with its defaults (adaptive sampling, not aligned), as two products with
    sampling matrices. A box larger than the map is sampled more coarsely.
    """
    rows, columns = maps.shape[-2:]
    down = _samples(boxes[..., 1] * rows, boxes[..., 3] * rows, rows, size)
    across = _samples(boxes[..., 0] * columns, boxes[..., 2] * columns, columns, size)
    bands = down.flatten(1, 2)[:, None] @ maps  # B,C,N*size,columns
    pooled = bands.unflatten(2, (-1, size)) @ across.transpose(-1, -2)[:, None]
    return pooled.transpose(1, 2)


def _samples(centre: torch.Tensor, length: torch.Tensor, n: int, size: int) -> torch.Tensor:
    """B,N intervals in cells of n -> B,N,size,n: weight of each cell in each of ``size`` bins."""
    most = math.ceil(n / size)  # samples in a bin of an interval that covers the map
    low, length = (centre - length / 2)[..., None, None], length.clamp(min=1)[..., None, None]
    used = (length / size).ceil().clamp(max=most)
    bins = torch.arange(size, device=centre.device, dtype=centre.dtype)[:, None]
    order = torch.arange(most, device=centre.device, dtype=centre.dtype)
    at = low + (bins + (order + 0.5) / used) * length / size  # B,N,size,most
    counted = (order < used) & (at >= -1) & (at <= n)
    cells = torch.arange(n, device=centre.device, dtype=centre.dtype)
    weight = (1 - (at.clamp(0, n - 1)[..., None] - cells).abs()).clamp(min=0)
    return (weight * counted[..., None].to(weight.dtype)).sum(-2) / used


def encode_boxes(
    encoder: Any, coarse: torch.Tensor, position: torch.Tensor, prompt: Prompt
) -> tuple[torch.Tensor, ...]:
    """What SAM3's geometry encoder says of B * T targets, and which of its tokens count: B*T,N+1,C and B*T,N+1 bool.

    ``coarse``: B,C,grid image features; ``position``: 1,cells,C. The last token stands for all boxes together. It does
    not count for a target without boxes, of which transformers' model makes no tokens at all.
    """
    boxes, labels = prompt.boxes.flatten(0, 1), prompt.labels.flatten(0, 1)
    tokens = encoder.boxes_direct_project(boxes) + _pooled(encoder, coarse, prompt) + _where(encoder, boxes)
    tokens = tokens + encoder.label_embed(labels.clamp(min=0))
    together = encoder.cls_embed.weight[None].expand(tokens.shape[0], -1, -1)
    tokens = encoder.prompt_layer_norm(encoder.final_proj(torch.cat([tokens, together], 1)))
    valid = labels != PADDING
    valid = torch.cat([valid, valid.any(1, keepdim=True)], 1)
    seen = for_each(coarse.flatten(2).transpose(1, 2), prompt)
    for layer in encoder.layers:
        tokens = layer(tokens, seen, position, additive(valid, tokens.dtype))
    return encoder.output_layer_norm(tokens), valid


def _pooled(encoder: Any, coarse: torch.Tensor, prompt: Prompt) -> torch.Tensor:
    normed = encoder.vision_layer_norm(coarse.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    content = roi_align(normed, prompt.boxes.flatten(1, 2), encoder.roi_size).flatten(2)
    project = encoder.boxes_pool_project  # a convolution over the whole of it
    return F.linear(content, project.weight.flatten(1), project.bias).reshape(
        -1, prompt.boxes.shape[2], len(project.bias)
    )


def _where(encoder: Any, boxes: torch.Tensor) -> torch.Tensor:
    x, y, width, height = boxes.flatten(0, 1).unbind(-1)
    across, down = encoder.position_encoding.encode_1d_positions(x, y)
    code = torch.cat([down, across, height[:, None], width[:, None]], 1)
    return encoder.boxes_pos_enc_project(code).unflatten(0, boxes.shape[:2])


def additive(valid: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """N,L bool -> N,1,1,L to be added to attention logits."""
    return ((~valid).to(dtype) * MASKED)[:, None, None]


def outside(prompt: Prompt, grid: Grid) -> torch.Tensor:
    """B*T,1,rows,columns: 0 in and near a target's positive boxes, rising to 1; 0 everywhere for one without.

    Near is within MARGIN of the box's side, 1 is reached RAMP of it further out.
    """
    across = _outside(prompt.boxes[..., 0], prompt.boxes[..., 2], grid[1])
    down = _outside(prompt.boxes[..., 1], prompt.boxes[..., 3], grid[0])
    positive = (prompt.labels == POSITIVE)[..., None, None]  # B,T,N,1,1
    each = torch.maximum(down[..., None], across[..., None, :])
    nearest = torch.where(positive, each, torch.ones_like(each)).amin(2)
    return torch.where(positive.any(2), nearest, torch.zeros_like(nearest)).flatten(0, 1)[:, None]


def _outside(centre: torch.Tensor, length: torch.Tensor, n: int) -> torch.Tensor:
    """Intervals in [0, 1] -> one more axis, of n cells. An interval is taken to be at least a cell long."""
    centre, length = centre[..., None], length.clamp(min=1 / n)[..., None]
    cells = (torch.arange(n, device=centre.device, dtype=centre.dtype) + 0.5) / n
    return (((cells - centre).abs() - (0.5 + MARGIN) * length) / (RAMP * length)).clamp(0, 1)
