"""Progress as a bar on a terminal and as a line now and then elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import Progress

LINES = 4  # elsewhere, to the end


class Counter:
    def __init__(self, console: Console, what: str, total: int) -> None:
        self._console = console
        self._what = what
        self._total = total
        self._lines = 0
        self._bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> Counter:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, count: int) -> None:
        self._bar.update(self._task, completed=count)
        if not self._console.is_terminal and LINES * count // self._total > self._lines:
            self._lines = LINES * count // self._total
            self._console.print(f"{self._what}: {count} of {self._total}")
