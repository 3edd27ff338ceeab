"""One question to the node and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from focusdepth_core.perception.target import Box
from focusdepth_core.sim.depth_sensor import DepthSensor
from focusdepth_core.sim.task import Task, visible_position


@dataclass(frozen=True)
class Question:
    """``depth_hint``: H,W float32 m, 0 = not measured; ``stamp``: whole seconds."""

    task: Task
    sensor: str
    box: Box
    depth_hint: np.ndarray
    stamp: int


@dataclass(frozen=True)
class Answer:
    """``point``: x, y, z of ~/targets_3d in m in the optical frame, NaN where the node gave none; ``mask``: H,W bool,
    what it takes for the target; ``said``: its status.
    """

    point: np.ndarray
    mask: np.ndarray
    residual: float
    said: str


STEP_S = 1000  # between the stamps of two questions
SENSORS = {"30 % of the target": 0.3, "a hole on the target": 0.0}  # what depth_hint has of it


def questions(task: Task, first_stamp: int) -> list[Question]:
    """One per sensor; everything random follows from the task's seed. Each stamp is far before the last one, by which
    the node starts scale and presence anew.
    """
    rng = np.random.default_rng([task.seed, 1])
    box, asked = task.detected_box(rng), []
    for place, (name, on_target) in enumerate(SENSORS.items()):
        sensor = DepthSensor(task.seed, on_target=on_target)
        hint = sensor.measure(task.frame.depth_m, task.mask, rng)
        asked.append(Question(task, name, box, hint, first_stamp - place * STEP_S))
    return asked


@dataclass(frozen=True)
class Trial:
    """``others``: points that come out without the node, by method."""

    question: Question
    answer: Answer
    others: dict[str, np.ndarray]

    @property
    def truth(self) -> np.ndarray:
        """x, y, z in m of the visible surface."""
        task = self.question.task
        return visible_position(task.frame.depth_m, task.mask, task.frame.intrinsics)

    def off(self, point: Optional[np.ndarray] = None) -> np.ndarray:
        """From the truth to ``point``, by default the answer's, m; NaN without one."""
        return (self.answer.point if point is None else point) - self.truth

    @property
    def error_m(self) -> float:
        """Infinite without a point."""
        return distance_m(self.off())

    @property
    def iou(self) -> float:
        true, found = self.question.task.mask, self.answer.mask
        return float((true & found).sum() / max((true | found).sum(), 1))


def distance_m(off: np.ndarray) -> float:
    return float(np.nan_to_num(np.linalg.norm(off), nan=np.inf))
