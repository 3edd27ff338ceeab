from __future__ import annotations

import math

import numpy as np
import pytest

from focusdepth_core.fde_bench.alignment import Prediction, Truth
from focusdepth_core.fde_bench.metrics import Region, boundary_band, edge_metrics, evaluate_pair
from focusdepth_core.perception.result import Space

SHAPE = (60, 80)
MASK = np.zeros(SHAPE, bool)
MASK[20:40, 30:60] = True


def scene() -> np.ndarray:
    """A slanted background from 2 to 4 m with a target at 1 m."""
    gt = np.broadcast_to(np.linspace(4, 2, SHAPE[0])[:, None], SHAPE).astype(np.float32)
    return np.where(MASK, np.float32(1), gt)


@pytest.mark.parametrize(
    ("space", "raw"),
    [
        (Space.AFFINE_DISPARITY, (1 / scene() - 0.7) / 3),
        (Space.AFFINE_DEPTH, (scene() + 5) / 0.2),
        (Space.METRIC, scene()),
    ],
)
def test_a_perfect_prediction_up_to_its_space(space: Space, raw: np.ndarray) -> None:
    pair = evaluate_pair(raw, space, scene(), MASK)
    assert not pair.alignment.failed
    for region in pair.regions.values():
        assert region.absrel < 1e-5
        assert region.delta_1 == 1
    expected = {"affine_disparity": (3, 0.7), "affine_depth": (0.2, -5), "metric": (1, 0)}[space.value]
    assert (pair.alignment.scale, pair.alignment.shift) == pytest.approx(expected, rel=1e-4)


def test_regions_by_hand() -> None:
    gt = np.full(SHAPE, 2, np.float32)
    z = gt.copy()
    z[MASK] = 2.2  # AbsRel 0.1
    z[0, :40] = 3  # AbsRel 0.5, beyond delta_1; 40 px of the background outside the band
    pair = evaluate_pair(z, Space.METRIC, gt, MASK, max_depth_m=10)
    band = (20 + 20) * (30 + 20)  # the mask, 20 x 30, grown by 10 on each side; its inside shrinks to nothing
    narrow = (20 + 10) * (30 + 10) - 10 * 20
    background = 60 * 80 - 600
    regions = pair.regions
    assert {name: r.pixels for name, r in regions.items()} == {
        "foreground": 600,
        "band": band,
        "band_5px": narrow,
        "background": background,
        "global": 4800,
    }
    assert regions["foreground"].absrel == pytest.approx(0.1, rel=1e-5)
    assert regions["band"].absrel == pytest.approx(0.1 * 600 / band, rel=1e-5)
    assert regions["band_5px"].absrel == pytest.approx(0.1 * (600 - 200) / narrow, rel=1e-5)
    assert regions["background"].absrel == pytest.approx(0.5 * 40 / background, rel=1e-5)
    assert regions["global"].absrel == pytest.approx((0.1 * 600 + 0.5 * 40) / 4800, rel=1e-5)
    assert regions["background"].delta_1 == pytest.approx(1 - 40 / background)
    assert regions["foreground"].delta_1 == regions["band"].delta_1 == 1


@pytest.mark.parametrize(("factor", "within"), [(1.24, 1), (1.26, 0), (1 / 1.24, 1), (1 / 1.26, 0)])
def test_delta_1_is_symmetric(factor: float, within: int) -> None:
    gt = np.full(SHAPE, 2, np.float32)
    pair = evaluate_pair(factor * gt, Space.METRIC, gt, MASK, max_depth_m=10)
    assert pair.regions["global"].delta_1 == within


def test_one_alignment_for_all_regions() -> None:
    gt = scene()
    biased = np.where(MASK, 1.1 * gt, gt)
    pair = evaluate_pair(biased, Space.AFFINE_DEPTH, gt, MASK)
    x, y = biased.ravel().astype(float), gt.ravel().astype(float)
    scale, shift = np.polyfit(x, y, 1)
    assert (pair.alignment.scale, pair.alignment.shift) == pytest.approx((scale, shift), rel=1e-4)
    expected = np.abs(scale * 1.1 + shift - 1)
    assert pair.regions["foreground"].absrel == pytest.approx(expected, rel=1e-3)
    assert expected > 0.03  # aligned inside the target alone it would be 0


def test_the_wrong_space_costs() -> None:
    """A perfect disparity, taken for depth, cannot be aligned; hence the space is the model's to declare."""
    gt = scene()
    right = evaluate_pair(1 / gt, Space.AFFINE_DISPARITY, gt, MASK).regions["global"]
    wrong = evaluate_pair(-1 / gt, Space.AFFINE_DEPTH, gt, MASK).regions["global"]
    assert right.absrel < 1e-5 < 0.03 < wrong.absrel


def test_alignment_survives_a_large_offset() -> None:
    raw = 1 / scene() + 1000
    pair = evaluate_pair(raw, Space.AFFINE_DISPARITY, scene(), MASK)
    assert pair.alignment.scale == pytest.approx(1, rel=1e-3)
    assert pair.regions["global"].absrel < 1e-3


def test_invalid_ground_truth_counts_nowhere() -> None:
    gt, raw = scene(), 1 / scene()
    bad = [(25, 40, 0.0, 50), (26, 41, np.nan, 1), (50, 10, np.inf, 1), (51, 10, -1.0, 50), (52, 10, 9.0, 50)]
    for row, col, value, predicted in bad:
        gt[row, col] = value
        raw[row, col] = predicted
    pair = evaluate_pair(raw, Space.AFFINE_DISPARITY, gt, MASK, max_depth_m=5)
    assert pair.regions["foreground"].pixels == 598
    assert pair.regions["band"].pixels == 2000 - 2
    assert pair.regions["background"].pixels == 4200 - 3
    assert pair.regions["global"].absrel < 1e-5
    assert pair.regions["global"].delta_1 == pair.regions["foreground"].delta_1 == 1


def test_disparity_is_clipped_at_the_largest_depth() -> None:
    gt = scene()
    raw = 1 / gt
    raw[0] = -1  # behind infinity
    pair = evaluate_pair(raw, Space.AFFINE_DISPARITY, gt, MASK)
    assert pair.alignment.clipped >= 80 / 4800
    assert pair.regions["global"].absrel < 1  # z is at most 4 m
    assert math.isfinite(pair.regions["global"].absrel)


@pytest.mark.parametrize("raw", [-1 / scene(), np.full(SHAPE, 3, np.float32)])
def test_wrong_order_is_a_failure_worth_a_constant(raw: np.ndarray) -> None:
    gt = scene()
    pair = evaluate_pair(raw, Space.AFFINE_DISPARITY, gt, MASK)
    assert pair.alignment.failed
    constant = 1 / np.mean(1 / gt)
    assert pair.regions["global"].absrel == pytest.approx(np.mean(np.abs(constant - gt) / gt), rel=1e-4)


def test_a_small_region_has_no_metrics() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[10:17, 10:19] = True  # 63 px
    region = evaluate_pair(1 / scene(), Space.AFFINE_DISPARITY, scene(), mask).regions["foreground"]
    assert region.pixels == 63
    assert math.isnan(region.absrel) and math.isnan(region.delta_1)


def test_a_prediction_of_another_size_is_resized() -> None:
    gt = np.broadcast_to(np.linspace(2, 4, 80, dtype=np.float32), SHAPE)
    small = gt[::2].reshape(30, 40, 2).mean(2)
    assert evaluate_pair(small, Space.METRIC, gt, MASK).regions["band"].absrel < 1e-3


@pytest.mark.parametrize("space", list(Space))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_is_a_failure_worth_a_constant(space: Space, value: float) -> None:
    raw, gt = scene(), scene()
    raw[3, 3] = value
    pair = evaluate_pair(raw, space, gt, MASK)
    assert pair.alignment.failed
    constant = 1 / np.mean(1 / gt) if space is Space.AFFINE_DISPARITY else np.mean(gt)
    assert pair.regions["global"].absrel == pytest.approx(np.mean(np.abs(constant - gt) / gt), rel=1e-4)


def test_too_little_truth_is_refused() -> None:
    gt = np.zeros(SHAPE, np.float32)
    gt[0, :63] = 1
    with pytest.raises(ValueError, match="63 valid pixels"):
        evaluate_pair(gt, Space.METRIC, gt, MASK)


def test_regions_at_the_images_corner() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[:20, :30] = True
    gt = np.full(SHAPE, 2, np.float32)
    regions = evaluate_pair(np.where(mask, 3 * gt / 2, gt), Space.METRIC, gt, mask, max_depth_m=10).regions
    grown, shrunk = 30 * 40, 10 * 20  # on the two sides that are inside the image only
    assert regions["band"].pixels == grown - shrunk
    assert regions["band"].absrel == pytest.approx(0.5 * (600 - 200) / 1000)
    assert regions["foreground"].absrel == pytest.approx(0.5)


def test_several_targets_share_one_prediction() -> None:
    truth = Truth(scene())
    prediction = Prediction(1 / np.roll(scene(), 3, 1), Space.AFFINE_DISPARITY, truth)
    masks = [MASK, np.roll(MASK, 25, 1), np.roll(MASK, 20, 0)]
    for mask in masks:
        region = Region(mask, truth)
        shared = edge_metrics(prediction, region)
        alone = edge_metrics(Prediction(1 / np.roll(scene(), 3, 1), Space.AFFINE_DISPARITY, truth), region)
        assert shared == alone or (math.isnan(shared.flying_pixels) and math.isnan(alone.flying_pixels))


def test_band_is_a_square_of_the_radius_and_ends_at_the_images_border() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:, :20] = True  # its only edge is between columns 19 and 20
    columns = np.flatnonzero(boundary_band(mask, 10).all(0))
    np.testing.assert_array_equal(columns, np.arange(10, 30))
    point = np.zeros((40, 40), bool)
    point[20, 20] = True
    assert boundary_band(point, 5).sum() == 11 * 11
