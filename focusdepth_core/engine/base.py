"""What the pipeline asks of an inference backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class EngineError(RuntimeError):
    """A network that cannot be loaded, or inputs that it does not take; one sentence with the file and the value."""


class OutOfMemory(EngineError):
    """Of the GPU. What takes more memory need not be tried."""


class Engine(Protocol):
    """One loaded network. ``name``: of the backend and what it runs on."""

    name: str

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs by name. Raises ``EngineError`` for inputs of a wrong name, shape or type."""
        ...


class Texts(Protocol):
    """What a network is told for a text."""

    def features(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """L,C float32 and L float32, 1 where there is a token. Raises ``ValueError`` for a text it cannot give."""
        ...

    def nothing(self) -> tuple[np.ndarray, np.ndarray]:
        """The same for a target without a text."""
        ...


def check_inputs(network: str, declared: Mapping[str, Sequence[Any]], inputs: Mapping[str, np.ndarray]) -> None:
    """``declared``: the shape of each float32 input, with a number per fixed axis and a name or None per dynamic one.

    Raises ``EngineError`` that says what ``network`` takes.
    """
    if inputs.keys() != declared.keys():
        raise EngineError(f"{network} takes {sorted(declared)}, but was given {sorted(inputs)}")
    for name, value in inputs.items():
        shape = declared[name]
        fits = len(value.shape) == len(shape) and all(
            not isinstance(d, int) or s == d for s, d in zip(value.shape, shape)
        )
        if value.dtype != np.float32 or not fits:
            raise EngineError(
                f"input '{name}' of {network} is float32 {shape}, but was given {value.dtype} {list(value.shape)}"
            )
