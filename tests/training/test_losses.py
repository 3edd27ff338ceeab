from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.fde_bench.metrics import boundary_band as numpy_band
from focusdepth_core.losses import LossWeights, boundary_band, depth_loss, mask_loss, normalised
from focusdepth_core.perception.result import Space

RAW_OF = {Space.AFFINE_DISPARITY: lambda z: 7 / z + 3, Space.AFFINE_DEPTH: lambda z: 7 * z + 3}
AFFINE = pytest.mark.parametrize("space", list(RAW_OF))


@pytest.fixture
def depth():
    torch.manual_seed(0)
    return torch.rand(2, 24, 32) + 0.5


@pytest.fixture
def mask():
    mask = torch.zeros(2, 24, 32)
    mask[:, 8:16, 10:20] = 1
    return mask


@AFFINE
def test_loss_ignores_scale_and_shift_in_the_nets_own_space_only(depth, mask, space):
    other = next(s for s in RAW_OF if s is not space)
    assert depth_loss(RAW_OF[space](depth), depth, space, mask).item() == pytest.approx(0, abs=1e-4)
    assert depth_loss(RAW_OF[other](depth), depth, space, mask) > 0.1


@AFFINE
def test_loss_does_not_align_the_target_by_itself(depth, mask, space):
    raw = RAW_OF[space](depth)
    shifted = torch.where(mask > 0, raw + 3.5, raw)  # right inside up to a shift, but floating
    only_target = LossWeights(whole=0, foreground=1, band=0, gradient=0)
    assert depth_loss(shifted, depth, space, mask, only_target) > 0.3


def test_a_metric_net_has_to_get_the_scale_right(depth, mask):
    focal = torch.tensor([300.0, 600.0])
    raw = depth * (300 / focal)[:, None, None]
    assert depth_loss(raw, depth, Space.METRIC, mask, None, focal).item() == pytest.approx(0, abs=1e-5)
    whole = LossWeights(1, 0, 0, 0)
    too_far = depth_loss(1.1 * raw, depth, Space.METRIC, mask, whole, focal)
    assert too_far.item() == pytest.approx(0.1, abs=1e-4), "relative to the mean depth"


def test_a_metric_net_learns_nothing_from_an_unknown_camera(depth, mask):
    raw, focal = (2 * depth).requires_grad_(), torch.tensor([300.0, 0.0])
    depth_loss(raw, depth, Space.METRIC, mask, None, focal).backward()
    assert raw.grad[0].abs().sum() > 0 and raw.grad[1].abs().sum() == 0
    with pytest.raises(ValueError, match="focal_px is missing"):
        depth_loss(raw, depth, Space.METRIC, mask)


@pytest.mark.parametrize("missing", [0.0, float("nan"), float("inf"), -1.0])
@AFFINE
def test_missing_truth_has_no_weight(depth, space, missing):
    raw = RAW_OF[space](depth)
    depth[:, :5] = missing
    raw[:, :5] = 1e6
    assert depth_loss(raw, depth, space).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("useless", ["flat", "almost empty", "empty"])
@AFFINE
def test_an_image_that_says_nothing_has_no_gradient_and_spoils_no_other(depth, mask, space, useless):
    truth = depth.clone()
    truth[1] = 2.0 if useless == "flat" else 0.0
    if useless == "almost empty":
        truth[1, 0, :20] = depth[1, 0, :20]
    raw = torch.rand_like(depth).requires_grad_()
    loss = depth_loss(raw, truth, space, mask)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(raw.grad).all()
    assert raw.grad[0].abs().sum() > 0 and raw.grad[1].abs().sum() == 0


def test_a_constant_prediction_has_a_finite_gradient(depth, mask):
    raw = torch.ones_like(depth).requires_grad_()
    depth_loss(raw, depth, Space.AFFINE_DISPARITY, mask).backward()
    assert torch.isfinite(raw.grad).all()


def test_without_weight_a_region_does_not_matter(depth, mask):
    raw = torch.rand_like(depth)
    whole_only = LossWeights(foreground=0, band=0)
    with_target = depth_loss(raw, depth, Space.AFFINE_DEPTH, mask, whole_only)
    assert with_target.item() == pytest.approx(depth_loss(raw, depth, Space.AFFINE_DEPTH).item())
    for part in ("foreground", "band"):
        heavier = LossWeights(**({"foreground": 0, "band": 0} | {part: 2}))
        assert depth_loss(raw, depth, Space.AFFINE_DEPTH, mask, heavier) > with_target + 0.1


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
