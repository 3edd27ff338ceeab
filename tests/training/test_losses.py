from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.fde_bench.metrics import boundary_band as numpy_band
from focusdepth_core.losses import RegionWeights, boundary_band, disparity_loss, mask_loss, normalised


@pytest.fixture
def depth():
    torch.manual_seed(0)
    return torch.rand(2, 24, 32) + 0.5


@pytest.fixture
def mask():
    mask = torch.zeros(2, 24, 32)
    mask[:, 8:16, 10:20] = 1
    return mask


def test_loss_ignores_scale_and_shift_of_disparity(depth, mask):
    raw = 7 / depth + 3
    assert disparity_loss(raw, depth, mask).item() == pytest.approx(0, abs=1e-4)


def test_loss_does_not_align_the_target_by_itself(depth, mask):
    raw = 1 / depth
    shifted = torch.where(mask > 0, raw + 0.5, raw)  # right inside up to a shift, but floating
    only_target = RegionWeights(whole=0, foreground=1, band=0, gradient=0)
    assert disparity_loss(shifted, depth, mask, only_target) > 0.3


def test_missing_truth_has_no_weight(depth):
    raw = 1 / depth
    depth[:, :5] = 0
    raw[:, :5] = 1e6
    assert disparity_loss(raw, depth).item() == pytest.approx(0, abs=1e-4)


def test_band_is_the_one_of_the_metrics(mask):
    expected = numpy_band(mask[0].numpy() > 0, 2)
    assert np.array_equal(boundary_band(mask, 2)[0].numpy() > 0, expected)


def test_normalisation(depth):
    valid = torch.ones_like(depth)
    n = normalised(depth * 5 + 2, valid)
    assert n.mean((1, 2)).abs().max() < 1e-5
    assert torch.allclose(n.abs().mean((1, 2)), torch.ones(2), atol=1e-5)


def test_mask_loss_falls_with_a_better_mask(mask):
    good, bad = (mask * 2 - 1) * 6, torch.zeros_like(mask)
    assert mask_loss(good, mask) < 0.1 < mask_loss(bad, mask) < mask_loss(-good, mask)
