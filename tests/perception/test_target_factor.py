"""A target's own factor: from sensor depth on it, or around it where the sensor has a hole."""

from __future__ import annotations

import numpy as np
import pytest

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.result import FocusResult, Scale, Space, TargetResult
from focusdepth_core.perception.sensor_depth import SensorDepth
from focusdepth_core.perception.target import Target
from focusdepth_core.perception.target_factor import TargetFactors
from tests.perception.maps import frame_depth

SHAPE = (120, 160)
SCALE = Scale(0.5, 0.1, Space.AFFINE_DISPARITY, "depth_hint", residual=0.01, inliers=1.0)
BOX = np.s_[40:80, 60:100]


def true_depth() -> np.ndarray:
    """A floor from 2 m at the top to 1 m at the bottom, and a target at 1.2 m."""
    depth = np.repeat(np.linspace(2, 1, SHAPE[0], dtype=np.float32)[:, None], SHAPE[1], axis=1)
    depth[BOX] = 1.2
    return depth


def raw_of(depth_m: np.ndarray) -> np.ndarray:
    return ((1 / depth_m - SCALE.shift) / SCALE.scale).astype(np.float32)


def target(raw: np.ndarray, name: str = "mug", left: int = 60) -> TargetResult:
    mask = np.zeros(SHAPE, bool)
    mask[40:80, left : left + 40] = True
    low, median, high = np.quantile(raw[mask], (0.05, 0.5, 0.95)).tolist()
    return TargetResult(Target(name, (left, 40.0, left + 40.0, 80.0)), mask, 0.9, (low, median, high))


def measured(depth_m: np.ndarray, share: float, hole: float | None = None) -> np.ndarray:
    hint = np.where(np.random.default_rng(0).random(SHAPE) < share, depth_m, 0).astype(np.float32)
    if hole is not None:
        hint[BOX] = hole
    return hint


@pytest.fixture
def factors() -> TargetFactors:
    return TargetFactors()


def factor(factors: TargetFactors, raw: np.ndarray, hint: np.ndarray | None, stamp: float = 1.0) -> float:
    seen = None if hint is None else SensorDepth(hint)
    (result,) = factors.correct([target(raw)], frame_depth(raw), seen, SCALE, stamp)
    return result.factor


def test_where_the_frame_is_right_the_factor_is_1(factors: TargetFactors) -> None:
    depth = true_depth()
    assert factor(factors, raw_of(depth), measured(depth, 0.5)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_points_on_the_target_speak_for_it_alone(factors: TargetFactors, share: float) -> None:
    wrong = true_depth()
    wrong[BOX] *= 1.25
    assert factor(factors, raw_of(wrong), measured(true_depth(), share)) == pytest.approx(0.8, rel=1e-4)


def test_of_points_on_one_side_of_the_target_it_is_the_middle_that_counts(factors: TargetFactors) -> None:
    depth = true_depth()
    off = np.ones(SHAPE, np.float32)
    off[BOX] = np.linspace(1.1, 1.3, 40)  # the network's error from left to right, which is 1.2 in the middle
    hint = measured(depth, 0.5)
    hint[40:80, 75:] = 0
    found = 1 / factor(factors, raw_of(depth * off), hint)
    assert 1.18 < found < 1.22  # where it was measured it is 1.14


def test_half_of_the_relief_that_the_network_sees_is_believed(factors: TargetFactors) -> None:
    raw, hint = true_depth(), measured(true_depth(), 1)
    raw[BOX] = 1.2 * np.exp(np.linspace(-0.1, 0.1, 40))  # the target is flat
    hint[40:80, 70:] = 0
    near = np.log(1.2 / raw[60, 60:70]).mean()
    # Of which the field, going on as it was measured, takes away another part.
    assert 0.2 * near < np.log(factor(factors, raw_of(raw), hint)) < 0.4 * near


@pytest.mark.parametrize("hole", [0, np.nan, np.inf])
def test_a_hole_takes_what_is_around_it_and_as_far(factors: TargetFactors, hole: float) -> None:
    wrong = true_depth() * 1.25
    wrong[:20] *= 3  # these and the next are as near in the picture, but far behind
    wrong[100:] *= 3
    wrong[:, :45] *= 3
    assert factor(factors, raw_of(wrong), measured(true_depth(), 0.5, hole=hole)) == pytest.approx(0.8, rel=1e-3)


def test_without_enough_points_it_holds_and_another_target_starts_anew(factors: TargetFactors) -> None:
    wrong, nothing = raw_of(true_depth() * 1.25), np.zeros(SHAPE, np.float32)
    assert factor(factors, wrong, nothing) == 1
    assert factor(factors, wrong, measured(true_depth(), 0.5), 2.0) == pytest.approx(0.8)
    assert factor(factors, wrong, nothing, 3.0) == pytest.approx(0.8)
    assert factor(factors, wrong, None, 4.0) == pytest.approx(0.8)
    (moved,) = factors.correct([target(wrong, left=5)], frame_depth(wrong), None, SCALE, 5.0)
    assert moved.factor == 1


def test_it_is_smoothed_and_a_jump_is_taken_at_once(factors: TargetFactors) -> None:
    hint = measured(true_depth(), 0.5)
    assert factor(factors, raw_of(true_depth()), hint, 1.0) == pytest.approx(1, abs=1e-5)
    assert 0.97 < factor(factors, raw_of(true_depth() * 1.05), hint, 1.1) < 0.995
    assert factor(factors, raw_of(true_depth() * 1.25), hint, 1.2) == pytest.approx(0.8, rel=1e-4)
    assert factor(factors, raw_of(true_depth() * 1.2), hint, 1.2) == pytest.approx(1 / 1.2, rel=1e-4)  # not after


def test_what_was_held_for_long_counts_little(factors: TargetFactors) -> None:
    hint, nothing = measured(true_depth(), 0.5), np.zeros(SHAPE, np.float32)
    factor(factors, raw_of(true_depth() / 1.08), hint, 1.0)
    held = [factor(factors, raw_of(true_depth()), nothing, 1 + n / 10) for n in range(1, 50)]
    assert held == pytest.approx([1.08] * 49, rel=1e-4)
    assert factor(factors, raw_of(true_depth()), hint, 6.0) == pytest.approx(1, abs=1e-3)


def test_a_target_that_was_not_found_and_a_frame_without_scale_have_none(factors: TargetFactors) -> None:
    raw, hint = raw_of(true_depth() * 1.25), SensorDepth(measured(true_depth(), 0.5))
    empty = TargetResult(Target("cup", text="cup"), np.zeros(SHAPE, bool), 0.0, (np.nan,) * 3)
    assert [result.factor for result in factors.correct([empty], frame_depth(raw), hint, SCALE, 1.0)] == [1]
    assert [result.factor for result in factors.correct([target(raw)], frame_depth(raw), hint, None, 2.0)] == [1]


def test_metres_are_corrected_in_each_mask_and_the_first_wins() -> None:
    raw = raw_of(true_depth())
    ones = [
        TargetResult(t.target, t.mask, 0.9, t.raw_quantiles, factor=f)
        for t, f in ((target(raw, "a"), 2.0), (target(raw, "b", 80), 3.0))
    ]
    result = FocusResult(Frame(np.zeros((*SHAPE, 3), np.uint8)), frame_depth(raw), SCALE.space, tuple(ones), SCALE)
    quotient = result.depth_m() / SCALE.to_metres(raw)
    assert quotient[60, [59, 60, 99, 100, 119, 120]].tolist() == pytest.approx([1, 2, 2, 3, 3, 1])
