"""Quantiles of many values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def quantiles(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """As ``np.quantile(values, levels, axis=-1)`` of at least one value, levels last; four times as fast.

    NumPy sorts with SIMD instructions, but does not partition with them.
    """
    ordered = np.sort(values, axis=-1)
    places = np.array(levels) * (values.shape[-1] - 1)
    low = places.astype(np.intp)
    part = (places - low).astype(values.dtype)
    lower, upper = ordered[..., low], ordered[..., low + (part > 0)]
    with np.errstate(invalid="ignore"):  # of two that are infinite
        found = np.where(lower == upper, lower, lower + (upper - lower) * part)
    return np.where(np.isnan(ordered[..., -1:]), np.nan, found)


def median(values: np.ndarray) -> float:
    """Of at least one value, N; as ``quantiles``, but without what that takes for many."""
    ordered, middle = np.sort(values), (len(values) - 1) // 2
    if np.isnan(ordered[-1]):
        return float("nan")
    lower, upper = float(ordered[middle]), float(ordered[-1 - middle])
    return lower if lower == upper else lower + (upper - lower) / 2
