"""What the robot is asked for can be seen, reached and told from the rest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("focusdepth_core.sim.render", reason="needs focusdepth_core[sim]")

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.task import DISTANCE_M, MIN_VISIBLE, Task, draw_task, name_of, visible_position

SEED = 900003


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    renderer = Renderer(160, 120)
    yield renderer
    renderer.close()


@pytest.fixture(scope="module")
def task(renderer: Renderer) -> Task:
    return draw_task(SEED, renderer)


def test_the_target_can_be_seen_reached_and_told_from_the_rest(task: Task) -> None:
    assert task.mask.sum() == task.target.area_px
    assert task.target.visible_fraction >= MIN_VISIBLE
    z = visible_position(task.frame.depth_m, task.mask, task.frame.intrinsics)[2]
    assert DISTANCE_M[0] <= z <= DISTANCE_M[1]
    assert [name_of(target) for target in task.frame.targets].count(task.name) == 1


def test_the_same_seed_gives_the_same_task(task: Task, renderer: Renderer) -> None:
    again = draw_task(SEED, renderer)
    assert again.target == task.target
    assert np.array_equal(again.frame.depth_m, task.frame.depth_m)
    boxes = [one.detected_box(np.random.default_rng(0)) for one in (task, again)]
    assert boxes[0] == boxes[1]


def test_a_detected_box_is_a_little_off_and_inside_the_image(task: Task) -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([task.detected_box(rng) for _ in range(300)])
    assert (boxes >= 0).all() and (boxes <= [160, 120, 160, 120]).all()
    assert np.array_equal(boxes, np.rint(boxes))
    assert np.abs(np.median(boxes, axis=0) - task.target.box).max() <= 1
    assert (boxes.std(axis=0) > 0.3).all()


def test_the_position_is_that_of_the_surface() -> None:
    k = Intrinsics(100.0, 100.0, 10.0, 20.0, 64, 48)
    depth_m, mask = np.full((48, 64), 2.0, np.float32), np.zeros((48, 64), bool)
    mask[20:31, 10:41] = True
    depth_m[:, 40] = 0  # not measured
    assert visible_position(depth_m, mask, k) == pytest.approx([0.29, 0.1, 2.0])
    assert np.isnan(visible_position(depth_m, np.zeros_like(mask), k)).all()
