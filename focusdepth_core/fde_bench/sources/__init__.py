"""Readers of data sets, one module and one ``Source`` each."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

from focusdepth_core.fde_bench.source import Source, SourceError

# Module and class; imported only when asked for, since each needs other packages.
SOURCES = {
    "nyu": "NYU",
    "rgbd": "RGBD",
    "rlbench": "RLBench",
    "robotwin": "RoboTwin",
    "sim": "Sim",
    "tum": "TUM",
    "ycbv": "YCBV",
}


def open_source(name: str, root: Path, names: Path | None = None) -> Source:
    """The source ``name`` in the folder ``root``; ``names``: its side file.

    Raises ``SourceError`` if the folder is missing, or if a side file is given to a source that takes none.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is no folder; --root is where the data of {name} lies")
    source = getattr(import_module(f"{__name__}.{name}"), SOURCES[name])
    if names is None:
        return source(root)
    if "names" not in inspect.signature(source).parameters:
        raise SourceError(f"{name} takes no side file, but --names {names} was given")
    return source(root, names=names)
