"""Clouds whose points are off by known amounts."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs focusdepth_core[bench]")

from focusdepth_core.fde_bench import clouds
from focusdepth_core.fde_bench.clouds import CLOUDS, FOCUS_TRUE, Judged, figures
from focusdepth_core.fde_bench.judging import FOCUS, PLAIN
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.perception.frame import Intrinsics
from tests.fde_bench.tiny_bench import write_manifests
from tests.tiny_model import write_model_folder

OWN, OTHER = 1.0, 2.0
SIDE = 20


def judged(z: np.ndarray, found: np.ndarray | None = None, other: float = OTHER) -> Judged:
    """A square target that fills the window but for 2 px around it; ``z``: of both nets."""
    true = np.zeros((SIDE, SIDE), bool)
    true[2:-2, 2:-2] = True
    masks = {PLAIN: true, FOCUS: true if found is None else found, FOCUS_TRUE: true}
    window = slice(0, SIDE), slice(0, SIDE)
    surfaces = np.full((SIDE, SIDE), OWN), np.full((SIDE, SIDE), other)
    return Judged(None, window, dict.fromkeys(CLOUDS, z), masks, *surfaces)


def test_points_on_the_surface_are_neither_off_nor_fly() -> None:
    cloud = judged(np.full((SIDE, SIDE), OWN * 1.04)).cloud(PLAIN, 0, centred=False)
    assert cloud.places.size == 16 * 16 and not cloud.off.any() and not cloud.flies.any()


def test_points_fly_that_have_left_for_the_other_surface() -> None:
    z = np.full((SIDE, SIDE), OWN)
    z[4, 4:8], z[5, 5], z[6, 6] = (1.2, 1.3, 2.0, 2.5), 0.5, np.nextafter(1.25, 2)
    cloud = judged(z).cloud(PLAIN, 0, centred=False)
    flying = {int(place) for place in cloud.places[cloud.flies]}
    assert flying == {4 * SIDE + column for column in (5, 6, 7)} | {6 * SIDE + 6}
    assert np.count_nonzero(cloud.off) == 6, "those before and behind the surface are off as well"
    assert not judged(z, other=1.04).cloud(PLAIN, 0, centred=False).flies.any(), "no step to fly over"


def test_centred_is_the_shape_alone() -> None:
    z = np.full((SIDE, SIDE), 1.5)
    z[4, 4:8] = 3.0
    assert judged(z).cloud(PLAIN, 0, centred=False).off.all()
    assert np.count_nonzero(judged(z).cloud(PLAIN, 0, centred=True).off) == 4


def test_the_edge_is_left_out_and_counted() -> None:
    z = np.full((SIDE, SIDE), OWN)
    z[:3] = OTHER  # the target's first row is one of them
    found = np.zeros((SIDE, SIDE), bool)
    found[2:-2, 2:10] = True
    result = figures([judged(z, found)])
    assert result[PLAIN]["0 px"]["flying"] == result[PLAIN]["0 px"]["off"] == round(1 / 16, 4)
    assert result[PLAIN]["1 px"] == {
        "kept": round((14 / 16) ** 2, 4),
        **dict.fromkeys(("off", "flying", "off_centred", "flying_centred"), 0.0),
        "clouds": 1,
    }
    assert result[FOCUS]["0 px"]["kept"] == 0.5
    assert result[FOCUS_TRUE] == result[PLAIN]


def test_the_command_writes_figures(tmp_path: Path) -> None:
    write_manifests(tmp_path)
    parser = argparse.ArgumentParser()
    clouds.add_arguments(parser)
    out, model = tmp_path / "clouds.json", write_model_folder(tmp_path / "model")
    assert clouds.run(parser.parse_args([str(model), str(tmp_path / "one.parquet"), "--out", str(out)])) == 0
    result = json.loads(out.read_text())
    assert result["targets"] == len(Manifest.open(tmp_path / "one.parquet", "test"))
    assert set(result["clouds"]) == set(CLOUDS)
    kept = [result["clouds"][PLAIN][f"{edge} px"]["kept"] for edge in range(4)]
    assert kept[0] == 1 and kept == sorted(kept, reverse=True)


def test_a_picture_of_targets_of_different_images(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from focusdepth_core.fde_bench import cloud_plots, plots

    write_manifests(tmp_path)
    rows, z = list(Manifest.open(tmp_path / "one.parquet", "test"))[:6], np.full((SIDE, SIDE), OWN)
    z[4] = 1.2
    with pytest.raises(ValueError, match="no image of the manifest has intrinsics"):
        cloud_plots.chosen([replace(judged(z), row=row) for row in rows])
    k = Intrinsics(100, 100, 56, 42, 112, 84)
    shown = cloud_plots.chosen([replace(judged(z), row=replace(row, intrinsics=k)) for row in rows])
    assert len({target.row.image for target in shown}) == len(shown) == 3
    picture = cloud_plots.side_views(shown)
    assert "6 % of 256 points are off" in picture.axes[0].get_title()
    plots.save(picture, tmp_path / "clouds.png")
    assert (tmp_path / "clouds.png").stat().st_size > 10_000
