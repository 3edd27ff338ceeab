from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

from focusdepth_core.model.describe import describe, load_config

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "config" / "train"


def test_depth_anything_small_with_sam3_costs_what_the_paper_s_parts_cost():
    about = describe(load_config(RECIPES / "da2_small.yaml"))
    counts = about["parameters"]
    geometry = counts["geometry encoder"] + counts["geometry decoder"]
    assert geometry == pytest.approx(24.8e6, rel=0.03)
    assert about["gflop_of_the_geometry_net_alone"] == pytest.approx(115, rel=0.03)
    assert about["gflop"]["frame with one target"] == pytest.approx(6120, rel=0.03)


def test_lite_on_nano_is_described_by_part():
    about = describe(load_config(ROOT / "focusdepth_core" / "weights" / "nano-sim"))
    counts = about["parameters"]
    assert counts["total"] == sum(v for k, v in counts.items() if k != "total") > 2e6
    extra = about["gflop_per_extra_target"]
    assert 0 < extra["in union"] < extra["one by one"] < about["gflop"]["frame with one target"]
    assert all(peak > 0 for peak in about["peak_memory_mb_fp32"].values())


@pytest.mark.parametrize(
    ("text", "message"), [("steps: 3", "has no 'model'"), ("model: {geometry: {", "cannot be read as YAML")]
)
def test_files_that_are_no_recipe_are_refused(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(path)


def test_the_command_prints_tables_and_json():
    model = str(ROOT / "focusdepth_core" / "weights" / "nano-sim")
    command = [sys.executable, "-m", "focusdepth_core.model", "describe", model]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "geometry encoder" in table and "Each further target in union" in table
    printed = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed)["prompt"] == "lite"
