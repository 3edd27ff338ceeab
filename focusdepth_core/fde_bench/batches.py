"""Training batches from packed frames: crop, flip, colour, one target each, a box as a detector would draw it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from focusdepth_core.fde_bench.packed import Packed

MIN_TARGET_PX = 40  # of a target after the crop
LETTERBOXED = 0.25  # share of the images that do not fill the network's input, as those of a 16:9 camera
FLATTEST = 0.7
BOX_JITTER = 0.04  # standard deviation of each side, as a share of the box
MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # ImageNet statistics, as all Depth Anything models use
STD = np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class Batch:
    """``image`` B,3,h,w normalised; ``depth`` B,h,w metres, 0 = missing; ``mask`` B,h,w; ``box`` B,1,4 cxcywh."""

    image: np.ndarray
    depth: np.ndarray
    mask: np.ndarray
    box: np.ndarray


def batches(
    data: Packed, size: int, width: int, height: int, smallest_crop: float, seed: tuple[int, ...]
) -> Iterator[Batch]:
    """Endless batches of ``size`` images of ``width`` x ``height``, each a random crop.

    ``smallest_crop``: shortest side of a crop, as a share of the image's side.
    """
    rng = np.random.default_rng(seed)
    usable = np.array([i for i, t in enumerate(data.targets) if t])
    while True:
        order = rng.permutation(usable)
        for start in range(0, len(order) - size + 1, size):
            picked = order[start : start + size]
            yield _stack([_sample(data, int(i), width, height, smallest_crop, rng) for i in picked])


def _stack(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Batch:
    image, depth, mask, box = (np.stack(x) for x in zip(*samples))
    return Batch(np.ascontiguousarray(image.transpose(0, 3, 1, 2)), depth, mask, box[:, None])


def _sample(
    data: Packed, i: int, width: int, height: int, smallest_crop: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    flatter = rng.uniform(FLATTEST, 1) if rng.random() < LETTERBOXED else 1.0
    window = _window(data.image.shape[1:3], rng.uniform(smallest_crop, 1), flatter, rng)
    used = (width, round(height * flatter))
    image = cv2.resize(data.image[i][window], used, interpolation=cv2.INTER_AREA)
    # EXACT takes the pixel under the centre; INTER_NEAREST would shift the truth by up to half an input pixel.
    depth = cv2.resize(data.depth[i][window], used, interpolation=cv2.INTER_NEAREST_EXACT)
    ids = cv2.resize(data.ids[i][window], used, interpolation=cv2.INTER_NEAREST_EXACT)
    if rng.random() < 0.5:
        image, depth, ids = image[:, ::-1], depth[:, ::-1], ids[:, ::-1]
    image = (_recoloured(image, rng) - MEAN) / STD
    rows = ((0, height - used[1]), (0, 0))  # as the letterbox pads: below, with the mean colour
    image, depth, ids = np.pad(image, (*rows, (0, 0))), np.pad(depth, rows), np.pad(ids, rows)
    mask = _pick_target(ids, data.targets[i], rng)
    box = _jittered(_box_of(mask), rng)
    return image, depth.astype(np.float32) / data.depth_scale, mask.astype(np.float32), box


def _window(shape: tuple[int, int], side: float, flatter: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """A random crop ``side`` as wide as the image and ``side * flatter`` as high."""
    height, width = round(shape[0] * side * flatter), round(shape[1] * side)
    top, left = int(rng.integers(shape[0] - height + 1)), int(rng.integers(shape[1] - width + 1))
    return slice(top, top + height), slice(left, left + width)


def _pick_target(ids: np.ndarray, candidates: list[int], rng: np.random.Generator) -> np.ndarray:
    """The mask of a random target that is still in the crop; the largest one if all are small; H,W bool."""
    counts = np.bincount(ids.ravel(), minlength=256)[candidates]
    large = np.flatnonzero(counts >= MIN_TARGET_PX)
    chosen = int(rng.choice(large)) if len(large) else int(counts.argmax())
    return ids == candidates[chosen]


def _box_of(mask: np.ndarray) -> np.ndarray:
    """cxcywh in [0, 1]; an empty mask gives a box of the whole image."""
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    if w == 0:
        return np.array([0.5, 0.5, 1, 1], np.float32)
    rows, columns = mask.shape
    return np.array([(x + w / 2) / columns, (y + h / 2) / rows, w / columns, h / rows], np.float32)


def _jittered(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    low, high = box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
    low = np.clip(low + rng.normal(0, BOX_JITTER, 2) * box[2:], 0, 1)
    high = np.clip(high + rng.normal(0, BOX_JITTER, 2) * box[2:], low + 0.005, 1.005)
    return np.concatenate([(low + high) / 2, high - low]).astype(np.float32)


def _recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random gamma, channel gains and contrast; uint8 in, float32 in [0, 1] out."""
    levels = np.linspace(0, 1, 256, dtype=np.float32) ** np.float32(2 ** rng.normal(0, 0.3))
    table = levels[:, None] * (2 ** rng.normal(0, 0.1, 3)).astype(np.float32)
    table = np.clip((table - 0.5) * 2 ** rng.normal(0, 0.2) + 0.5, 0, 1).astype(np.float32)
    return cv2.LUT(np.ascontiguousarray(image), table[None])
