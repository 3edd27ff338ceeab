"""The 21 objects of YCB-Video."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from focusdepth_core.fde_bench.rules import normalised
from focusdepth_core.fde_bench.source import Instance, SourceError
from focusdepth_core.perception.target import Box

# In the order of their numbers from 1; each a raw name and further prompts.
OBJECTS = [tuple(names) for names in json.loads(Path(__file__).with_name("ycb_objects.json").read_text())]


def ycb_instance(
    mask: np.ndarray, number: int, named_in: Path, visible: float | None = None, amodal_box: Box | None = None
) -> Instance:
    """Object ``number`` of 1 to 21. Raises ``SourceError`` for another number."""
    if not 1 <= number <= len(OBJECTS):
        raise SourceError(f"{named_in} has object {number}; YCB-Video has 1 to {len(OBJECTS)}")
    raw_name, *texts = OBJECTS[number - 1]
    return Instance(mask, normalised(raw_name), raw_name, tuple(texts), visible, amodal_box)
