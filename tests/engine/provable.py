"""The tiny model folder with all that an engine of TensorRT needs: input shapes, other precisions, and samples."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from focusdepth_core.engine import samples
from focusdepth_core.engine.model_folder import ModelFolder, variant
from focusdepth_core.engine.samples import Sample, Scene
from focusdepth_core.engine.self_check import answer
from focusdepth_core.engine.settings import FP16, FP32, MIXED
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.target import Target
from tests.tiny_model import HEIGHT, WIDTH, BoxEngine, write_model_folder

IMAGE = [1, 3, HEIGHT, WIDTH]
INPUTS = {"focus": {"image": IMAGE, "boxes": ["targets", 4]}, "plain": {"image": IMAGE}}
FILES = {"focus": "focus.onnx", "plain": "plain.onnx"}


def scene(seed: int, targets: int) -> Scene:
    """Blocks of grey, whose disparity is their brightness, give or take a fifth."""
    rng = np.random.default_rng(seed)
    brightness = rng.integers(40, 220, (6, 8), np.uint8)
    truth = (200 / (brightness * rng.uniform(0.8, 1.2, brightness.shape))).astype(np.float32)
    grey, depth_m = (
        cv2.resize(blocks, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST_EXACT) for blocks in (brightness, truth)
    )
    boxes = [(4.0 + 10 * i, 6.0, 30.0 + 8 * i, 34.0) for i in range(targets)]
    mask = np.zeros(grey.shape, bool)
    mask[6:34, 4:30] = True
    return Scene(
        Frame(np.repeat(grey[..., None], 3, axis=2)),
        tuple(Target(str(i), box) for i, box in enumerate(boxes)),
        1,
        depth_m,
        mask,
    )


def write_provable(folder: Path, **engine: Any) -> ModelFolder:
    """``engine``: further values of that part of config.json."""
    write_model_folder(folder)
    model, network = ModelFolder.read(folder), BoxEngine()
    found = []
    for one in (scene(0, 1), scene(1, 3)):
        (focus, logits), (plain, _) = (answer(model, network, name, one, None) for name in FILES)
        found.append(Sample(**vars(one), focus=focus, plain=plain, mask_logits=logits))
    samples.write(folder / "self_check.npz", found)
    write_model_folder(
        folder, files={**FILES, "samples": "self_check.npz"}, engine={"inputs": INPUTS, "max_targets": 4, **engine}
    )
    for name in FILES:
        for precision in (FP16, MIXED):
            shutil.copy(folder / f"{name}.onnx", variant(folder / f"{name}.onnx", precision))
    assert variant(folder / "focus.onnx", FP32).is_file()
    return ModelFolder.read(folder)
