"""What the engine commands say in a terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from focusdepth_core.engine.self_check import AT_LEAST, Figures
from focusdepth_core.engine.settings import Thresholds

LINES_EVERY_S = 20.0  # of the same wording, where there is no terminal
COLUMNS = {
    "deviation": "deviation",
    "depth": "difference",
    "targets": "difference_foreground",
    "AbsRel": "absrel_change",
    "edges": "boundary_f1",
    "masks": "mask_iou",
}


class Progress:
    """Takes sentences; those that say something new are lines, and on a terminal others replace the line before."""

    def __init__(self) -> None:
        self._wording, self._time = "", 0.0

    def __call__(self, sentence: str) -> None:
        wording, now = re.sub(r"\d+", "#", sentence), time.monotonic()
        said, self._wording = self._wording, wording
        if sys.stderr.isatty():
            sys.stderr.write(("\r\033[K" if said in ("", wording) else "\n") + sentence)
            sys.stderr.flush()
        elif wording != said or now - self._time > LINES_EVERY_S:
            self._time = now
            print(sentence, file=sys.stderr)

    def end(self) -> None:
        """What comes next has a line of its own."""
        if self._wording and sys.stderr.isatty():
            sys.stderr.write("\n")


@contextmanager
def progress() -> Iterator[Progress]:
    shown = Progress()
    try:
        yield shown
    finally:
        shown.end()


def show_verdicts(title: str, rows: Mapping[str, Optional[Figures]], limits: Thresholds) -> None:
    """A table with the figures of each of ``rows``; errors in percent."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("", *COLUMNS, "self-check", title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, figures in rows.items():
        if figures is None:
            table.add_row(name, *("" for _ in COLUMNS), "not judged: no samples")
            continue
        values = {key: getattr(figures, key) for key in COLUMNS.values()}
        cells = [f"{v:.3f}" if key in AT_LEAST else f"{100 * v:.2g}%" for key, v in values.items()]
        table.add_row(name, *cells, "; ".join(figures.faults(limits)) or "passed")
    Console().print(table)


def show_times(result: Mapping[str, Any]) -> None:
    """Of ``bench.bench``: a table, and what is not in it."""
    from rich.console import Console
    from rich.table import Table

    backends = result["backends"]
    title = f"{result['model']}, input {result['input'][0]} x {result['input'][1]}: p50 in ms (times the plain net)"
    table = Table("", *backends, title=title)
    for name in next(iter(backends.values()))["networks"]:
        rows = [found["networks"][name] for found in backends.values()]
        table.add_row(name, *(f"{row['p50_ms']:.2f} ({row['ratio_to_plain']:.2f})" for row in rows))
    table.add_section()
    for stage in dict.fromkeys(stage for found in backends.values() for stage in found["stages"]):
        times = [found["stages"].get(stage) for found in backends.values()]
        table.add_row(stage, *("" if one is None else f"{one['p50_ms']:.2f}" for one in times))
    console = Console()
    console.print(table)
    for backend, why in result["absent"].items():
        console.print(f"without {backend}: {why}", markup=False)
