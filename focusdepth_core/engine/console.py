"""What the engine commands say in a terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from focusdepth_core.engine.self_check import AT_LEAST, Figures
from focusdepth_core.engine.settings import Thresholds

LINES_EVERY_S = 20.0  # of the same wording, where there is no terminal
COLUMNS = {
    "deviation": "deviation",
    "depth": "difference",
    "on targets": "difference_foreground",
    "AbsRel": "absrel_change",
    "edge F1": "boundary_f1",
    "mask IoU": "mask_iou",
}


class Progress:
    """Takes sentences: on a terminal each replaces the one before, elsewhere those that say something new are lines."""

    def __init__(self) -> None:
        self._wording, self._time = "", 0.0

    def __call__(self, sentence: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{sentence}")
            sys.stderr.flush()
            return
        wording, now = re.sub(r"\d+", "#", sentence), time.monotonic()
        if wording != self._wording or now - self._time > LINES_EVERY_S:
            self._wording, self._time = wording, now
            print(sentence, file=sys.stderr)


@contextmanager
def progress() -> Iterator[Progress]:
    """Leaves the line clean."""
    try:
        yield Progress()
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")


def verdict_cells(figures: Optional[Figures], limits: Thresholds) -> list[str]:
    """One for each of COLUMNS, errors in percent, and the verdict."""
    if figures is None:
        return ["" for _ in COLUMNS] + ["not judged"]
    faults = figures.faults(limits)
    values = {name: getattr(figures, name) for name in COLUMNS.values()}
    shown = [f"{v:.3f}" if name in AT_LEAST else f"{100 * v:.2g}%" for name, v in values.items()]
    return [*shown, "; ".join(faults) or "passed"]
