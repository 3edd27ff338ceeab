"""MATLAB files before version 7.3; later ones are HDF5."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from focusdepth_core.fde_bench.source import SourceError

MAX_BYTES = 2**26


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of ``names`` that the file has, as numbers; the rest of the file is skipped.

    Raises ``SourceError`` that names the file.
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise SourceError(f"{path} needs scipy; pip install 'focusdepth_core[bench]'") from None
    if not path.is_file():
        raise SourceError(f"{path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise SourceError(f"{path} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    try:
        values = loadmat(path, variable_names=list(names))
    except Exception as error:  # scipy raises whatever a damaged stream leads to
        raise SourceError(f"{path} is damaged: {error}") from None
    found = {name: np.asarray(values[name]) for name in names if name in values}
    for name, value in found.items():
        if value.dtype.kind not in "iuf":
            raise SourceError(f"{path}: {name} holds {value.dtype}; expected numbers")
    return found
