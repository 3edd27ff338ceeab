from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from focusdepth_core.sim.depth_sensor import DepthSensor
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.video import record

RATE = 10.0


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    renderer = Renderer(112, 84)
    yield renderer
    renderer.close()


def test_a_video_is_the_same_for_the_same_seed(renderer: Renderer) -> None:
    first, again, other = (record(seed, "moving", renderer, 3, RATE) for seed in (900001, 900001, 900002))
    assert first.target == again.target
    for a, b in zip(first.frames, again.frames):
        assert np.array_equal(a.view.image, b.view.image) and np.array_equal(a.camera, b.camera)
    assert not np.array_equal(first.frames[0].view.image, other.frames[0].view.image)


def test_at_rest_the_noise_alone_differs(renderer: Renderer) -> None:
    video = record(900002, "static", renderer, 3, RATE)
    a, b, _ = (frame.view for frame in video.frames)
    assert [frame.stamp for frame in video.frames] == [0.0, 0.1, 0.2]
    assert np.array_equal(a.depth_m, b.depth_m) and not np.array_equal(a.image, b.image)
    assert np.abs(a.image.astype(int) - b.image).mean() < 6


def test_the_poses_carry_the_depth_of_one_frame_to_the_next(renderer: Renderer) -> None:
    a, b = record(900001, "moving", renderer, 4, 3.0).frames[::3]
    k = a.view.intrinsics
    v, u = np.mgrid[: k.height, : k.width]
    z = a.view.depth_m
    points = np.stack([(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z, np.ones_like(z)], -1)
    x, y, depth, _ = np.moveaxis(points @ (np.linalg.inv(b.camera) @ a.camera).T, -1, 0)
    column, row = (np.rint(f * p / depth + c).astype(int) for f, p, c in ((k.fx, x, k.cx), (k.fy, y, k.cy)))
    assert np.hypot(column - u, row - v).mean() > 3, "it moves"
    inside = (column >= 0) & (row >= 0) & (column < k.width) & (row < k.height)
    there = b.view.depth_m[row[inside], column[inside]]
    assert np.mean(np.abs(there / depth[inside] - 1) < 0.03) > 0.85, "the others are hidden in one of the two"


def test_what_passes_hides_the_target_for_a_while(renderer: Renderer) -> None:
    video = record(900005, "passing", renderer, 30, RATE)
    area = [np.count_nonzero(frame.view.instances == video.target) for frame in video.frames]
    passes = [bool((frame.view.instances == video.passing).any()) for frame in video.frames]
    assert min(area[10:20]) < 0.2 * min(area[:5]) and min(area[25:]) > 0.3 * area[0]
    assert not passes[0] and not passes[-1] and passes[15]


def test_an_unknown_kind_is_refused(renderer: Renderer) -> None:
    with pytest.raises(ValueError, match="'shaky' is unknown; known: static, moving, passing"):
        record(900001, "shaky", renderer, 3, RATE)


@pytest.mark.parametrize("on_target", [0.0, 0.3, 1.0])
def test_the_sensor_measures_what_was_asked_for(on_target: float) -> None:
    depth, target = np.full((120, 160), 2.0, np.float32), np.zeros((120, 160), bool)
    target[40:70, 50:90] = True
    hint = DepthSensor(3, cover=0.6, on_target=on_target).measure(depth, target, np.random.default_rng(0))
    seen = hint > 0
    assert seen[target].mean() == pytest.approx(on_target, abs=0.01)
    assert seen[~target].mean() == pytest.approx(0.6, abs=0.06)
    assert np.mean(np.abs(hint[seen] / 2 - 1) > 0.1) == pytest.approx(0.2, abs=0.02)
    assert np.std(hint[np.abs(hint / 2 - 1) < 0.1] / 2) == pytest.approx(0.01, rel=0.1)


def test_the_sensor_s_holes_stay() -> None:
    depth, nothing = np.full((120, 160), 2.0, np.float32), np.zeros((120, 160), bool)
    sensor, rng = DepthSensor(3), np.random.default_rng(0)
    a, b = (sensor.measure(depth, nothing, rng) for _ in range(2))
    assert np.array_equal(a > 0, b > 0) and not np.array_equal(a, b)
    assert not np.array_equal(a > 0, DepthSensor(4).measure(depth, nothing, rng) > 0)
