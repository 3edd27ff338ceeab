from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.model.prompt.base import NEGATIVE, PADDING, POSITIVE, Prompt, TextFeatures
from focusdepth_core.model.prompt.boxes import outside, roi_align
from tests.model.roi_align import roi_align_by_definition

HERE, THERE = [0.25, 0.3, 0.3, 0.4], [0.75, 0.6, 0.3, 0.35]
BOX = Prompt.box(torch.tensor([[HERE]]))
EXAMPLES = Prompt(  # two positive, one negative, one that is padding
    torch.tensor([[[HERE, THERE, [0.5, 0.9, 0.2, 0.1], [0.0, 0.0, 0.0, 0.0]]]]),
    torch.tensor([[[POSITIVE, POSITIVE, NEGATIVE, PADDING]]]),
)


@pytest.mark.parametrize("shape", [(8, 8), (24, 17)])
def test_roi_align_is_torchvisions(shape):
    maps = torch.randn(2, 3, *shape)
    boxes = torch.rand(2, 5, 4) * 0.5 + 0.1
    boxes[:, 0] = torch.tensor([0.5, 0.5, 1.0, 1.0])  # the whole map
    boxes[:, 1] = torch.tensor([0.3, 0.4, 0.001, 0.0])  # less than a cell
    boxes[:, 2] = torch.tensor([0.02, 0.98, 0.5, 0.4])  # beyond the border
    scale = torch.tensor([shape[1], shape[0]])
    corners = torch.cat(
        [(boxes[..., :2] - boxes[..., 2:] / 2) * scale, (boxes[..., :2] + boxes[..., 2:] / 2) * scale], -1
    )
    expected = roi_align_by_definition(maps, corners, 7).unflatten(0, (2, 5))
    assert torch.allclose(roi_align(maps, boxes, 7), expected, atol=1e-5)


def test_outside_rises_smoothly_from_the_grown_boxes():
    far = outside(EXAMPLES, (40, 40))[0, 0]
    here, there, negative, gap = far[12, 10], far[24, 30], far[36, 20], far[2, 38]
    assert here == there == 0 and negative == 1 and gap == 1
    across = outside(BOX, (40, 40))[0, 0, 12]
    assert (across[4:16] == 0).all() and (across[21:] == 1).all()  # the box ends at 16, with its margin at 17.2
    assert (across[17:21].diff() > 0).all() and across[17:21].diff().max() < 0.4
    assert outside(Prompt.box(torch.tensor([[[0.51, 0.51, 1e-4, 1e-4]]])), (40, 40))[0, 0, 20, 20] == 0
    assert (outside(Prompt.words(TextFeatures(torch.zeros(1, 1, 4, 8), torch.ones(1, 1, 4))), (4, 4)) == 0).all()
