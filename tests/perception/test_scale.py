from __future__ import annotations

import numpy as np
import pytest

from focusdepth_core.perception.result import Scale, Space
from focusdepth_core.perception.scale import MIN_POINTS
from tests.perception.maps import MapFitter

SCALE, SHIFT = 0.25, 0.4
SHAPE = (120, 160)


def scene(space: Space = Space.AFFINE_DISPARITY, near: float = 0.4, far: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Raw values, and the depth in metres that they stand for."""
    z = np.random.default_rng(0).uniform(near, far, SHAPE)
    value = 1 / z if space is Space.AFFINE_DISPARITY else z
    return ((value - SHIFT) / SCALE).astype(np.float32), z.astype(np.float32)


def sparse(z: np.ndarray, points: int = 400, empty: float = 0.0) -> np.ndarray:
    hint = np.full_like(z, empty)
    where = np.random.default_rng(1).choice(z.size, points, replace=False)
    hint.flat[where] = z.flat[where]
    return hint


@pytest.mark.parametrize("space", [Space.AFFINE_DISPARITY, Space.AFFINE_DEPTH])
@pytest.mark.parametrize("empty", [0.0, np.nan, -1.0, np.inf])
def test_exact_points_give_the_exact_scale(space: Space, empty: float) -> None:
    raw, z = scene(space)
    scale = MapFitter().fit(raw, sparse(z, empty=empty), space)
    assert (scale.scale, scale.shift) == pytest.approx((SCALE, SHIFT), rel=1e-4)
    assert (scale.space, scale.source) == (space, "depth_hint")
    assert scale.residual < 1e-4
    np.testing.assert_allclose(scale.to_metres(raw), z, rtol=1e-3)


@pytest.mark.parametrize("space", [Space.AFFINE_DISPARITY, Space.AFFINE_DEPTH])
def test_what_is_no_depth_is_no_number_of_metres(space: Space) -> None:
    scale = Scale(0.5, -1.0, space, "parameter", residual=np.nan, inliers=np.nan)
    raw = np.array([4, 2, 1, np.inf, -np.inf, np.nan], np.float32)
    np.testing.assert_allclose(scale.to_metres(raw), [1, *[np.nan] * 5])
    np.testing.assert_array_equal(raw[:3], [4, 2, 1])


@pytest.mark.parametrize("space", [Space.AFFINE_DISPARITY, Space.AFFINE_DEPTH])
def test_a_fifth_of_outliers_hardly_moves_it(space: Space) -> None:
    raw, z = scene(space)
    rng = np.random.default_rng(2)
    measured = z * rng.normal(1, 0.01, SHAPE)
    outlier = rng.random(SHAPE) < 0.2
    measured[outlier] *= rng.uniform(1.3, 3, outlier.sum())
    scale = MapFitter().fit(raw, sparse(measured.astype(np.float32)), space)
    error = np.median(np.abs(scale.to_metres(raw) / z - 1))
    assert error < 0.01
    assert scale.residual == pytest.approx(0.0067, abs=0.004)  # the median of abs(N(0, 0.01))
    assert 0.7 < scale.inliers < 0.9


def test_too_few_points_give_no_scale() -> None:
    raw, z = scene()
    assert MapFitter().fit(raw, sparse(z, MIN_POINTS - 1), Space.AFFINE_DISPARITY) is None
    assert MapFitter().fit(raw, sparse(z, MIN_POINTS), Space.AFFINE_DISPARITY) is not None
    assert MapFitter().fit(raw, np.zeros_like(z), Space.AFFINE_DISPARITY) is None


@pytest.mark.parametrize("shape", [(3, 6), (10, 12)])
def test_few_points_of_a_small_image_are_not_counted_twice(shape: tuple[int, int]) -> None:
    raw, z = (values[: shape[0], : shape[1]] for values in scene())
    hint = sparse(z, min(z.size, MIN_POINTS - 1))
    assert MapFitter().fit(raw, hint, Space.AFFINE_DISPARITY) is None


def test_negative_scale_is_refused() -> None:
    raw, z = scene()
    assert MapFitter().fit(-raw, sparse(z), Space.AFFINE_DISPARITY) is None


def test_constant_raw_values_are_refused() -> None:
    _, z = scene()
    assert MapFitter().fit(np.full_like(z, 2), sparse(z), Space.AFFINE_DISPARITY) is None


def test_raw_values_that_are_not_finite_are_left_out() -> None:
    raw, z = scene()
    raw[::2], raw[1::4] = np.nan, np.inf
    scale = MapFitter().fit(raw, z, Space.AFFINE_DISPARITY)
    assert (scale.scale, scale.shift) == pytest.approx((SCALE, SHIFT), rel=1e-4)


def test_points_at_the_edge_of_a_mask_are_left_out() -> None:
    raw, z = scene()
    mask = np.zeros(SHAPE, bool)
    mask[40:80, 50:100] = True
    hint = np.zeros_like(z)
    hint[38:43, 50:100] = z[38:43, 50:100]  # within 3 px of the mask's upper edge
    assert MapFitter().fit(raw, hint, Space.AFFINE_DISPARITY, [mask]) is None
    hint[60, 60:90] = z[60, 60:90]
    assert MapFitter().fit(raw, hint, Space.AFFINE_DISPARITY, [mask]) is not None


def test_a_narrow_range_keeps_the_shift_of_the_last_full_fit() -> None:
    raw, z = scene()
    narrow = np.where((z > 1) & (z < 1.1), z, 0)
    fitter = MapFitter()
    assert fitter.fit(raw, narrow, Space.AFFINE_DISPARITY, stamp=1).shift == 0
    fitter.fit(raw, z, Space.AFFINE_DISPARITY, stamp=2)
    again = fitter.fit(raw, narrow * 1.02, Space.AFFINE_DISPARITY, stamp=12)
    assert again.shift == pytest.approx(SHIFT, rel=1e-4)
    middle = narrow > 0
    outlier = middle & (np.random.default_rng(3).random(SHAPE) < 0.2)
    with_outliers = np.where(outlier, 2 * narrow, narrow)
    assert fitter.fit(raw, with_outliers, Space.AFFINE_DISPARITY, stamp=22).shift == again.shift
    np.testing.assert_allclose(again.to_metres(raw)[middle], 1.02 * z[middle], rtol=5e-3)


def test_few_points_among_what_is_too_far_to_measure() -> None:
    raw, z = (np.tile(values, (4, 4)) for values in scene())
    scale = MapFitter().fit(raw, sparse(z, empty=np.inf), Space.AFFINE_DISPARITY)
    assert (scale.scale, scale.shift) == pytest.approx((SCALE, SHIFT), rel=1e-4)


def test_a_dense_hint_on_a_regular_grid() -> None:
    raw, z = scene()
    stripes = np.where(np.arange(SHAPE[1]) % 4 == 0, z, 0)
    scale = MapFitter().fit(np.tile(raw, (4, 4)), np.tile(stripes, (4, 4)), Space.AFFINE_DISPARITY)
    assert (scale.scale, scale.shift) == pytest.approx((SCALE, SHIFT), rel=1e-4)
