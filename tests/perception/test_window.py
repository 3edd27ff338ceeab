from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusdepth_core.perception.quantiles import quantiles
from focusdepth_core.perception.window import Part, Window, bounds, grown, merged, overlap

SHAPE = (20, 30)
ends = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted).filter(lambda s: s[0] < s[1])
windows = st.lists(st.tuples(ends, ends).map(lambda s: (slice(*s[0]), slice(*s[1]))), max_size=6)


def drawn(windows: list[Window]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for window in windows:
        mask[window] = True
    return mask


def test_bounds_are_tight() -> None:
    mask = np.zeros(SHAPE, bool)
    assert mask[bounds(mask)].size == 0
    mask[3, 7] = mask[11, 5] = True
    assert bounds(mask) == (slice(3, 12), slice(5, 8))


def test_a_window_grows_to_the_border_of_the_map() -> None:
    assert grown((slice(1, 5), slice(25, 29)), 3, SHAPE) == (slice(0, 8), slice(22, 30))


def test_a_part_within_a_smaller_window() -> None:
    whole = np.arange(600).reshape(SHAPE)
    window, inner = (slice(2, 12), slice(4, 20)), (slice(5, 9), slice(6, 7))
    np.testing.assert_array_equal(Part(window, whole[window]).within(inner), whole[inner])


@given(windows)
def test_merged_windows_are_apart_and_cover_all(given: list[Window]) -> None:
    found = merged(given)
    assert not any(overlap(a, b) for place, a in enumerate(found) for b in found[:place])
    assert not (drawn(given) & ~drawn(found)).any()
    assert len(found) <= len(given)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=50))
def test_quantiles_are_numpys(values: list[float]) -> None:
    levels = (0.0, 0.05, 0.5, 0.95, 1.0)
    rows = np.array([values, values[::-1]], np.float32)
    np.testing.assert_allclose(quantiles(rows, levels), np.quantile(rows, levels, axis=1).T, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("place", [0, 2])
def test_quantiles_with_nan_are_nan(place: int) -> None:
    values = np.ones(3, np.float32)
    values[place] = np.nan
    assert np.isnan(quantiles(values, (0.0, 0.5))).all()


def test_what_is_infinite_leaves_the_others_alone() -> None:
    np.testing.assert_array_equal(quantiles(np.array([1, np.inf, 2], np.float32), (0.5, 1.0)), [2, np.inf])
