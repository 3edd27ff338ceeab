"""What it costs to look for the target on some frames only, whoever looks: a finder that is never wrong stands for it.

Between two keyframes the model is told where the target is in one of three ways. ``held``: the box of the keyframe.
``own mask``: the box around the mask that the model itself gave one frame before. ``carried``: what ``Keyframes`` makes
of it. ``absrel`` is that of the target's true pixels after the one alignment of each frame (see ``evaluate``); frames
without the target in view count in ``ghost`` alone: whether the model said that it had found it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from focusdepth_core.fde_bench.alignment import MIN_PX, Prediction, Truth
from focusdepth_core.fde_bench.video_answers import NAME, PLAIN, Answer, frame_of
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.keyframes import Keyframes
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.result import FocusResult, Space
from focusdepth_core.perception.target import Box, Target
from focusdepth_core.sim.video import Video, VideoFrame

INTERVALS = (1, 2, 4, 8, 16, 32)  # frames
HELD, OWN, CARRIED = WAYS = ("held", "own mask", "carried")
MIN_BOX_PX = 2

Maker = Callable[[Keyframes | None], Pipeline]


class TrueFinder:
    """Finds what the truth shows."""

    def __init__(self, video: Video) -> None:
        self._video = video
        self._shots = {shot.stamp: shot for shot in video.frames}

    def check(self, target: Target) -> None:
        """Any text will do."""

    def find(self, frame: Frame, targets: Sequence[Target]) -> list[np.ndarray]:
        """See ``Finder.find``."""
        mask = self._shots[frame.stamp].view.instances == self._video.target
        return [mask for _ in targets]


def records(make: Maker, video: Video, plain: Sequence[Answer], space: Space) -> Iterator[dict]:
    """Of each frame, way and interval, and of the plain net. ``make``: a pipeline with the keyframes given."""
    truths = [Truth(shot.view.depth_m) for shot in video.frames]
    for answer, truth in zip(plain, truths):
        scores = _scores(video, answer.frame, truth, answer.raw, None, space)
        yield {"way": PLAIN, "interval": 0} | scores | {"iou": np.nan, "ghost": np.nan}
    for interval in INTERVALS:
        for way in WAYS:
            pipeline = make(_keyframes(video, interval) if way == CARRIED else None)
            for result, shot, truth in zip(_results(pipeline, video, way, interval), video.frames, truths):
                mask = result.targets[0].mask if result.targets else None
                scores = _scores(video, shot, truth, result.relative_depth, mask, space)
                yield {"way": way, "interval": interval} | scores


def _keyframes(video: Video, interval: int) -> Keyframes:
    """One every ``interval`` frames, and none for any other reason."""
    period = video.frames[1].stamp - video.frames[0].stamp
    return Keyframes(TrueFinder(video), max_age=(2 * interval - 1) * period, min_change=1.0, waits=True)


def _results(pipeline: Pipeline, video: Video, way: str, interval: int) -> Iterator[FocusResult]:
    box: Box | None = None
    for n, shot in enumerate(video.frames):
        truth = video.truth(shot)
        if way == CARRIED:
            targets = [Target(NAME, text=NAME)]
        else:
            if n % interval == 0:
                box = None if truth is None else truth.box
            targets = [] if box is None else [Target(NAME, box)]
        result = pipeline.process(frame_of(shot), targets)
        if way == OWN and result.targets and result.targets[0].found:
            box = _around(result.targets[0].mask)
        yield result


def _around(mask: np.ndarray) -> Box:
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return x, y, x + max(width, MIN_BOX_PX), y + max(height, MIN_BOX_PX)


def _scores(
    video: Video, shot: VideoFrame, truth: Truth, raw: np.ndarray, mask: np.ndarray | None, space: Space
) -> dict:
    true = shot.view.instances == video.target
    scores = dict.fromkeys(("absrel", "iou", "ghost"), np.nan)
    if np.count_nonzero(true) >= MIN_PX:
        scores["absrel"] = float(Prediction(raw, space, truth).error[true].mean())
        scores["iou"] = 0.0 if mask is None else np.count_nonzero(mask & true) / np.count_nonzero(mask | true)
    elif not true.any():
        scores["ghost"] = float(mask is not None and mask.any())
    return scores
