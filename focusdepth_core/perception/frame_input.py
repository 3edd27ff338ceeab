"""A frame for an engine that resizes and normalises it by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, cast

import numpy as np

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.letterbox import Letterbox


@dataclass(frozen=True)
class FrameInput:
    """Stands for ``letterbox.image(rgb)``; ``rgb``: H,W,3 uint8; ``nv12``: see ``Frame``."""

    rgb: np.ndarray
    letterbox: Letterbox
    nv12: Optional[np.ndarray] = None

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, 3, self.letterbox.spec.height, self.letterbox.spec.width

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def __array__(self, dtype: Optional[np.dtype] = None, copy: Optional[bool] = None) -> np.ndarray:
        """For engines that were given it all the same."""
        return self.letterbox.image(self.rgb)


def frame_input(engine: object, frame: Frame, letterbox: Letterbox) -> np.ndarray:
    """The image for ``engine``: the frame itself where it says that it takes that, by ``takes_frames``."""
    if getattr(engine, "takes_frames", False):
        return cast(np.ndarray, FrameInput(frame.image, letterbox, frame.nv12))
    return letterbox.image(frame.image)
