"""Small RGB-D frames on disk whose pixels say where they are: red is x, green is y, and so is depth."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

UNITS = 10000  # of depth, per metre
Box = tuple[int, int, int, int]


def depth_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Stored depth of pixel x, y."""
    return 1 + x + 256 * y


def position_of(depth_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x, y of the pixel in the file."""
    y, x = np.divmod(np.rint(depth_m * UNITS).astype(int) - 1, 256)
    return x, y


def write_frame(folder: Path, name: str, size: tuple[int, int], boxes: dict[str, Box], **about: object) -> Path:
    """A frame of ``size`` (width, height; at most 256 x 255) with a filled box for every category; gives its JSON."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    ids = np.zeros((height, width), np.uint8)
    for k, (x0, y0, x1, y1) in enumerate(boxes.values(), 1):
        ids[y0:y1, x0:x1] = k
    colour = np.stack([np.full_like(x, 90), y, x], 2)
    stem = folder / name
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, image in ("rgb", colour.astype(np.uint8)), ("depth", depth_at(x, y).astype(np.uint16)), ("inst", ids):
        assert cv2.imwrite(f"{stem}_{suffix}.png", image)
    targets = [{"id": k, "category": category} for k, category in enumerate(boxes, 1)]
    path = stem.with_name(f"{stem.name}.json")
    path.write_text(json.dumps({"depth_units_per_m": UNITS, "K": None, "targets": targets} | about))
    return path
