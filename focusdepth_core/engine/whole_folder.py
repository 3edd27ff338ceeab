"""A folder that is replaced as a whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(folder: Path, written: Collection[str], kept: Collection[str]) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of ``folder`` if nothing is raised.

    ``written``: names of the files that may be in the old folder and are lost; ``kept``: those that move on to the new
    one. Raises ``ValueError`` if the old one has others, so that nobody's work is deleted.
    """
    strangers = sorted({p.name for p in folder.iterdir()} - {*written, *kept}) if folder.is_dir() else []
    if strangers or (folder.exists() and not folder.is_dir()):
        raise ValueError(
            f"{folder} would be replaced, but {', '.join(strangers[:3]) or 'it'} is not of a model; give another folder"
        )
    part, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("part", "old"))
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        for name in kept:
            if (folder / name).is_file():
                shutil.copy2(folder / name, part / name)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
