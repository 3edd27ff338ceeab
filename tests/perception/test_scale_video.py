"""The scale over the frames of a video, against the truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from focusdepth_core.perception.result import Scale, Space
from focusdepth_core.perception.target import Target
from tests.perception.maps import MapFitter

DISPARITY = Space.AFFINE_DISPARITY
SCALE, SHIFT = 0.25, -0.3
SHAPE = (96, 128)
PERIOD_S = 0.1
TARGET = (slice(30, 60), slice(40, 90))


def scene(seed: int = 0) -> np.ndarray:
    """z, 0.4 to 4 m, of a slanted background and a target at about 0.8 m."""
    disparity = np.broadcast_to(np.linspace(0.25, 2.5, SHAPE[0])[:, None], SHAPE).copy()
    disparity[TARGET] = 1.25
    return 1 / (disparity + np.random.default_rng(seed).uniform(0, 0.02, SHAPE))


def frames(count: int, z: np.ndarray, seed: int = 1, gain: float = 1.0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Raw values with 2 % noise and 1 % flicker, and a sensor's 300 points with 1 % noise and 20 % outliers."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        raw = (gain / z - SHIFT) / SCALE * rng.normal(1, 0.02, SHAPE) * rng.normal(1, 0.01)
        hint = np.zeros(SHAPE)
        where = rng.choice(z.size, 300, replace=False)
        hint.flat[where] = z.flat[where] * rng.normal(1, 0.01, 300)
        hint.flat[where[:60]] *= rng.uniform(1.3, 3, 60)
        yield raw.astype(np.float32), hint.astype(np.float32)


def error(scale: Scale | None, raw: np.ndarray, z: np.ndarray, where: tuple[slice, slice] = np.s_[:, :]) -> float:
    assert scale is not None
    return float(np.nanmedian(np.abs(scale.to_metres(raw) / z - 1)[where]))


def level(scale: Scale | None) -> float:
    """Metres that the scale makes of one raw value."""
    assert scale is not None
    return float(scale.to_metres(np.float32(5)))


def test_the_filter_takes_the_flicker_out_and_keeps_the_truth() -> None:
    z, fitter = scene(), MapFitter()
    levels: dict[str, list[float]] = {"one": [], "filtered": []}
    errors = []
    for n, (raw, hint) in enumerate(frames(40, z)):
        filtered = fitter.fit(raw, hint, DISPARITY, stamp=n * PERIOD_S)
        levels["filtered"].append(level(filtered))
        levels["one"].append(level(MapFitter().fit(raw, hint, DISPARITY)))
        errors.append(error(filtered, raw, z))
    steps = {name: np.abs(np.diff(values[5:])).mean() for name, values in levels.items()}
    assert steps["filtered"] < 0.3 * steps["one"]
    assert np.median(errors) < 0.02


def test_a_target_in_a_hole_of_the_sensor() -> None:
    z, fitter = scene(), MapFitter()
    mask = np.zeros(SHAPE, bool)
    mask[TARGET] = True
    for n, (raw, hint) in enumerate(frames(10, z)):
        scale = fitter.fit(raw, np.where(mask, 0, hint), DISPARITY, [mask], n * PERIOD_S)
    assert error(scale, raw, z, TARGET) < 0.03


def test_after_a_jump_the_next_frame_is_right() -> None:
    """The camera stays, but the network's values mean something else, as with another prompt."""
    z, fitter = scene(), MapFitter()
    for n, (raw, hint) in enumerate(frames(10, z)):
        fitter.fit(raw, hint, DISPARITY, stamp=n * PERIOD_S)
    (raw, hint), *_ = frames(1, z, seed=2, gain=1.25)
    assert error(fitter.fit(raw, hint, DISPARITY, stamp=10 * PERIOD_S), raw, z) < 0.03


def test_a_slow_change_is_followed() -> None:
    z, fitter = scene(), MapFitter()
    for n in range(60):
        (raw, hint), *_ = frames(1, z, seed=n, gain=1 + 0.002 * n)
        scale = fitter.fit(raw, hint, DISPARITY, stamp=n * PERIOD_S)
    assert error(scale, raw, z) < 0.03


def test_without_a_hint_the_last_scale_holds_and_ages() -> None:
    z, fitter = scene(), MapFitter()
    (raw, hint), (raw_after, _) = frames(2, z)
    fresh = fitter.fit(raw, hint, DISPARITY, stamp=5.0)
    held = fitter.fit(raw_after, None, DISPARITY, stamp=5.25)
    assert fresh is not None and held is not None
    assert (fresh.age, held.age) == (0, 0.25)
    assert (held.scale, held.shift, held.residual, held.inliers) == (
        fresh.scale,
        fresh.shift,
        fresh.residual,
        fresh.inliers,
    )
    few = np.zeros(SHAPE, np.float32)
    few[0, :5] = 1
    assert fitter.fit(raw_after, few, DISPARITY, stamp=5.5).age == 0.5


def test_without_any_hint_there_is_no_scale() -> None:
    (raw, _), *_ = frames(1, scene())
    assert MapFitter().fit(raw, None, DISPARITY, stamp=1.0) is None


@pytest.mark.parametrize("stamp", [4.0, 5.0])
def test_stamps_that_do_not_rise_start_anew(stamp: float) -> None:
    z, fitter = scene(), MapFitter()
    (raw, hint), *_ = frames(1, z)
    fitter.fit(raw, hint, DISPARITY, stamp=5.0)
    assert fitter.fit(raw, None, DISPARITY, stamp=stamp) is None


@pytest.mark.parametrize("shape", [SHAPE, (48, 64)])
def test_a_cut_forgets_the_scale(shape: tuple[int, int]) -> None:
    z, fitter = scene(), MapFitter()
    (raw, hint), *_ = frames(1, z)
    fitter.fit(raw, hint, DISPARITY, stamp=5.0)
    other = np.random.default_rng(0).uniform(2, 10, shape).astype(np.float32)
    assert fitter.fit(other, None, DISPARITY, stamp=5.1) is None


def test_a_fast_change_is_followed_more_closely_than_by_memory_alone() -> None:
    z, fitter, errors = scene(), MapFitter(), []
    for n in range(30):
        (raw, hint), *_ = frames(1, z, seed=n, gain=1 + 0.02 * n)
        errors.append(error(fitter.fit(raw, hint, DISPARITY, stamp=n * PERIOD_S), raw, z))
    assert np.mean(errors[5:]) < 0.03, "the noise of the network; 0.05 with DOUBT = 0"


def test_a_narrow_range_does_not_bend_what_a_wide_one_has_told() -> None:
    z, fitter = scene(), MapFitter()
    for n, (raw, hint) in enumerate(frames(30, z)):
        near_target = (z > 0.72) & (z < 0.88) if n >= 10 else True
        scale = fitter.fit(raw, np.where(near_target, hint, 0), DISPARITY, stamp=n * PERIOD_S)
    assert error(scale, raw, z) < 0.03
    alone = MapFitter().fit(raw, np.where(near_target, hint, 0), DISPARITY)
    assert error(scale, raw, z) < 0.6 * error(alone, raw, z)


def test_one_frame_of_wrong_depth_does_not_stay() -> None:
    z, fitter = scene(), MapFitter()
    for n, (raw, hint) in enumerate(frames(12, z)):
        scale = fitter.fit(raw, hint * (3 if n == 10 else 1), DISPARITY, stamp=n * PERIOD_S)
    assert error(scale, raw, z) < 0.03


def test_raw_values_without_a_number_are_no_cut() -> None:
    z, fitter = scene(), MapFitter()
    for n, (raw, hint) in enumerate(frames(2, z)):
        raw[:20] = np.nan
        scale = fitter.fit(raw, hint if n == 0 else None, DISPARITY, stamp=float(n))
    assert scale is not None


MUG = Target("mug", (40, 30, 90, 60))


@pytest.mark.parametrize(
    ("now", "is_held"),
    [
        ([MUG], True),
        ([Target("mug", (45, 33, 95, 63))], True),
        ([Target("mug", (0, 30, 30, 60))], False),
        ([Target("bowl", MUG.box)], False),
        ([Target("mug", MUG.box, "red mug")], False),
        ([Target("mug", text="mug")], False),
        ([MUG, Target("bowl", (0, 0, 9, 9))], False),
    ],
)
def test_no_scale_is_held_for_other_targets(now: list[Target], is_held: bool) -> None:
    fitter = MapFitter()
    (raw, hint), (raw_after, hint_after) = frames(2, scene())
    fitter.fit(raw, hint, DISPARITY, stamp=5.0, targets=[MUG])
    held = fitter.fit(raw_after, None, DISPARITY, stamp=5.1, targets=now)
    assert (held is not None) == is_held
    assert fitter.fit(raw_after, hint_after, DISPARITY, stamp=5.2, targets=now) is not None


def test_a_scale_is_held_for_the_same_targets_in_another_order() -> None:
    fitter, bowl = MapFitter(), Target("bowl", (0, 0, 30, 20))
    (raw, hint), (raw_after, _) = frames(2, scene())
    fitter.fit(raw, hint, DISPARITY, stamp=5.0, targets=[MUG, bowl])
    assert fitter.fit(raw_after, None, DISPARITY, stamp=5.1, targets=[bowl, MUG]) is not None
    assert fitter.fit(raw_after, None, DISPARITY, stamp=5.2, targets=[bowl, Target("mug", bowl.box)]) is None


def test_other_targets_are_not_averaged_with_those_before() -> None:
    """Their scale differs by less than a jump."""
    z, fitter = scene(), MapFitter()
    for n, (raw, hint) in enumerate(frames(10, z)):
        fitter.fit(raw, hint, DISPARITY, stamp=n * PERIOD_S, targets=[MUG])
    (raw, hint), *_ = frames(1, z, seed=2, gain=1.08)
    other = fitter.fit(raw, hint, DISPARITY, stamp=10 * PERIOD_S, targets=[Target("bowl", MUG.box)])
    assert other == MapFitter().fit(raw, hint, DISPARITY, stamp=10 * PERIOD_S)


def test_alike_depths_do_not_claim_what_the_unknown_shift_hides() -> None:
    """The hint sees the wall alone; a target stands before it, in a hole of the sensor."""
    z = np.random.default_rng(0).uniform(1.95, 2.05, SHAPE)
    wall, target = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    wall[:10, :20] = target[TARGET] = True
    z[TARGET] = 0.8
    (raw, hint), *_ = frames(1, z)
    hint[target] = 0
    on_target, on_wall = (MapFitter().fit(raw, hint, DISPARITY, [mask]) for mask in (target, wall))
    assert error(on_target, raw, z, TARGET) > 0.2
    assert on_target.residual > 0.2
    assert on_wall.residual < 0.05
    wide = np.where(np.arange(SHAPE[0])[:, None] % 8 == 0, z, 0)
    fitter = MapFitter()
    fitter.fit(raw, wide, DISPARITY, [target], stamp=1.0)
    known = fitter.fit(raw, hint, DISPARITY, [target], stamp=2.0)
    assert known.residual < 0.05 and error(known, raw, z, TARGET) < 0.05
