"""Pickles of others, without running what they ask for.

A pickle is a program that calls any function by name. Here it can name only what the caller lists and the three names
with which numpy writes arrays, and all of these are stand-ins of ours: plain records without behaviour.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from focusdepth_core.fde_bench.source import SourceError

MAX_BYTES = 2**26  # of a file; low_dim_obs.pkl of 125 steps has 0.45 MB
_NUMBER = re.compile(r"[biuf][1248]")
_NDARRAY = object()  # an array's class; it is passed around and cannot be called


class Record:
    """Stands for an object of a class that is not here: its attributes as ``fields``."""

    fields: dict[str, Any]

    def __new__(cls) -> Record:  # a stream can make one without calling it
        record = super().__new__(cls)
        record.fields = {}
        return record

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"an object's state is a {type(state).__name__}; expected a dict")
        self.fields = state


class Array:
    """Stands for a numpy array of numbers, ``value``."""

    value: np.ndarray

    def __init__(self) -> None:
        self.value = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, number, fortran, data = state
        if not isinstance(number, _Number) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array without plain numbers")
        if math.prod(shape) * number.dtype.itemsize != len(data):
            raise pickle.UnpicklingError(f"an array of shape {shape} with {len(data)} bytes")
        self.value = np.ndarray(shape, number.dtype, data, order="F" if fortran else "C")


class _Number:
    """Stands for ``numpy.dtype``."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not _NUMBER.fullmatch(code):
            raise pickle.UnpicklingError(f"an array of '{code}'; only numbers are read")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder("=" if state[1] == "|" else state[1])


class _Reconstruct:
    """Stands for ``numpy.core.multiarray._reconstruct``; a stream could set attributes of a function."""

    __slots__ = ()

    def __call__(self, kind: object, shape: tuple, code: bytes) -> Array:
        if kind is not _NDARRAY:
            raise pickle.UnpicklingError("an array of another class")
        return Array()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function with a state")


_ARRAYS = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Number,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),  # its name since numpy 2
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, classes: Iterable[tuple[str, str]]) -> None:
        super().__init__(io.BytesIO(data))
        self._known = _ARRAYS | dict.fromkeys(classes, Record)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not on the list") from None


def load(path: Path, classes: Iterable[tuple[str, str]]) -> Any:
    """The pickled value. ``classes``: (module, name) of those that may occur; their objects come as ``Record``.

    Raises ``OSError``, or ``SourceError`` with the file and the name that was refused, or what is damaged.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SourceError(f"{path} has {size} bytes; at most {MAX_BYTES} are read from a pickle")
    data = path.read_bytes()
    try:
        _check_memo(data)
        return _Unpickler(data, classes).load()
    except Exception as error:  # a damaged stream leads to about any of them
        raise SourceError(f"{path} is refused or damaged: {error or type(error).__name__}") from None


def _check_memo(data: bytes) -> None:
    """A few bytes can ask for a table of 2^32 entries; an honest stream numbers its entries one by one."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > len(data):
            raise pickle.UnpicklingError(f"memo entry {argument} in a file of {len(data)} bytes")
