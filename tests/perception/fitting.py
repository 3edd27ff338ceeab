"""The fit of a scale to whole maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from focusdepth_core.perception.result import Scale, Space
from focusdepth_core.perception.scale import ScaleFitter
from focusdepth_core.perception.sensor_depth import SensorDepth
from focusdepth_core.perception.window import Part


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
