"""How right metres are that come from a depth sensor with holes, gross errors and jumps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from focusdepth_core.fde_bench.video_answers import FOCUS, Answer, depths, hints
from focusdepth_core.sim.depth_sensor import DepthSensor
from focusdepth_core.sim.video import Video, VideoFrame

SENSORS = {  # by what is said about them
    "covers 30 % of the target, 20 % gross errors": dict(on_target=0.3, outliers=0.2),
    "covers 30 % of the target, no gross error": dict(on_target=0.3, outliers=0.0),
    "the target is one hole, 20 % gross errors": dict(on_target=0.0, outliers=0.2),
}
MIN_PX = 64
BEFORE, AFTER = 10, 25  # frames around a jump
BLIND, WRONG = 8, 5  # frames without a measurement, and with wrong ones
WRONG_BY = 1.5
SETTLED = 5  # frames
LIMIT, SLACK = 1.5, 0.02  # times the error of the frame's own fit, plus this: what counts as right


def records(video: Video, given: dict[str, list[Answer]]) -> Iterator[dict]:
    """Of each frame that shows the target: ``target_m`` and ``target`` are the error of the median depth over its true
    pixels, in m and relative, ``image`` the median relative error; all are NaN without metres."""
    for sensor, how in SENSORS.items():
        measured = hints(video, DepthSensor(video.seed, **how))
        for net, some in given.items():
            for is_filtered in (False, True):
                about = {"sensor": sensor, "net": net, "filtered": is_filtered}
                for shot, z in zip(video.frames, depths(some, measured, is_filtered)):
                    on_target = shot.view.instances == video.target
                    if np.count_nonzero(on_target) >= MIN_PX:
                        yield about | _errors(shot.view.depth_m, z, on_target)


def _errors(truth: np.ndarray, z: np.ndarray | None, on_target: np.ndarray) -> dict:
    if z is None or np.isnan(z[on_target]).all():
        return {"target_m": np.nan, "target": np.nan, "image": _image_error(truth, z)}
    true = float(np.median(truth[on_target]))
    off = abs(float(np.nanmedian(z[on_target])) - true)
    return {"target_m": off, "target": off / true, "image": _image_error(truth, z)}


def _image_error(truth: np.ndarray, z: np.ndarray | None) -> float:
    """Median relative error; pixels without a depth count as infinitely wrong; NaN without metres."""
    if z is None:
        return np.nan
    seen = truth > 0
    return float(np.median(np.nan_to_num(np.abs(z[seen] / truth[seen] - 1), nan=np.inf)))


def jumps(before: tuple[Video, list[Answer]], after: tuple[Video, list[Answer]]) -> Iterator[dict]:
    """Of two videos by the focused net, with their answers: ``error`` of the image in each of ``AFTER`` frames from the
    jump on, NaN where nothing is published, and ``right``, whether it is as good as that frame's own fit to a sensor
    that is right.

    cut: the camera shows another scene. cut, blind: and the sensor finds nothing there for a while. wrong sensor: the
    scene stays, and all measurements are too far for a while.
    """
    first, second = (hints(video, DepthSensor(video.seed)) for video, _ in (before, after))
    cut = _cut(before[1][-BEFORE:], after[1][:AFTER])
    measured = [*first[-BEFORE:], *second[:AFTER]]
    yield _jump("cut", cut, measured, measured)
    blind: list[np.ndarray | None] = [*first[-BEFORE:], *([None] * BLIND), *second[BLIND:AFTER]]
    yield _jump("cut, blind", cut, blind, measured)
    same, right = after[1][: BEFORE + AFTER], second[: BEFORE + AFTER]
    wrong = [*right[:BEFORE], *(WRONG_BY * hint for hint in right[BEFORE : BEFORE + WRONG]), *right[BEFORE + WRONG :]]
    yield _jump("wrong sensor", same, wrong, right)


def _cut(before: Sequence[Answer], after: Sequence[Answer]) -> list[Answer]:
    """One after the other, with stamps that go on."""
    period = before[1].frame.stamp - before[0].frame.stamp
    shift = before[-1].frame.stamp + period - after[0].frame.stamp
    return [*before, *(replace(a, frame=_later(a.frame, shift)) for a in after)]


def _later(frame: VideoFrame, seconds: float) -> VideoFrame:
    return replace(frame, stamp=frame.stamp + seconds)


def _jump(
    kind: str, given: Sequence[Answer], measured: Sequence[np.ndarray | None], right: Sequence[np.ndarray]
) -> dict:
    truths = [answer.frame.view.depth_m for answer in given]
    published = [_image_error(*each) for each in zip(truths, depths(given, measured, True))]
    own = [_image_error(*each) for each in zip(truths, depths(given, right, False))]
    error, limit = np.array(published[BEFORE:]), LIMIT * np.array(own[BEFORE:]) + SLACK
    return {"kind": kind, "net": FOCUS, "error": error, "right": error <= limit}


def frames_until_right(jump: dict) -> int:
    """Frames from the jump to the first from which on ``SETTLED`` are right."""
    right = np.concatenate([jump["right"], np.ones(SETTLED, bool)])
    runs = np.convolve(right, np.ones(SETTLED, int), "valid")
    return int(np.argmax(runs == SETTLED))
