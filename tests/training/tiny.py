"""A training run of seconds: made-up images, a net of a few thousand parameters, all four kinds of stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from focusdepth_core.fde_bench import manifest
from focusdepth_core.fde_bench.augment import Augment
from focusdepth_core.model.focusdepth import FocusDepthConfig
from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
from focusdepth_core.model.prompt.lite import LiteConfig
from focusdepth_core.training.recipe import Data, ManifestShare, Stage, TrainConfig

WIDTH, HEIGHT = 112, 84
BOXES = ((12, 12, 44, 36), (60, 40, 100, 72))
WORDS = ("mug", "red spoon")
ALONE = {4: 0, 5: 1, 7: 0, 8: 1}  # images with one of the two only, and which
GEOMETRY = DepthAnythingV2Config(height=42, width=56, hidden=16, layers=4, heads=2, neck=(8, 8, 8, 8), fusion=8, head=8)
LITE = LiteConfig(width=16, depth=1, heads=2, stem=16)
STAGES = (
    Stage("first", "geometry", 4, "scratch", 1e-3, scale=0.667),
    Stage("stage1", "mssa", 2, "first", 1e-3),
    Stage("stage2", "decoder", 6, "stage1", 1e-4),
    Stage("plain", "geometry", 8, "first", 1e-3),
)
AS_IT_IS = Augment.none()


def write_data(folder: Path) -> Path:
    """Six training and three validation images of two targets each; returns the folder of the manifest."""
    rows = [row for i in range(9) for row in _rows(folder, i)]
    manifest.write(folder / manifest.FILE, pa.Table.from_pylist(rows, manifest.FILE_SCHEMA), {})
    return folder


def config(out: Path, data: Path, **changes: Any) -> TrainConfig:
    """``changes``: of the fields of ``TrainConfig``."""
    shares = {"train": (ManifestShare(data),), "validation": (ManifestShare(data, "val"),)}
    given = dict(
        model=FocusDepthConfig(GEOMETRY, LITE),
        data=Data(**shares, validation_samples=4, workers=0),
        stages=STAGES,
        focus="stage2",
        baseline="plain",
        batch=4,
        every=3,
        threads=1,
        device="cpu",
    )
    return TrainConfig(out, **(given | changes))


def _rows(folder: Path, image: int) -> list[dict]:
    rng = np.random.default_rng(image)
    slope = np.linspace(0.4, 1.0 + 0.1 * image, HEIGHT)[:, None] + np.zeros((HEIGHT, WIDTH))
    masks = np.zeros((2, HEIGHT, WIDTH), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, BOXES):
        mask[y0:y1, x0:x1] = True
    depth = 1 / (slope + 0.5 * masks.any(0))
    colour = rng.integers(0, 255, (3, 4, 3), np.uint8)
    shown = cv2.resize(colour, (WIDTH, HEIGHT)) // 2 + (masks.any(0) * 90).astype(np.uint8)[..., None]
    cv2.imwrite(str(folder / f"{image}.png"), shown)
    cv2.imwrite(str(folder / f"{image}_depth.png"), (depth * 5000).round().astype(np.uint16))
    about = {"dataset": "tiny", "split": "train" if image < 6 else "val", "group": f"scene {image}"}
    about |= {"image": f"{image}.png", "depth": f"{image}_depth.png", "depth_scale": 5000, "licence": "none"}
    about |= {"width": WIDTH, "height": HEIGHT, "mask_source": "true", "visible_fraction": 1.0, "held_out": False}
    about |= {"fx": 120.0, "fy": 120.0, "cx": 55.5, "cy": 41.5}
    return [
        about
        | {"id": f"{image}/{k}", "mask": manifest.encoded(mask), "box": BOXES[k], "area": int(mask.sum())}
        | {"category": WORDS[k], "raw_name": WORDS[k], "texts": [WORDS[k]]}
        for k, mask in enumerate(masks)
        if image not in ALONE or k == ALONE[image]
    ]
