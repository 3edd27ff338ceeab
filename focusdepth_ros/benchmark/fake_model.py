"""A pipeline whose network sleeps for as long as one on a GPU computes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from focusdepth_core.engine.model_folder import InputSpec, ModelFolder
from focusdepth_core.perception.frame_input import FrameInput
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.result import Space
from focusdepth_ros.benchmark import scene

ENGINE_S = 0.010
# Of Depth Anything V2 at its own resolution for 4 : 3, with masks of 4 cells per patch of 14 px.
INPUT = InputSpec(518, 392, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CELL = 14 / 4


class SleepingEngine:
    """Knows the scene: depth and masks of realistic size, shape and softness of edges, at no cost.

    It takes frames, as ``TensorRtEngine`` does: the CPU only copies their pixels to where the GPU gets them from.
    """

    name = f"asleep for {1e3 * ENGINE_S:g} ms"
    takes_frames = True

    def __init__(self) -> None:
        used = Letterbox(scene.WIDTH, scene.HEIGHT, INPUT)
        self._pixels = np.empty((scene.HEIGHT, scene.WIDTH, 3), np.uint8)
        depth = np.zeros((INPUT.height, INPUT.width), np.float32)
        depth[: used.height, : used.width] = scene.disparity(used.width, used.height)
        self._depth = cv2.GaussianBlur(depth, (0, 0), 1.5)[None]
        cells = [round(side / CELL) for side in (used.width, used.height, INPUT.width, INPUT.height)]
        self._logits = np.full((len(scene.BOXES), cells[3], cells[2]), -8, np.float32)
        self._logits[:, : cells[1], : cells[0]] = scene.mask_logits(cells[0], cells[1])

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Engine.run``; the targets are the scene's first ones."""
        end = time.perf_counter() + ENGINE_S
        self._pixels[...] = cast(FrameInput, inputs["image"]).rgb
        time.sleep(max(0.0, end - time.perf_counter()))
        return {"depth": self._depth.copy(), "mask_logits": self._logits[: len(inputs.get("boxes", ()))].copy()}


def make_pipeline(_: object) -> Pipeline:
    engine, nowhere = SleepingEngine(), Path()
    model = ModelFolder(nowhere, "asleep", "none", Space.AFFINE_DISPARITY, ("box",), INPUT, nowhere, nowhere)
    return Pipeline(model, engine, engine)
