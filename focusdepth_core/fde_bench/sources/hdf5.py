"""HDF5 files of others: what a dataset claims to be is checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from focusdepth_core.fde_bench.source import SourceError

if TYPE_CHECKING:
    import h5py

MAX_PIECE = 2**28  # bytes of one frame, or of the chunk it is read from; those of real files take a few MB
MAX_LENGTH = 100_000  # frames; a file without any data can claim more
MAX_TEXT = 200  # characters


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, for reading. Raises ``SourceError`` that names it for all that goes wrong with it."""
    try:
        import h5py
    except ImportError:
        raise SourceError(f"{path} needs h5py; pip install 'focusdepth_core[bench]'") from None
    if not path.is_file():
        raise SourceError(f"{path} does not exist")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except SourceError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError) as error:  # which of them is up to the damage
        raise SourceError(f"{path} is damaged: {error}") from None


def dataset(file: h5py.File, name: str, shape: tuple[int | None, ...], kind: str) -> h5py.Dataset:
    """The dataset ``name`` of this shape (None: any length) and type ("u1", "f8"; "S" strings, "O" references).

    Raises ``SourceError`` if there is none, if it is something else, or if its data lie outside of the file.
    """
    import h5py

    where = f"{file.filename}: {name}"
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise SourceError(f"{where} is missing")
    if found.file.filename != file.filename or found.external or found.is_virtual:
        raise SourceError(f"{where} has its data in another file; only data in the file itself are read")
    fits = len(found.shape or ()) == len(shape) and all(n in (None, m) for n, m in zip(shape, found.shape))
    if not fits or kind not in (found.dtype.str[1:], found.dtype.kind):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise SourceError(f"{where} has shape {found.shape} and type {found.dtype}; expected ({expected}) of {kind}")
    piece = max(math.prod(found.chunks or ()), math.prod(found.shape[1:])) * found.dtype.itemsize
    if piece > MAX_PIECE or max(found.shape, default=0) > MAX_LENGTH:
        raise SourceError(f"{where} claims shape {found.shape} in pieces of {piece} bytes; that much is not read")
    return found


def read(found: h5py.Dataset, index: int) -> Any:
    """One frame. Raises ``SourceError`` that names the file and the dataset if its data are damaged."""
    try:
        return found[index]
    except (OSError, RuntimeError) as error:
        raise SourceError(f"{found.file.filename}: {found.name}[{index}] is damaged: {error}") from None


def text(file: h5py.File, reference: h5py.Reference) -> str:
    """What MATLAB stores for a string in a cell. Raises ``SourceError`` for anything else."""
    codes = file[reference]
    if getattr(codes, "dtype", None) != np.uint16 or codes.external or codes.size > MAX_TEXT:
        raise SourceError(f"{file.filename}: {codes.name} is no text of at most {MAX_TEXT} characters")
    return "".join(map(chr, codes[:].ravel()))
