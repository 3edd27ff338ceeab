"""The file that says what focusing is worth, from runs of a net that was never trained."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.fde_bench.__main__ import main
from focusdepth_core.fde_bench.default_model import shuffled
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
from focusdepth_core.model.mssa import MSSAConfig
from focusdepth_core.model.prompt.lite import LiteConfig
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
    return folder


@pytest.fixture(scope="module")
def result(study):
    out = study / "out" / "default_model.json"
    manifests = [str(study / "one.parquet"), "--real", str(study / "pseudo.parquet")]
    assert main(["default_model", str(study / "runs"), *manifests, "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_the_result_has_every_part(result):
    assert result["baseline"]["pairs"] == result["focus_box"]["pairs"] == 12 and result["seeds"] == 2
    assert result["focus_text"]["pairs"] == result["held_out_categories"]["focus_box"]["pairs"] == 6
    assert set(result["ablations"]) == {"shuffled", "shuffled at test time"}
    assert set(result["robustness"]) == {"box at IoU 0.7", "wrong target", "empty prompt", "unprompted"}
    assert {"box_channel", "pretrained", "each_seed", "commit", "machine"} <= result.keys()
    assert result["real"]["baseline"]["pairs"] == result["real"]["focus_box"]["pairs"] == 2
    assert result["speed"]["frames_per_s"] > 0 and 50 < result["speed"]["peak_memory_mb"] < 5000
    assert result["presence"]["threshold"] == 0.5 and result["presence"]["texts"] == {"present": 6, "absent": 0}


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
