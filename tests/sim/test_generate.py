from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from focusdepth_core.sim import generate as module
from focusdepth_core.sim.camera import MovingCamera
from focusdepth_core.sim.render import Renderer

SIZE = module.Size(112, 84)


@pytest.fixture(scope="module")
def renderer():
    renderer = Renderer(SIZE.width, SIZE.height)
    yield renderer
    renderer.close()


def test_a_scene_is_the_same_for_the_same_seed(renderer):
    first, again, other = (list(module.scene_frames(s, renderer, 2)) for s in (900010, 900010, 900011))
    for a, b in zip(first, again):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.depth_m, b.depth_m)
        assert a.targets == b.targets
    assert not np.array_equal(first[0].image, other[0].image)


def test_written_files_hold_the_frame(renderer, tmp_path):
    assert module.write_scene(900012, renderer, tmp_path, 2) == 2
    expected = list(module.scene_frames(900012, renderer, 2))[1]
    scene = json.loads((tmp_path / "900012" / "scene.json").read_text())
    depth = cv2.imread(str(tmp_path / "900012" / "001_depth.png"), cv2.IMREAD_UNCHANGED) / scene["depth_scale"]
    ids = cv2.imread(str(tmp_path / "900012" / "001_ids.png"), cv2.IMREAD_UNCHANGED)
    assert np.abs(depth - expected.depth_m).max() <= 0.5 / scene["depth_scale"] + 1e-6
    assert np.array_equal(ids, expected.instances)
    assert [t["category"] for t in scene["frames"][1]["targets"]] == [t.category for t in expected.targets]


def test_generation_resumes_and_repairs(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "VIEWS_PER_SCENE", 2)
    assert module.generate(tmp_path, "val", 4, 1, SIZE) == 4
    kept, lost = sorted((tmp_path / "val").glob("[0-9]*"))
    before = (kept / "scene.json").stat().st_mtime_ns
    (lost / "scene.json").unlink()  # as if the machine had stopped in the middle
    for leftover in lost.iterdir():
        leftover.unlink()
    lost.rename(lost.with_name(f".{lost.name}.part"))
    assert module.generate(tmp_path, "val", 4, 1, SIZE) == 4
    assert (kept / "scene.json").stat().st_mtime_ns == before
    assert (lost / "scene.json").exists() and len(list(lost.iterdir())) == 7


def test_moving_camera_moves_smoothly_and_offers_targets():
    camera = MovingCamera(950000, 160, 120)
    first, near, far = (camera.render(t) for t in (0.0, 0.1, 8.0))
    camera.close()
    change = [np.abs(f.depth_m - first.depth_m).mean() for f in (near, far)]
    assert 0 < change[0] < change[1]
    assert len(first.targets) >= 4
