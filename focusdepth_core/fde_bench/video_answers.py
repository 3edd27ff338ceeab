"""A model's raw depth of a video, without and with its target, and what metres become of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from focusdepth_core.perception.cut import CutDetector
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.result import FocusResult, Space
from focusdepth_core.perception.scale import ScaleFitter
from focusdepth_core.perception.sensor_depth import SensorDepth
from focusdepth_core.perception.target import Target
from focusdepth_core.perception.target_factor import TargetFactors
from focusdepth_core.sim.depth_sensor import DepthSensor
from focusdepth_core.sim.video import Video, VideoFrame

PLAIN, FOCUS = NETS = ("plain", "focus")
NAME = "target"


@dataclass(frozen=True)
class Answer:
    """To one frame, by one net, without a depth sensor."""

    frame: VideoFrame
    result: FocusResult

    @property
    def raw(self) -> np.ndarray:
        return self.result.relative_depth


def frame_of(shot: VideoFrame) -> Frame:
    return Frame(shot.view.image, shot.stamp, shot.view.intrinsics)


def answers(pipeline: Pipeline, video: Video) -> dict[str, list[Answer]]:
    """By net. The focused one is told the target's true box of each frame; frames that hide it are asked plainly."""
    found: dict[str, list[Answer]] = {net: [] for net in NETS}
    for shot in video.frames:
        plain = Answer(shot, pipeline.process(frame_of(shot), []))
        truth = video.truth(shot)
        found[PLAIN].append(plain)
        asked = [] if truth is None else [Target(NAME, truth.box)]
        found[FOCUS].append(Answer(shot, pipeline.process(frame_of(shot), asked)) if asked else plain)
    return found


def hints(video: Video, sensor: DepthSensor) -> list[np.ndarray]:
    """What the sensor measures in each frame."""
    rng = np.random.default_rng(sensor.seed)
    return [sensor.measure(s.view.depth_m, s.view.instances == video.target, rng) for s in video.frames]


def depths(
    given: Sequence[Answer], hints_m: Sequence[np.ndarray | None], is_filtered: bool
) -> Iterator[np.ndarray | None]:
    """z of each frame, H,W metres, as ``Pipeline`` makes it with these measurements, or else from each frame's own
    alone; None where it would give none."""
    fitter, factors, cuts = ScaleFitter(), TargetFactors(), CutDetector()
    for answer, hint in zip(given, hints_m):
        if cuts.is_cut(answer.frame.view.image) or not is_filtered:
            fitter, factors = ScaleFitter(), TargetFactors()
        result, stamp = answer.result, answer.frame.stamp
        if result.space is not Space.METRIC:
            masks, targets = [t.part for t in result.targets], [t.target for t in result.targets]
            seen = None if hint is None else SensorDepth(hint)
            scale = fitter.fit(result.depth, seen, result.space, masks, stamp, targets)
            corrected = factors.correct(result.targets, result.depth, seen, scale, stamp)
            result = replace(result, targets=tuple(corrected), scale=scale)
        yield result.depth_m()
