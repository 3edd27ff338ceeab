"""Several runs from one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

from focusdepth_core.sim.texts import vocabulary
from focusdepth_core.training import study as command
from focusdepth_core.training.checks import FINDING
from focusdepth_core.training.study import read_study

STUDIES = Path(__file__).parents[2] / "config" / "study"
RECIPE = {
    "model": {
        "geometry": {"kind": "depth_anything_v2", "height": 42, "width": 56, "hidden": 16, "layers": 4, "heads": 2}
        | {"neck": [8, 8, 8, 8], "fusion": 8, "head": 8},
        "prompt": {"kind": "lite", "width": 16, "depth": 1, "heads": 2, "stem": 16},
    },
    "pretrained": "{out}/pretraining/baseline",
    "stages": [
        {"name": "stage1", "learns": "mssa", "steps": 1},
        {"name": "stage2", "learns": "decoder", "steps": 1, "start": "stage1"},
        {"name": "baseline", "learns": "geometry", "steps": 2},
    ],
    "focus": "stage2",
    "baseline": "baseline",
    "batch": 4,
    "device": "cpu",
    "threads": 1,
}
RUNS = {
    "pretraining": {
        "pretrained": None,
        "stages": [{"name": "full", "learns": "geometry", "start": "scratch", "steps": 2}],
        "focus": None,
        "baseline": "full",
    },
    "seed0": None,
    "box_channel": {
        "model": {"geometry": {"box_channel": True}},
        "stages": RECIPE["stages"][2:],
        "focus": None,
    },
    "shuffled": {
        "model": {"mssa": {"alignment": "shuffled"}},
        "stages": RECIPE["stages"][:2],
        "baseline": None,
        "seed": 3,
    },
}


@pytest.fixture
def file(tmp_path, data):
    shares = {
        name: [{"manifest": str(data), "split": split}] for name, split in (("train", "train"), ("validation", "val"))
    }
    recipe = RECIPE | {"data": shares | {"validation_samples": 4, "workers": 0}}
    (tmp_path / "study.yaml").write_text(
        yaml.safe_dump({"out": "nowhere", "recipe": recipe, "runs": RUNS}, sort_keys=False)
    )
    return tmp_path / "study.yaml"


def test_one_command_makes_all_runs_in_order_and_those_that_are_done_stay(file, monkeypatch, capsys):
    out = file.parent / "runs"
    monkeypatch.setattr("sys.argv", ["study", str(file), "--out", str(out)])
    command.main()
    made = {p.parent.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in out.glob("*/*/model.safetensors")}
    assert set(made) == {
        *("pretraining/baseline", "seed0/focus", "seed0/baseline", "box_channel/baseline", "shuffled/focus")
    }
    assert made["pretraining/baseline"] == min(made.values())
    done = {p: p.stat().st_mtime_ns for p in [*out.glob("*/stages/*/last.safetensors"), *out.glob("*/*/config.json")]}
    command.main()
    assert len(done) == 7 + 5 and {p: p.stat().st_mtime_ns for p in done} == done
    again = out / "seed0" / "focus" / "config.json"
    again.unlink()
    command.main()
    assert again.is_file()


def test_a_run_changes_what_it_names_and_nothing_else(file):
    runs = read_study(file, Path("there"))
    assert list(runs) == list(RUNS) and runs["shuffled"].out == Path("there/shuffled")
    assert runs["seed0"].pretrained == Path("there/pretraining/baseline") and runs["pretraining"].pretrained is None
    assert runs["box_channel"].model.geometry.box_channel and not runs["seed0"].model.geometry.box_channel
    assert runs["box_channel"].model.geometry.hidden == 16 and runs["shuffled"].seed == 3


def test_what_is_no_study_or_no_run_is_refused(file, monkeypatch):
    monkeypatch.setattr("sys.argv", ["study", str(file), "--only", "seed9"])
    with pytest.raises(SystemExit, match="--only seed9 is no run of .*; there are pretraining, seed0"):
        command.main()
    file.write_text(yaml.safe_dump(RECIPE))
    with pytest.raises(ValueError, match="is no study: it needs the fields out, recipe, runs"):
        read_study(file)
    file.write_text(yaml.safe_dump({"out": "x", "recipe": RECIPE, "runs": {"a": {"bacth": 3}}}))
    with pytest.raises(ValueError, match="run a: unknown field bacth"):
        read_study(file)


def test_the_default_study_knows_all_words_of_the_simulator():
    assert all(list(r.model.prompt.words) == vocabulary() for r in read_study(STUDIES / "default.yaml").values())


@pytest.mark.parametrize("name", ["default", "small", "small_seeds"])
def test_the_runs_of_a_study_can_be_compared(name):
    """The same data and prompts, as many steps in which depth is learned, from the same weights, at the same rates."""
    runs = read_study(STUDIES / f"{name}.yaml")
    assert [run for run in runs if run != "pretraining"][0] == "seed0"
    compared = [run for name, run in runs.items() if name != "pretraining"]
    depth = [[s for s in run.stages if s.learns not in ("geometry", *FINDING)] or run.stages for run in compared]
    steps = [sum(stage.steps for stage in one) for one in depth]
    assert len({(run.batch, run.data, run.prompts, run.pretrained, n) for run, n in zip(compared, steps)}) == 1
    stages = [stage for run in compared for stage in run.stages]
    assert len({(s.name, s.steps, s.lr) for s in stages}) == len({s.name for s in stages}) >= 4
