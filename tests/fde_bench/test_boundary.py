from __future__ import annotations

import math

import numpy as np
import pytest

from focusdepth_core.fde_bench.alignment import Prediction, Truth
from focusdepth_core.fde_bench.boundary import FACTORS, boundary_f1, edge_levels
from focusdepth_core.fde_bench.metrics import Region, edge_metrics
from focusdepth_core.perception.result import Space

SHAPE = (40, 60)
EVERYWHERE = np.ones(SHAPE, bool)


def step(column: int, near: float = 1.0, far: float = 2.0) -> np.ndarray:
    """Near on the left, far from ``column`` on."""
    return np.where(np.arange(SHAPE[1]) < column, near, far).astype(np.float32) + np.zeros(SHAPE, np.float32)


def f1(predicted: np.ndarray, true: np.ndarray, region: np.ndarray = EVERYWHERE) -> float:
    return boundary_f1(edge_levels(predicted), edge_levels(true), region)


def by_definition(predicted: np.ndarray, true: np.ndarray) -> float:
    """Depth Pro's, written out: all four directions have edges."""

    def edges(d: np.ndarray, t: float) -> list[np.ndarray]:
        pairs = [(d[1:], d[:-1]), (d[:-1], d[1:]), (d[:, 1:], d[:, :-1]), (d[:, :-1], d[:, 1:])]
        return [a / b > t for a, b in pairs]

    total = 0.0
    for t in FACTORS:
        both = [(a, b) for a, b in zip(edges(predicted, t), edges(true, t))]
        precision = np.mean([(a & b).sum() / a.sum() for a, b in both])
        recall = np.mean([(a & b).sum() / b.sum() for a, b in both])
        total += t * 2 * precision * recall / (precision + recall)
    return total / FACTORS.sum()


def test_levels_by_hand() -> None:
    row = np.array([[1, 1.04, 1.2, 1.2, 0.9, 9]], np.float32)  # 1.04, 1.154, 1, 1 / 1.333, 10
    down, right = edge_levels(np.repeat(row, 2, 0))
    exceeded = int((FACTORS < 1.2 / 1.04).sum())
    assert 0 < exceeded < 10
    np.testing.assert_array_equal(right, [[0, exceeded, 0, -10, 10]] * 2)
    assert not down.any()


def test_equal_to_depth_pro_where_all_directions_have_edges() -> None:
    rng = np.random.default_rng(0)
    true = np.exp(rng.normal(0, 0.15, SHAPE)).astype(np.float32)
    predicted = (true * np.exp(rng.normal(0, 0.05, SHAPE))).astype(np.float32)
    assert f1(predicted, true) == pytest.approx(by_definition(predicted, true), rel=1e-6)
    assert 0.3 < f1(predicted, true) < 0.95


def test_perfect_is_1_and_so_is_another_scale() -> None:
    assert f1(step(30), step(30)) == pytest.approx(1)
    assert f1(7 * step(30), step(30)) == pytest.approx(1)


@pytest.mark.parametrize(
    "predicted",
    [step(31), step(30, near=2, far=1), np.ones(SHAPE, np.float32), step(30, near=1, far=1.04)],
    ids=["one pixel off", "other direction", "flat", "too faint"],
)
def test_missed_is_0(predicted: np.ndarray) -> None:
    assert f1(predicted, step(30)) == 0


def test_precision_and_recall_by_hand() -> None:
    predicted = step(30)
    predicted[10:30] = 1.5
    # To the right 20 of 20 claimed edges are real and 20 of 40 real ones found; downwards 60 rise and 60 fall, wrongly.
    precision, recall = (1 + 0 + 0) / 3, 0.5 / 3
    assert f1(predicted, step(30)) == pytest.approx(2 * precision * recall / (precision + recall))


def test_a_factor_without_true_edges_does_not_count() -> None:
    true = step(30, 1, 1.1)  # exceeds the factors 1.05, 1.072 and 1.094
    assert f1(true, true) == pytest.approx(1)
    assert f1(step(30, 1, 2), true) == pytest.approx(1)
    assert math.isnan(f1(step(30), np.ones(SHAPE, np.float32)))


def test_only_edges_within_the_region_count() -> None:
    predicted, region = step(30), EVERYWHERE.copy()
    predicted[:, 50:] = 9
    region[:, 45:] = False
    assert f1(predicted, step(30)) < 0.9
    assert f1(predicted, step(30), region) == pytest.approx(1)
    region[:, 29] = False  # one of the two pixels of each edge
    assert math.isnan(f1(predicted, step(30), region))


MASK = np.zeros(SHAPE, bool)
MASK[10:30, 10:30] = True
TRUE = np.where(MASK, 1, 2).astype(np.float32)


def edges_of(z: np.ndarray, gt: np.ndarray = TRUE, space: Space = Space.METRIC):
    truth = Truth(gt)
    return edge_metrics(Prediction(z.astype(np.float32), space, truth), Region(MASK, truth))


def test_the_truth_itself_is_perfect() -> None:
    found = edges_of(TRUE)
    assert (found.f1, found.f1_band) == (pytest.approx(1), pytest.approx(1))
    assert (found.flying_pixels, found.depth_order) == (0, 1)


def test_the_band_has_a_score_of_its_own() -> None:
    z = TRUE.copy()
    z[:, 50:] = 1  # an edge that is not there, far from the target
    found = edges_of(z)
    assert found.f1 < 0.95 and found.f1_band == pytest.approx(1)


def test_boundary_f1_needs_dense_truth() -> None:
    gt = TRUE.copy()
    gt[:3] = 0  # 3 of 40 rows are missing
    found = edges_of(TRUE, gt)
    assert math.isnan(found.f1) and math.isnan(found.f1_band)
    assert (found.flying_pixels, found.depth_order) == (0, 1)


def test_flying_pixels_by_hand() -> None:
    z = TRUE.copy()
    z[10:30, 30:33] = [1.2, 1.5, 1.8]  # of 60 pixels, the 20 in the middle are clear of both surfaces
    band = 40 * 40  # the mask grown by 10 on each side, as its inside shrinks to nothing
    assert edges_of(z).flying_pixels == pytest.approx(20 / band)


def test_flying_pixels_need_a_step() -> None:
    gt = np.where(MASK, 1, 1.04).astype(np.float32)
    found = edges_of(gt, gt)
    assert math.isnan(found.flying_pixels) and math.isnan(found.depth_order)


def test_depth_order_by_hand() -> None:
    assert edges_of(np.where(MASK, 2, 1)).depth_order == 0
    z = TRUE.copy()
    z[10:20, 10:30] = 3  # the upper half of the target behind what surrounds it
    assert edges_of(z).depth_order == pytest.approx(0.5, abs=0.03)


def test_depth_order_looks_at_pairs_whose_truth_differs() -> None:
    gt = TRUE.copy()
    gt[:, 30:] = 1  # to the right the surroundings are as near as the target
    z = gt.copy()
    z[:, 30:] = 0.9
    assert edges_of(z, gt).depth_order == 1


def test_a_failed_alignment_is_the_worst() -> None:
    found = edges_of(-TRUE, space=Space.AFFINE_DEPTH)
    assert (found.f1, found.f1_band, found.flying_pixels, found.depth_order) == (0, 0, 1, 0)
