"""Whole maps in place of what a network gives."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Optional

import numpy as np

from focusdepth_core.perception.frame_depth import FrameDepth
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.result import Scale, Space
from focusdepth_core.perception.scale import ScaleFitter
from focusdepth_core.perception.sensor_depth import SensorDepth
from focusdepth_core.perception.window import Part


def frame_depth(values: np.ndarray) -> FrameDepth:
    """``values``, H,W float32, as a network of just that input size would give them."""
    height, width = values.shape
    return FrameDepth(values, Letterbox(width, height, SimpleNamespace(width=width, height=height)))  # type: ignore


class MapFitter(ScaleFitter):
    """``hint_m``: H,W metres; ``masks``: H,W bool."""

    def fit(  # type: ignore[override]
        self,
        raw: np.ndarray,
        hint_m: Optional[np.ndarray],
        space: Space,
        masks: Sequence[np.ndarray] = (),
        *rest: Any,
        **named: Any,
    ) -> Optional[Scale]:
        hint = None if hint_m is None else SensorDepth(hint_m)
        parts = [Part((slice(0, mask.shape[0]), slice(0, mask.shape[1])), mask).tight() for mask in masks]
        return super().fit(raw, hint, space, parts, *rest, **named)
