"""What a source of frames gives to the build: ``Source``, ``SourceFrame``, ``Instance`` and ``SourceError``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.perception.target import Box

SPLITS = ("train", "val", "test")


class SourceError(ValueError):
    """Something in the user's data: one sentence with the file, the value and what to do."""


@dataclass(frozen=True)
class Instance:
    """One object that is visible in an image.

    ``mask``: H,W bool, its visible pixels. ``raw_name``: as the source writes it; ``category``: the same in plain words
    (``rules.normalised``). ``texts``: further prompts for it, such as "red mug"; the category is always one.
    ``visible_fraction``: of its pixels, those that nothing hides. ``amodal_box``: x0, y0, x1, y1 in pixels of the whole
    object, may reach beyond the image.
    """

    mask: np.ndarray
    category: str
    raw_name: str
    texts: tuple[str, ...] = ()
    visible_fraction: float | None = None
    amodal_box: Box | None = None


@dataclass(frozen=True)
class SourceFrame:
    """One image with its depth and objects.

    ``name``: unique in the source, of ``[a-z0-9_/.-]``; becomes a file name and a part of ids. ``group``: the scene or
    episode, never in two splits. ``image``: H,W,3 uint8 RGB, or a JPEG or PNG that stays where it is. ``depth``: H,W
    float32 metres with 0 = missing, or a 16-bit PNG that stays where it is; then metres = value / ``depth_scale``.
    ``mask_source`` and ``licence``: of this frame, where they differ from those of the source.
    """

    name: str
    group: str
    split: str
    image: np.ndarray | Path
    depth: np.ndarray | Path
    depth_scale: float
    instances: tuple[Instance, ...]
    intrinsics: Intrinsics | None
    mask_source: str | None = None
    licence: str | None = None


class Source(Protocol):
    """A data set on disk. It can be pickled: workers get a copy. ``mask_source``: "true", or "pseudo:<model>".

    What makes the whole data set unusable (a missing side file) is raised by the constructor or ``items``.
    """

    name: str
    licence: str
    mask_source: str

    def items(self) -> Sequence[str]:
        """Units of work (episode, scene, chunk of frames), cheap and always in the same order."""
        ...

    def frames(self, item: str) -> Iterator[SourceFrame | SourceError | OSError]:
        """The frames of one item; in place of one whose files are bad, the error that names the file.

        An error that is raised instead ends the item; the build reports both and goes on with the next.
        """
        ...
