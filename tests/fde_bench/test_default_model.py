"""The file that says what focusing is worth, from runs of a net that was never trained."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import cv2
import torch

from focusdepth_core.fde_bench.__main__ import main
from focusdepth_core.fde_bench.default_model import shuffled
from focusdepth_core.fde_bench.study_curves import curves
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
from focusdepth_core.model.mssa import MSSAConfig
from focusdepth_core.model.prompt.lite import LiteConfig
from focusdepth_core.training import checkpoint
from focusdepth_core.training.curves import Curves
from tests.fde_bench.tiny_bench import write_manifests

GEOMETRY = DepthAnythingV2Config(height=42, width=56, hidden=16, layers=4, heads=2, neck=(8, 8, 8, 8), fusion=8, head=8)
LITE = LiteConfig(width=16, depth=1, heads=2, stem=8, text=8, words=("mug",), prior=True)
CONFIG = FocusDepthConfig(GEOMETRY, LITE)
RUNS = {
    "seed0/model": CONFIG,
    "seed0/focus": CONFIG,
    "seed1/model": CONFIG,
    "seed1/focus": CONFIG,
    "seed2/focus": CONFIG,  # not exported yet
    "shuffled/focus": replace(CONFIG, mssa=MSSAConfig(alignment="shuffled")),
    "box_channel/baseline": replace(CONFIG, geometry=replace(GEOMETRY, box_channel=True)),
    "pretraining/baseline": CONFIG,
}


def moved(config: FocusDepthConfig, seed: int) -> FocusDepth:
    """As if trained: the experts no longer answer zero."""
    torch.manual_seed(seed)
    model = FocusDepth(config)
    for scale in model.mssa.scales:
        torch.nn.init.normal_(scale.expert_out.weight, std=0.5)
    return model.eval()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_manifests(folder)
    for name, config in RUNS.items():
        moved(config, int(name.startswith("seed1"))).save_pretrained(folder / "runs" / name)
    _pretend_to_train(folder / "runs" / "seed0")
    return folder


def _pretend_to_train(run):
    """Curves of a stage that finds, one that goes on with depth, one that learns texts, and one without a prompt."""
    stages = [
        ("find", "prompt", "pretrained", 30),
        ("focus", "decoder", "find", 20),
        ("texts", "search", "focus", 40),
        ("plain", "geometry", "pretrained", 20),
    ]
    names = ("name", "learns", "start", "steps")
    (run / "recipe.json").write_text(json.dumps({"stages": [dict(zip(names, stage)) for stage in stages]}))
    for name, learns, _, steps in stages:
        measures = ("foreground", "global", "mask") if learns != "geometry" else ("foreground", "global")
        curves = Curves(run / "curves" / name, 0)
        for step in (10, steps):
            curves.numbers({f"validation/error_{m}": 1 / step for m in measures}, step)
        curves.close()
        checkpoint.save(run / "stages" / name / checkpoint.LAST, {}, checkpoint.Progress(steps, 0.1, 10, 1.5), {})


@pytest.fixture(scope="module")
def result(study):
    out = study / "out" / "default_model.json"
    assert main([*command(study), "--out", str(out), "--plots", str(study / "plots")]) == 0
    return json.loads(out.read_text())


def command(study):
    return ["default_model", str(study / "runs"), str(study / "one.parquet"), "--real", str(study / "pseudo.parquet")]


def test_the_result_has_every_part(result):
    assert result["baseline"]["pairs"] == result["focus_box"]["pairs"] == 12 and result["seeds"] == 2
    assert result["focus_text"]["pairs"] == result["held_out_categories"]["focus_box"]["pairs"] == 6
    assert set(result["ablations"]) == {"shuffled", "shuffled at test time"}
    assert set(result["robustness"]) == {"box at IoU 0.7", "wrong target", "empty prompt", "unprompted"}
    assert {"box_channel", "pretrained", "each_seed", "commit", "machine"} <= result.keys()
    assert result["real"]["baseline"]["pairs"] == result["real"]["focus_box"]["pairs"] == 2
    assert result["speed"]["frames_per_s"] > 0 and 50 < result["speed"]["peak_memory_mb"] < 5000
    assert result["presence"]["threshold"] == 0.5 and result["presence"]["texts"] == {"present": 6, "absent": 0}


def test_what_was_judged_is_not_judged_again(study, result, monkeypatch, tmp_path):
    monkeypatch.setattr("focusdepth_core.fde_bench.default_model.evaluate", None)
    assert main([*command(study), "--out", str(tmp_path / "again.json")]) == 0
    again = json.loads((tmp_path / "again.json").read_text())
    changing = {"speed", "date"}
    assert {k: v for k, v in again.items() if k not in changing} == {
        k: v for k, v in result.items() if k not in changing
    }
    with pytest.raises(TypeError):
        main([*command(study), "--limit", "3"])
    monkeypatch.setattr("focusdepth_core.fde_bench.default_model._code", lambda: "other code")
    with pytest.raises(TypeError):
        main(command(study))


def test_a_limit_leaves_the_main_row_whole(study, result, tmp_path):
    assert main([*command(study), "--limit", "3", "--out", str(tmp_path / "few.json")]) == 0
    few = json.loads((tmp_path / "few.json").read_text())
    assert few["focus_box"] == result["focus_box"]
    assert few["ablations"]["shuffled"]["pairs"] < few["focus_box"]["pairs"]


def test_training_is_told_and_drawn(study, result):
    assert result["training"]["seed0/focus"] == {"steps": 20, "seconds": 1.5}
    found = {(c.learns, c.measure): c.steps for c in curves(study / "runs")}
    assert found[("decoder", "mask")] == [40, 50] and found[("prompt", "mask")] == [10, 30]
    assert found[("decoder", "foreground")] == found[("geometry", "foreground")] == [10, 20]
    assert found[("search", "mask")] == [10, 40], "by itself"
    assert ("prompt", "global") not in found and ("search", "global") not in found
    pictures = [cv2.imread(str(study / "plots" / f"{name}.png")) for name in ("curves", "examples")]
    assert all(picture is not None and picture.std() > 10 for picture in pictures)


def test_rows_that_are_of_the_same_weights_agree(result):
    """seed0/model has no plain net of its own, so its answer without a prompt is that of the skipped fusion."""
    regions = ("global", "foreground", "band")
    rows = [result["baseline"], result["robustness"]["unprompted"], result["pretrained"]]
    assert all(rows[0][r] == row[r] for row in rows for r in regions)
    assert [result["pretrained"]["change"][r]["mean"] for r in regions] == [0, 0, 0]
    assert result["focus_box"]["foreground"] != result["baseline"]["foreground"]
    assert result["each_seed"]["seed0"]["focus"]["band"] == result["focus_box"]["band"]
    assert result["each_seed"]["seed1"]["focus"]["band"] != result["focus_box"]["band"]
    both = result["ablations"]
    assert both["shuffled"]["band"] == both["shuffled at test time"]["band"] != result["focus_box"]["band"]


def test_shuffling_changes_what_a_model_answers_and_not_its_weights(study):
    with shuffled(study / "runs" / "seed0" / "focus") as folder:
        other = FocusDepth.from_pretrained(folder)
    given = FocusDepth.from_pretrained(study / "runs" / "seed0" / "focus").state_dict()
    assert all(torch.equal(given[name], tensor) for name, tensor in other.state_dict().items())
    assert other.config.mssa.alignment == "shuffled"


def test_without_a_trained_model_the_remedy_is_named(study, tmp_path, capsys):
    assert main(["default_model", str(tmp_path), str(study / "one.parquet")]) == 1
    assert "seed0/model is not there yet; run focusdepth_core.training.study first" in capsys.readouterr().err
