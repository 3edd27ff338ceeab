"""Where the same object is by simpler means."""

from __future__ import annotations

import numpy as np

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.sim.task import visible_position
from focusdepth_ros.sim_eval.trial import Question

SENSOR, PLAIN = "sensor in the box", "plain net in the box"
INNER = 0.5  # of the box's sides


def without_the_node(question: Question, pipeline: Pipeline) -> dict[str, np.ndarray]:
    """Points by method, m in the optical frame, NaN where there is none."""
    frame = question.task.frame
    inner = _inner(question)
    result = pipeline.process(
        Frame(frame.image, float(question.stamp), frame.intrinsics), [], depth_hint=question.depth_hint
    )
    plain_m = result.depth_m()
    plain = np.full(3, np.nan)
    if plain_m is not None:
        plain = visible_position(np.nan_to_num(plain_m), inner, frame.intrinsics)
    return {SENSOR: visible_position(question.depth_hint, inner, frame.intrinsics), PLAIN: plain}


def _inner(question: Question) -> np.ndarray:
    """H,W bool: the inner part of the box."""
    x0, y0, x1, y1 = question.box
    rim_x, rim_y = (1 - INNER) / 2 * (x1 - x0), (1 - INNER) / 2 * (y1 - y0)
    inner = np.zeros(question.depth_hint.shape, bool)
    inner[round(y0 + rim_y) : round(y1 - rim_y) + 1, round(x0 + rim_x) : round(x1 - rim_x) + 1] = True
    return inner
