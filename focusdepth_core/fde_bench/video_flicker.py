"""How much depth trembles from frame to frame.

With d the predicted depth and z the true one:

``deviation``, where nothing moves: std_t(d) / mean_t(d) of each pixel, mean over the pixels.

``change``, also where the camera moves: abs(log(d_t+1(q) / d_t(p)) - log(z_t+1(q) / z_t(p))), mean over the pixels p of
every frame but the last, q being where the next frame shows the same point of a surface: the relative change that the
true change does not explain, 0 for any prediction that is right up to one scale. The true poses and depths say which q
belongs to p, and leave out what is hidden, as for the temporal alignment error of Depth Any Video (arXiv 2410.10815);
the warping error of NVDS (arXiv 2307.08695) takes estimated optical flow instead. What moves by itself is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from focusdepth_core.fde_bench.video_answers import Answer, depths, hints
from focusdepth_core.perception.result import Space
from focusdepth_core.sim.depth_sensor import DepthSensor
from focusdepth_core.sim.video import Video, VideoFrame

ALIGNED, EACH, FILTERED = DEPTHS = ("aligned", "metric", "metric, filtered")
SAME_SURFACE = 0.02  # relative difference of depth up to which two pixels show the same point
MIN_PX = 64
STRIDE = 4  # of the pixels that one line is fitted to


def records(video: Video, given: dict[str, list[Answer]], space: Space) -> Iterator[dict]:
    """By net, depth and region of a video in which nothing or only the camera moves.

    aligned: by one line from raw values to true depth for the whole video, in the network's space; metric: by each
    frame's own fit to a depth sensor; metric, filtered: by the fit that is filtered over time.
    """
    pairs = [_same_points(a, b) for a, b in zip(video.frames, video.frames[1:])]
    measured = hints(video, DepthSensor(video.seed))
    for net, some in given.items():
        for depth in DEPTHS:
            maps = _depths(some, measured, space, depth)
            for region, values in _change(video, maps, pairs).items():
                about = {"kind": video.kind, "net": net, "depth": depth, "region": region, "change": values}
                deviation = _deviation(video, maps, region) if video.kind == "static" else np.nan
                yield about | {"deviation": deviation}


def _depths(given: Sequence[Answer], hints_m: Sequence[np.ndarray], space: Space, depth: str) -> list[np.ndarray]:
    """z, H,W each, within what the video's true depth spans; where a fit gives no depth it is the farthest."""
    farthest = max(float(answer.frame.view.depth_m.max()) for answer in given)
    nearest = min(float(answer.frame.view.depth_m[answer.frame.view.depth_m > 0].min()) for answer in given)
    if depth == ALIGNED:
        line = _line(given, space)
        maps = [_to_depth(line[0] * answer.raw + line[1], space) for answer in given]
    else:
        metres = depths(given, hints_m, depth == FILTERED)
        maps = [np.full(a.raw.shape, np.nan) if z is None else z for a, z in zip(given, metres)]
    return [np.clip(np.nan_to_num(z, nan=farthest), nearest / 2, farthest) for z in maps]


def _to_depth(value: np.ndarray, space: Space) -> np.ndarray:
    if space is not Space.AFFINE_DISPARITY:
        return value
    return np.where(value > 0, 1 / np.maximum(value, 1e-6), np.nan)


def _line(given: Sequence[Answer], space: Space) -> tuple[float, float]:
    """Least squares over all frames."""
    if space is Space.METRIC:
        return 1.0, 0.0
    sample = np.s_[::STRIDE, ::STRIDE]
    raw = np.concatenate([answer.raw[sample].ravel() for answer in given])
    z = np.concatenate([answer.frame.view.depth_m[sample].ravel() for answer in given])
    x, z = raw[z > 0].astype(np.float64), z[z > 0].astype(np.float64)
    scale, shift = np.polyfit(x, 1 / z if space is Space.AFFINE_DISPARITY else z, 1)
    return float(scale), float(shift)


def _deviation(video: Video, maps: Sequence[np.ndarray], region: str) -> float:
    view = video.frames[0].view
    where = view.depth_m > 0 if region == "image" else view.instances == video.target
    stack = np.stack([z[where] for z in maps])
    return float(np.mean(stack.std(0) / stack.mean(0)))


def _change(video: Video, maps: Sequence[np.ndarray], pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict:
    """Mean over all pairs of frames, by region."""
    sums = {"image": np.zeros(2), "target": np.zeros(2)}
    for a, b, z_a, z_b, (p, q) in zip(video.frames, video.frames[1:], maps, maps[1:], pairs):
        error_a, error_b = (np.log(z / np.maximum(f.view.depth_m, 1e-6)) for z, f in ((z_a, a), (z_b, b)))
        change = np.abs(error_b.ravel()[q] - error_a.ravel()[p])
        on_target = a.view.instances.ravel()[p] == video.target
        sums["image"] += change.sum(), change.size
        sums["target"] += change[on_target].sum(), np.count_nonzero(on_target)
    return {region: float(total / count) if count >= MIN_PX else np.nan for region, (total, count) in sums.items()}


def _same_points(a: VideoFrame, b: VideoFrame) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of pixels of both frames that show the same point of something at rest."""
    k, z = a.view.intrinsics, a.view.depth_m
    rays = _rays(k.width, k.height, k.fx, k.cx, k.cy)
    moved = np.linalg.inv(b.camera) @ a.camera
    x, y, depth = moved[:3, :3].astype(np.float32) @ (rays * z.ravel()) + moved[:3, 3:].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = k.fx * x / depth + k.cx, k.fy * y / depth + k.cy
    inside = (z.ravel() > 0) & (u > -0.5) & (v > -0.5) & (u < k.width - 0.5) & (v < k.height - 0.5)
    p = np.flatnonzero(inside)
    q = np.rint(v[p]).astype(int) * k.width + np.rint(u[p]).astype(int)
    same = np.abs(b.view.depth_m.ravel()[q] - depth[p]) < SAME_SURFACE * depth[p]
    same &= a.view.instances.ravel()[p] == b.view.instances.ravel()[q]
    return p[same], q[same]


@lru_cache(maxsize=2)
def _rays(width: int, height: int, focal: float, cx: float, cy: float) -> np.ndarray:
    """3,H*W float32 of square pixels, with z = 1."""
    v, u = np.mgrid[:height, :width].reshape(2, -1)
    return np.stack([(u - cx) / focal, (v - cy) / focal, np.ones(u.size)]).astype(np.float32)
