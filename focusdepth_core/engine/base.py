"""What the pipeline asks of an inference backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class EngineError(RuntimeError):
    """A network that cannot be loaded, or inputs that it does not take; one sentence with the file and the value."""


class Engine(Protocol):
    """One loaded network. ``name``: of the backend and what it runs on."""

    name: str

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs by name. Raises ``EngineError`` for inputs of a wrong name, shape or type."""
        ...
