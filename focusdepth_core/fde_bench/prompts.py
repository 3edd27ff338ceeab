"""What a model is asked in an evaluation: the target as it is, and wrongly on purpose to see how much depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from focusdepth_core.fde_bench.manifest import Row
from focusdepth_core.perception.target import Box, Target

MODES = ("box", "text", "both", "empty", "none")
IOUS = (0.9, 0.7, 0.5)  # of a jittered box with the true one
WRONG = "wrong target"
JITTERED = {f"box at IoU {iou}": iou for iou in IOUS}


def target(row: Row, mode: str) -> Target | None:
    """As ``mode`` says: its box, its first text, both, or nothing. empty: its box, which an ``UnaskedEngine`` hides."""
    if mode == "none":
        return None
    text = row.texts[0] if mode in ("text", "both") else None
    return Target(row.id, row.box if mode != "text" else None, text)


def disturbed(row: Row, others: Sequence[Row], mode: str) -> dict[str, Target]:
    """By name: jittered boxes, where the mode has a box, and another target of the same image, where there is one.

    The same row gives the same boxes in every evaluation.
    """
    found = {}
    if mode in ("box", "both"):
        rng = np.random.default_rng(crc32(row.id.encode()))
        text = target(row, mode).text
        found = {name: Target(row.id, jittered(row, iou, rng), text) for name, iou in JITTERED.items()}
    rest = [other for other in others if other.id != row.id]
    if rest and mode != "none":
        found[WRONG] = target(min(rest, key=lambda other: box_iou(other.box, row.box)), mode)
    return found


def jittered(row: Row, iou: float, rng: np.random.Generator) -> Box:
    """The box with its sides moved in random proportions, inside the image, as far as leaves the overlap ``iou``."""
    box = np.array(row.box, float)
    size = np.tile(box[2:] - box[:2], 2)
    limit = np.array([row.width, row.height] * 2, float)
    while True:  # until a direction is drawn in which the box can move that far: the image's border may be in the way
        direction = rng.uniform(-1, 1, 4) * size
        moved = _moved(box, direction, limit, iou)
        if moved is not None:
            return moved


def _moved(box: np.ndarray, direction: np.ndarray, limit: np.ndarray, iou: float) -> Box | None:
    """Along ``direction`` to the given overlap, or None if that direction does not lead there."""
    near, far = 0.0, 1.0
    if box_iou(_inside(box + far * direction, limit), box) > iou:
        return None
    for _ in range(30):
        middle = (near + far) / 2
        overlaps_more = box_iou(_inside(box + middle * direction, limit), box) > iou
        near, far = (middle, far) if overlaps_more else (near, middle)
    return _inside(box + near * direction, limit)


def _inside(box: np.ndarray, limit: np.ndarray) -> Box:
    x0, y0, x1, y1 = np.clip(box, 0, limit).tolist()
    return x0, y0, x1, y1


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of x0, y0, x1, y1; 0 for a box turned inside out."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0 or a[2] <= a[0] or a[3] <= a[1]:
        return 0.0
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return width * height / (sum(areas) - width * height)
