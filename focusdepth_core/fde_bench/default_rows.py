"""Rows of the default model's result: AbsRel by region, and changes between nets on the same pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from focusdepth_core.fde_bench.compare import A, B, joined
from focusdepth_core.fde_bench.judging import FOCUS, PLAIN
from focusdepth_core.fde_bench.pairs import Pairs
from focusdepth_core.fde_bench.summary import Summary

REGIONS = ("global", "foreground", "band")

Row = dict[str, Any]


def row(pairs: Pairs, net: str, baseline: str | None = None) -> Row:
    """AbsRel of each region, of how many pairs, and the change from the baseline."""
    summary = Summary(pairs)
    means = summary.means(net)
    found: Row = {region: means[f"absrel/{region}"] for region in REGIONS} | {"pairs": len(pairs)}
    if baseline is not None:
        found["change"] = {region: summary.change(net, baseline, f"absrel/{region}") for region in REGIONS}
    return found


def share_of_gain(pairs: Pairs, net: str, whole: Pairs) -> float | None:
    """How much of what focusing gains on the foreground of ``whole`` the net gains on ``pairs``, both relative; None
    where focusing gains nothing."""
    gain, most = (1 - row(p, n)["foreground"] / row(p, PLAIN)["foreground"] for p, n in ((pairs, net), (whole, FOCUS)))
    return round(gain / most, 4) if most > 0 else None


def against(first: Pairs, net: str, second: Pairs, other: str) -> Pairs:
    """``net`` of the first as A and ``other`` of the second as B, where both have an answer."""
    found = joined(_as_focus(first, net), _as_focus(second, other))
    return found.where(np.isfinite(found.metric(A, "absrel/global")) & np.isfinite(found.metric(B, "absrel/global")))


def _as_focus(pairs: Pairs, net: str) -> Pairs:
    table = pairs.table
    kept = [name for name in table.column_names if ":" not in name or name.startswith(f"{net}:")]
    return Pairs(table.select(kept).rename_columns([name.replace(f"{net}:", f"{FOCUS}:", 1) for name in kept]))
