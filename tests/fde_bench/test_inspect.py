from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import pytest

pytest.importorskip("pyarrow", reason="needs focusdepth_core[bench]")

from focusdepth_core.fde_bench import inspect as command
from focusdepth_core.fde_bench.data_plots import by_source, spread
from focusdepth_core.fde_bench.inspect import counted, rows_of
from focusdepth_core.fde_bench.manifest import Manifest
from tests.fde_bench.tiny_bench import IMAGES, write_manifests


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    folder = tmp_path_factory.mktemp("bench")
    write_manifests(folder)
    return [Manifest.open(folder / f"{name}.parquet") for name in IMAGES]


def test_counts_by_source_split_and_category(opened: list[Manifest]) -> None:
    counts = counted(rows_of(opened))
    assert counts["sources"] == [
        {"dataset": d, "mask_source": m, "split": "test", "targets": t, "images": i, "groups": g, "categories": 2}
        for d, m, t, i, g in (("one", "true", 12, 6, 3), ("pseudo", "pseudo:sam", 2, 1, 1), ("two", "true", 2, 1, 1))
    ]
    # "scene 0" of different manifests are different scenes
    assert counts["splits"] == [{"split": "test", "targets": 16, "images": 8, "groups": 5, "categories": 2}]
    assert counts["categories"] == {"mug": 8, "spoon": 8}
    assert counts["held_out_categories"] == ["spoon"]


def test_the_command_prints_the_papers_totals_and_draws(opened: list[Manifest], tmp_path: Path, capsys) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([*(str(m.path) for m in opened), "--out", str(tmp_path / "new")])) == 0
    printed = capsys.readouterr().out
    for line in (
        "| targets, train | 0 | 252,900 |",
        "| targets, test | 16 | - |",
        "| categories | 2 | 972 |",
        "| spoon (held out) | 8 |",
        "| one | true | test | 12 | 6 | 3 | 2 |",
    ):
        assert line in printed
    assert json.loads((tmp_path / "new" / "counts.json").read_text())["categories"]["mug"] == 8
    for name in ("histograms", "targets"):
        assert cv2.imread(str(tmp_path / "new" / f"{name}.png")).std() > 5


def test_every_source_is_shown_and_its_rows_are_spread(opened: list[Manifest]) -> None:
    sources = by_source(opened)
    assert {name: [row.dataset for row in spread(places, 2)] for name, places in sources.items()} == {
        name: [name] * 2 for name in IMAGES
    }
    assert [row.id for row in spread(sources["one"], 3)] == ["one_0/0", "one_3/0", "one_5/1"]
