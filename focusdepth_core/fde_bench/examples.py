"""Pairs to look at: those in which the prompt helped most, about as much as usual, and least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from focusdepth_core.fde_bench.alignment import Prediction, Truth
from focusdepth_core.fde_bench.judging import FOCUS, PLAIN, answers
from focusdepth_core.fde_bench.manifest import Manifest, Row
from focusdepth_core.fde_bench.pairs import Pairs
from focusdepth_core.perception.pipeline import Pipeline

PER_KIND = 2
JUDGED_BY = "absrel/foreground"


@dataclass(frozen=True)
class Example:
    """``kind``: best, median or worst; ``plain`` and ``focus``: AbsRel of the foreground and aligned depth."""

    kind: str
    row: Row
    truth: Truth
    plain: tuple[float, Prediction]
    focus: tuple[float, Prediction]


def chosen(pairs: Pairs) -> list[tuple[str, int]]:
    """Kind and index of ``PER_KIND`` pairs each, by the ratio of both nets' error on the target."""
    focus, plain = (pairs.metric(net, JUDGED_BY) for net in (FOCUS, PLAIN))
    order = np.argsort(focus / plain)[: np.count_nonzero(np.isfinite(focus / plain))]  # NaN comes last
    middle = max(len(order) // 2 - PER_KIND // 2, 0)
    parts = {"best": order[:PER_KIND], "median": order[middle : middle + PER_KIND], "worst": order[-PER_KIND:]}
    return [(kind, int(index)) for kind, part in parts.items() for index in part]


def examples(pipeline: Pipeline, manifests: Sequence[Manifest], pairs: Pairs, mode: str) -> list[Example]:
    """Asks the model again for the chosen pairs."""
    places = {row_id: (m, i) for m in manifests for i, row_id in enumerate(m.table["id"].to_pylist())}
    found = []
    for kind, index in chosen(pairs):
        manifest, place = places[pairs["id"][index]]
        row = manifest.row(place)
        truth = Truth(row.read_depth())
        (answer,) = answers(pipeline, [row], mode, robustness=False)
        nets = (
            (float(pairs.metric(net, JUDGED_BY)[index]), Prediction(answer.raw[net], answer.space, truth))
            for net in (PLAIN, FOCUS)
        )
        found.append(Example(kind, row, truth, *nets))
    return found
