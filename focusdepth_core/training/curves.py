"""Curves and pictures for TensorBoard: ``tensorboard --logdir OUT``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from torch.utils.tensorboard import SummaryWriter

from focusdepth_core.fde_bench.augment import MEAN, STD
from focusdepth_core.perception.result import Space
from focusdepth_core.training.validation import Shown


class Curves:
    """Of one stage; ``step``: what an earlier, stopped run logged from there on is forgotten."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def numbers(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def pictures(self, shown: Sequence[Shown], space: Space, step: int) -> None:
        for i, sample in enumerate(shown):
            self._writer.add_image(f"validation/{i}", picture(sample, space), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


def picture(shown: Shown, space: Space) -> np.ndarray:
    """Side by side, RGB: image, true depth, predicted depth, and the true mask in green over the predicted one in red.

    Depths are shown in the net's space and coloured over their own range, so that shapes can be compared, not values.
    """
    image = shown.image.transpose(1, 2, 0) * np.float32(STD) + np.float32(MEAN)
    valid = shown.depth_m > 0
    depth = np.where(valid, shown.depth_m, 1)
    truth = 1 / depth if space is Space.AFFINE_DISPARITY else depth
    tiles = [np.rint(image.clip(0, 1) * 255).astype(np.uint8), _coloured(truth, valid), _coloured(shown.raw, valid)]
    if shown.probability is not None:
        tiles.append(_masks(shown))
    return np.concatenate(tiles, 1)


def _coloured(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values)
    low, high = np.quantile(values[valid], [0.02, 0.98]) if valid.any() else (0.0, 1.0)
    levels = ((values - low) / max(high - low, 1e-6)).clip(0, 1) * 255
    coloured = cv2.applyColorMap(levels.astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(valid[..., None], coloured, 0).astype(np.uint8)


def _masks(shown: Shown) -> np.ndarray:
    size = shown.mask.shape[::-1]
    predicted = cv2.resize(shown.probability, size, interpolation=cv2.INTER_LINEAR)
    channels = [predicted, shown.mask, np.zeros_like(shown.mask)]
    return np.rint(np.stack(channels, -1) * 255).astype(np.uint8)
