"""Does a model notice that what a text names is not there?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from focusdepth_core.fde_bench.image_texts import ImageTexts
from focusdepth_core.fde_bench.judging import frames
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.fde_bench.prompts import target
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target


def absence(pipeline: Pipeline, manifest: Manifest, limit: int) -> dict[str, Any]:
    """Shares of targets that were found by their text and of texts that fit nothing in the image and were not, with
    texts that the model knows; ``threshold``: of the presence score; ``limit``: see ``judging.frames``."""
    texts, rng = ImageTexts(manifest), np.random.default_rng(0)
    found: dict[str, list[bool]] = {"present": [], "absent": []}
    for rows in tqdm(frames(manifest, limit), unit="image"):
        frame = Frame(manifest.row(rows[0]).read_image())
        for i in rows:
            there = target(replace(manifest.row(i), texts=(str(rng.choice(texts.singling(i))),)), "text")
            missing = texts.absent(i, rng)
            asked = {"present": there} | ({"absent": Target("absent", text=missing)} if missing else {})
            for name, one in asked.items():
                if _knows(pipeline, one):
                    found[name].append(pipeline.process(frame, [one]).targets[0].found)
    return {
        "threshold": pipeline.model.presence_threshold,
        "found_of_present": _share(found["present"], True),
        "not_found_of_absent": _share(found["absent"], False),
        "texts": {name: len(values) for name, values in found.items()},
    }


def _share(found: list[bool], wanted: bool) -> float | None:
    """None if nothing was asked."""
    return round(float(np.mean([one == wanted for one in found])), 4) if found else None


def _knows(pipeline: Pipeline, asked: Target) -> bool:
    try:
        pipeline.check(asked)
    except ValueError:
        return False
    return True
