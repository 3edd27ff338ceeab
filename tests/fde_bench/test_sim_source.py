"""Rendered scenes become rows, from one command."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mujoco", reason="needs focusdepth_core[sim]")

import numpy as np

from focusdepth_core.fde_bench.__main__ import main
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.sim.splits import held_out_categories


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sim")
    assert main(["build", "sim", "--images", "16", "--workers", "1", "--out", str(folder)]) == 0
    return folder


def test_rows_are_the_targets_of_the_scene(out):
    (path,) = out.glob("scenes/test/*/scene.json")
    scene = json.loads(path.read_text())
    targets = {
        f"sim/test/950000/{frame['name']}#{k}": (target, frame["intrinsics"])
        for frame in scene["frames"]
        for k, target in enumerate(frame["targets"])
    }
    rows = list(Manifest.open(out, "test"))
    assert 20 < len(rows) < len(targets)
    for row in rows:
        target, k = targets[row.id]
        assert row.category == target["category"] and row.group == "950000" and row.split == "test"
        assert row.texts[:2] == (target["category"], f"{target['colour']} {target['category']}")
        assert (row.area, list(row.box)) == (target["area_px"], target["box"])
        assert (
            row.visible_fraction == pytest.approx(target["visible_fraction"], abs=1e-6) and row.visible_fraction >= 0.3
        )
        assert row.held_out == (row.category in held_out_categories())
        assert all(getattr(row.intrinsics, name) == k[name] for name in ("fx", "fy", "cx", "cy", "width", "height"))


def test_images_and_depth_stay_where_they_are(out):
    row = Manifest.open(out).row(0)
    assert row.image.startswith("scenes/test/950000/") and not (out / "images").exists()
    image, depth, mask = row.read_image(), row.read_depth(), row.read_mask()
    assert image.shape == (240, 320, 3) and image.dtype == np.uint8
    assert 0.1 < np.median(depth[mask]) < 3 and mask.sum() == row.area


def test_a_folder_without_scenes_is_one_sentence(tmp_path, capsys):
    assert main(["build", "sim", "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "no scene in" in capsys.readouterr().err
