"""Masks that a model made for a sequence of TUM RGB-D: ``masks.json`` in the sequence's folder ::

    {"model": "sam3",
     "frames": {"1305031453.359684": [
        {"category": "mug", "texts": ["white mug"], "score": 0.93, "stability": 0.9,
         "segmentation": {"size": [480, 640], "counts": "..."}},
        {"category": "keyboard", "score": 0.8, "id": 3}]}}

A frame is named by its colour image. A mask is a COCO run-length string, or the pixels of one ``id`` in
``masks/1305031453.359684.png`` (one channel of 8 or 16 bits). ``score`` is the detector's confidence, ``stability``
the least IoU of the mask with those from jittered boxes; objects under 0.5 or 0.8 are left out. Of masks that overlap
with an IoU above 0.7 the model's side keeps one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from focusdepth_core.fde_bench.image_files import MAX_PIXELS, read_ids
from focusdepth_core.fde_bench.rules import normalised
from focusdepth_core.fde_bench.source import Instance, SourceError
from focusdepth_core.fde_bench.sources.reading import field, is_text, is_texts, optional, read_json_object

MASKS = "masks.json"
MIN_SCORE = 0.5
MIN_STABILITY = 0.8


@dataclass(frozen=True)
class Masks:
    """``frames``: the objects of each frame, as in the file."""

    path: Path
    model: str
    frames: dict[str, Any]

    @classmethod
    def read(cls, sequence: Path) -> Masks:
        """Raises ``OSError``, or ``SourceError`` for a file of another form."""
        path = sequence / MASKS
        content = read_json_object(path)
        model, frames = content.get("model"), content.get("frames")
        if not isinstance(model, str) or not model or not isinstance(frames, dict):
            raise SourceError(f'{path} has not the form {{"model": "sam3", "frames": {{...}}}}')
        return cls(path, model, frames)

    def __contains__(self, stamp: str) -> bool:
        return stamp in self.frames

    def instances(self, stamp: str, shape: tuple[int, ...]) -> tuple[Instance, ...]:
        """Raises ``SourceError`` for a mask that does not fit the image, or an object of another form."""
        try:
            return tuple(self._instance(found, stamp, shape) for found in self.frames[stamp] if _sure(found))
        except SourceError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(f"{self.path}: frame {stamp} has an object of another form: {error!r}") from None

    def _instance(self, value: dict[str, Any], stamp: str, shape: tuple[int, ...]) -> Instance:
        where = f"{self.path}: frame {stamp}"
        try:
            raw_name = field(value, "category", is_text, "write what it is, such as 'mug', in quotes")
            texts = field(value, "texts", optional(is_texts), 'write a list, such as ["white mug"]')
        except SourceError as error:
            raise SourceError(f"{where}: {error}") from None
        mask = self._of_id(stamp, value["id"]) if "id" in value else _of_runs(value["segmentation"])
        if mask.shape != shape:
            raise SourceError(f"{where} has a mask of {mask.shape}; the image has {shape}")
        return Instance(mask, normalised(raw_name), raw_name, (raw_name, *(texts or ())))

    def _of_id(self, stamp: str, number: int) -> np.ndarray:
        path = self.path.parent / "masks" / f"{stamp}.png"
        ids = read_ids(path)
        if not 0 < number <= ids.max():
            raise SourceError(f"{self.path}: frame {stamp} names the id {number}; {path} has 1 to {ids.max()}")
        return ids == number


def _sure(found: dict[str, Any]) -> bool:
    return found.get("score", 1) >= MIN_SCORE and found.get("stability", 1) >= MIN_STABILITY


def _of_runs(segmentation: dict[str, Any]) -> np.ndarray:
    """H,W bool. Raises ``ValueError`` if the run lengths do not fit the size."""
    height, width = segmentation["size"]
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f"a mask of {width} x {height} pixels")
    counts = segmentation["counts"].encode()
    mask = coco.decode({"size": [height, width], "counts": counts})
    if coco.encode(mask)["counts"] != counts:  # decode leaves what the runs do not reach as it was in memory
        raise ValueError(f"the run lengths do not fill {width} x {height} pixels")
    return mask.astype(bool)
