"""Manifests of made-up images: a slope whose brightness is its disparity, and two targets that no image shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from focusdepth_core.fde_bench import manifest
from focusdepth_core.fde_bench.manifest import encoded

WIDTH, HEIGHT = 112, 84
NEAR = 0.5  # 1 / m, how much nearer a target is than the slope
BOXES = ((12, 12, 44, 36), (60, 40, 100, 72))
WORDS = ("mug", "spoon")
IMAGES = {"one": 6, "two": 1, "pseudo": 1}


def write_manifests(folder: Path) -> None:
    """One per data set in ``IMAGES``; the second target of each image is of a held-out category."""
    for dataset, images in IMAGES.items():
        rows = [row for image in range(images) for row in _rows(folder, dataset, image)]
        manifest.write(folder / f"{dataset}.parquet", pa.Table.from_pylist(rows, manifest.FILE_SCHEMA), {})


def _rows(folder: Path, dataset: str, image: int) -> list[dict]:
    slope = np.linspace(0.4, 1.0 + 0.1 * image, HEIGHT)[:, None] + np.zeros((HEIGHT, WIDTH))
    masks = np.zeros((2, HEIGHT, WIDTH), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, BOXES):
        mask[y0:y1, x0:x1] = True
    depth = 1 / (slope + NEAR * masks.any(0))
    name = f"{dataset}_{image}"
    cv2.imwrite(str(folder / f"{name}.png"), np.repeat((slope * 100).round().astype(np.uint8)[..., None], 3, 2))
    cv2.imwrite(str(folder / f"{name}_depth.png"), (depth * 5000).round().astype(np.uint16))
    about = {"dataset": dataset, "split": "test", "group": f"scene {image % 3}", "image": f"{name}.png"}
    about |= {"depth": f"{name}_depth.png", "depth_scale": 5000, "width": WIDTH, "height": HEIGHT, "licence": "none"}
    about |= {"mask_source": "pseudo:sam" if dataset == "pseudo" else "true", "visible_fraction": 1.0}
    return [
        about
        | {"id": f"{name}/{k}", "mask": encoded(mask), "box": BOXES[k], "area": int(mask.sum()), "held_out": k == 1}
        | {"category": WORDS[k], "raw_name": WORDS[k], "texts": [WORDS[k]]}
        for k, mask in enumerate(masks)
    ]
