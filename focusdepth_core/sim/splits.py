"""Which seeds and categories are held out: fixed in splits.json, never trained or tuned on."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from focusdepth_core.sim.shapes import CATEGORIES

SCENE_FILE = "scene.json"  # of each generated scene: K and targets of its frames
FIRST = 1000  # scenes of each split that stay as they were when published models were trained and judged on them
SPLITS_FILE = Path(__file__).with_name("splits.json")


@lru_cache(maxsize=1)
def _splits() -> dict:
    return json.loads(SPLITS_FILE.read_text())


def held_out_categories() -> frozenset[str]:
    return frozenset(_splits()["held_out_categories"])


def seed_range(split: str) -> range:
    """Scene seeds of 'train', 'val' or 'test'."""
    seeds = _splits()["seeds"]
    if split not in seeds:
        raise ValueError(f"split '{split}' is unknown; there are {', '.join(seeds)}")
    return range(*seeds[split])


def is_varied(seed: int) -> bool:
    """Whether the scene may have twins and views from close by, which came after the first scenes of each split."""
    return all(seed not in seed_range(split)[:FIRST] for split in _splits()["seeds"])


def categories_for(seed: int) -> list[str]:
    """Categories that a scene may show: training seeds never show a held-out one, the others show all."""
    if seed in seed_range("train"):
        return sorted(set(CATEGORIES) - held_out_categories())
    return sorted(CATEGORIES)
