"""Backends that are not among the results of a command, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional, TypeVar

from focusdepth_core.engine.base import EngineError

T = TypeVar("T")


class Absent(dict[str, str]):
    """Reasons by backend."""

    def tried(self, backend: str, call: Callable[[], T]) -> Optional[T]:
        """What ``call`` gives; None if it, or an earlier one of this backend, failed."""
        if backend in self:
            return None
        try:
            return call()
        except EngineError as error:
            self[backend] = str(error)
        except Exception as error:  # compilers, drivers and memory fail in many ways; the others are timed all the same
            self[backend] = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        return None
