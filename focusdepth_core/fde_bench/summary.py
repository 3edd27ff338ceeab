"""Means and intervals over pairs: pairs averaged within a source, sources averaged unweighted.

Intervals are 95 % of a paired bootstrap: groups (scenes, episodes) are drawn anew within each source, and each draw
gives both nets the same pairs.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from focusdepth_core.fde_bench.pairs import METRICS, RELATIVE, Pairs

BOOTSTRAPS = 2000
INTERVAL = (0.025, 0.975)


class Draws:
    """The pairs of one source and how often each of its groups counts; row 0 of the draws is the sample itself."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        names, self._codes = np.unique(pairs["group"], return_inverse=True)
        self.groups = len(names)
        seed = crc32(str(pairs.sources[0]).encode())  # of its own, for sources are drawn independently
        drawn = np.random.default_rng(seed).multinomial(self.groups, np.full(self.groups, 1 / self.groups), BOOTSTRAPS)
        self._counts = np.concatenate([np.ones((1, self.groups)), drawn])

    def means(self, values: np.ndarray) -> np.ndarray:
        """Mean of the finite values in each draw; NaN in a draw without any."""
        finite = np.isfinite(values)
        codes = self._codes[finite]
        weight = self._counts @ np.bincount(codes, minlength=self.groups)
        total = self._counts @ np.bincount(codes, values[finite], self.groups)
        return np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)


class Summary:
    """Of all sources in ``pairs``, which is not empty; a source without a metric is left out of its mean."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._draws = [Draws(pairs.where(pairs.sources == name)) for name in np.unique(pairs.sources)]

    def as_json(self, net: str, baseline: str) -> dict:
        """``change``: from the baseline to the net; see ``change``."""
        result: dict = {"pairs": len(self._pairs), "groups": self.groups}
        result |= {name: self.means(name) for name in dict.fromkeys((net, baseline))}
        result["change"] = {m: self.change(net, baseline, m) for m in METRICS}
        return result | {"mask_iou": _rounded(self._mean("mask_iou"))}

    @property
    def groups(self) -> int:
        return sum(draws.groups for draws in self._draws)

    def means(self, net: str) -> dict[str, float | None]:
        """Every metric; ``clipped``: mean share of clipped pixels; ``failed``: how many alignments failed."""
        found = {m: _rounded(float(self._over_sources(net, m, net)[0])) for m in METRICS}
        failed = int(np.nansum(self._pairs[f"{net}:failed"]))
        return found | {"clipped": _rounded(self._mean(f"{net}:clipped")), "failed": failed}

    def change(self, net: str, baseline: str, metric: str) -> dict[str, float | None]:
        """From baseline to net with its interval: as a share of the baseline for AbsRel, else the difference."""
        a, b = self._over_sources(baseline, metric, net), self._over_sources(net, metric, baseline)
        change = b / a - 1 if metric.startswith(RELATIVE) else b - a
        if not np.isfinite(change[0]):
            return dict.fromkeys(("mean", "low", "high"))
        low, high = np.nanquantile(change, INTERVAL)
        return {"mean": _rounded(change[0]), "low": _rounded(low), "high": _rounded(high)}

    def _over_sources(self, net: str, metric: str, other: str) -> np.ndarray:
        """Mean over the sources in every draw, of the pairs for which ``other`` has the metric too."""
        means = []
        for draws in self._draws:
            values, others = (draws.pairs.metric(name, metric) for name in (net, other))
            means.append(draws.means(np.where(np.isfinite(others), values, np.nan)))
        return _finite_mean(np.array(means))

    def _mean(self, column: str) -> float:
        return float(_finite_mean(np.array([d.means(d.pairs[column].astype(float))[:1] for d in self._draws]))[0])


def _finite_mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis; NaN without a finite value."""
    finite = np.isfinite(values)
    count = finite.sum(0)
    return np.where(count, np.where(finite, values, 0).sum(0) / np.maximum(count, 1), np.nan)


def _rounded(value: float) -> float | None:
    """None for NaN, which JSON does not know."""
    return round(float(value), 4) if np.isfinite(value) else None
