"""The TensorRT that is installed: what differs between 8.5 and 11, and TensorRT-RTX."""

from __future__ import annotations

import importlib
import re
from collections import deque
from functools import cache
from types import ModuleType
from typing import Any

from focusdepth_core.engine.base import EngineError, OutOfMemory

FLAVOURS = ("tensorrt", "tensorrt_rtx")  # in order of preference
KEPT_ERRORS = 8
OUT_OF_MEMORY = re.compile(r"out ?of ?memory|memory \(.*could not be allocated", re.IGNORECASE)


class Library:
    """``api``: the imported module; ``errors``: the last that TensorRT wrote, for whoever finds that a call failed."""

    def __init__(self, flavour: str, api: Any) -> None:
        self.flavour, self.api = flavour, api
        self.version: str = api.__version__
        self.errors: deque[str] = deque(maxlen=KEPT_ERRORS)
        self.logger = _logger(api, self.errors)

    def member(self, enum: str, name: str) -> Any:
        """Of an enum, or None where this version lacks it."""
        return getattr(getattr(self.api, enum, None), name, None)

    def create(self, kind: str) -> Any:
        """A Builder or Runtime. Raises ``EngineError`` where CUDA or the GPU does not let it start."""
        self.errors.clear()
        try:
            return getattr(self.api, kind)(self.logger)
        except (TypeError, RuntimeError):  # a null pointer reads as a TypeError
            raise self.error(f"{self} does not start", "it cannot use CUDA or the GPU; see `nvidia-smi`") from None

    def error(self, what: str, otherwise: str) -> EngineError:
        """In TensorRT's words if it wrote any, else ``otherwise``, in one line."""
        reason = " ".join((self.errors[-1] if self.errors else otherwise).split())
        if OUT_OF_MEMORY.search(" ".join(self.errors)):
            remedy = "close other programs on the GPU, or take a smaller model or fewer targets"
            return OutOfMemory(f"{what}: out of memory; {remedy} ({reason})")
        return EngineError(f"{what}: {reason}")

    def __str__(self) -> str:
        return f"{self.flavour} {self.version}"


def library() -> Library:
    """Raises ``EngineError`` if no TensorRT can be imported."""
    reasons = []
    for name in FLAVOURS:
        try:
            return _library(name, importlib.import_module(name))
        except (ImportError, OSError, AttributeError) as error:  # a library of it is missing, or the package is empty
            reasons.append(str(error))
    raise EngineError(
        f"TensorRT cannot be imported ({'; '.join(reasons)}); it comes with JetPack, and elsewhere with "
        "`pip install tensorrt-cu12`, of the CUDA that the driver supports"
    )


@cache
def _library(flavour: str, api: ModuleType) -> Library:
    """One for the process, as TensorRT keeps the first logger that it is given."""
    return Library(flavour, api)


def _logger(api: Any, errors: deque[str]) -> Any:
    class Errors(api.ILogger):
        def __init__(self) -> None:
            api.ILogger.__init__(self)  # the binding refuses super()

        def log(self, severity: Any, msg: str) -> None:
            if severity in (api.ILogger.Severity.ERROR, api.ILogger.Severity.INTERNAL_ERROR):
                errors.append(msg)

    return Errors()
