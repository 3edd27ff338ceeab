"""Summaries by hand, and two evaluations side by side."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs focusdepth_core[bench]")

from focusdepth_core.fde_bench import compare as command
from focusdepth_core.fde_bench.compare import ComparisonError, compare, joined
from focusdepth_core.fde_bench.evaluate import pairs_path
from focusdepth_core.fde_bench.pairs import METRICS, Pairs
from focusdepth_core.fde_bench.report import change_text, results, tables
from focusdepth_core.fde_bench.summary import Summary


def pairs_of(rows: Sequence[tuple], dense: bool = True) -> Pairs:
    """From dataset, group, plain and focus; every metric has the same value."""
    return Pairs.of(
        [
            {
                "id": f"{dataset}/{i}",
                "dataset": dataset,
                "group": group,
                "category": "mug",
                "held_out": False,
                "mask_source": "true",
                "area_share": 0.01,
                "visible_fraction": None,
                "mask_iou": 0.5,
                "is_dense": dense,
            }
            | {f"{net}:{m}": value for net, value in (("plain", plain), ("focus", focus)) for m in METRICS}
            | {f"{net}:{key}": 0.0 for net in ("plain", "focus") for key in ("clipped", "failed")}
            for i, (dataset, group, plain, focus) in enumerate(rows)
        ]
    )


def test_pairs_are_averaged_within_a_source_and_sources_unweighted() -> None:
    pairs = pairs_of([("a", "1", 0.2, 0.1), ("a", "1", 0.4, 0.2), ("a", "2", 0.6, 0.6), ("b", "1", 0.8, 0.8)])
    whole = Summary(pairs).as_json("focus", "plain")
    plain, focus = (0.4 + 0.8) / 2, (0.3 + 0.8) / 2
    assert whole["plain"]["absrel/band"] == pytest.approx(plain)
    assert whole["focus"]["absrel/band"] == pytest.approx(focus)
    assert whole["change"]["absrel/band"]["mean"] == pytest.approx(focus / plain - 1, abs=1e-4)
    assert whole["change"]["delta_1/band"]["mean"] == pytest.approx(focus - plain)
    assert (whole["pairs"], whole["groups"]) == (4, 3)


def test_the_interval_is_that_of_drawing_scenes() -> None:
    """Two scenes: both are drawn once in half of the draws, and one of them twice in a quarter each."""
    pairs = pairs_of([("a", "1", 1.0, 0.5)] * 5 + [("a", "2", 1.0, 0.9)] * 5)
    change = Summary(pairs).change("focus", "plain", "absrel/global")
    assert change == {"mean": pytest.approx(-0.3), "low": pytest.approx(-0.5), "high": pytest.approx(-0.1)}


def test_the_interval_is_paired() -> None:
    """Scenes differ a lot, but the net is 10 % better in each."""
    errors = np.linspace(0.1, 2, 12)
    pairs = pairs_of([("a", str(i), e, 0.9 * e) for i, e in enumerate(errors)])
    change = Summary(pairs).change("focus", "plain", "absrel/global")
    assert list(change.values()) == pytest.approx([-0.1] * 3, abs=1e-4)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        scenes = rng.normal(0, 0.05, 30)
        rows = [("a", str(i), 1.0, 0.8 + scene + rng.normal(0, 0.05)) for i, scene in enumerate(scenes) for _ in "ab"]
        change = Summary(pairs_of(rows)).change("focus", "plain", "absrel/global")
        hits += change["low"] < -0.2 < change["high"]
    assert hits >= 51  # 57 expected


def test_sources_are_drawn_independently() -> None:
    """Where one goes up with the scene and the other down, scenes drawn together would cancel out."""
    up = [("a", f"{i:02d}", 1.0, 0.5 + 0.05 * i) for i in range(20)]
    widths = []
    for order in (range(20), range(19, -1, -1)):
        rows = up + [("b", f"{i:02d}", 1.0, 0.5 + 0.05 * k) for i, k in zip(range(20), order)]
        change = Summary(pairs_of(rows)).change("focus", "plain", "absrel/global")
        widths.append(change["high"] - change["low"])
    assert widths[0] == pytest.approx(widths[1], rel=0.2)


def test_a_metric_without_meaning_is_left_out() -> None:
    pairs = pairs_of([("a", "1", 0.2, np.nan), ("a", "1", 0.4, 0.2), ("b", "1", np.nan, np.nan)])
    whole = Summary(pairs).as_json("focus", "plain")
    assert whole["plain"]["absrel/band"] == pytest.approx(0.3)
    assert whole["change"]["absrel/band"]["mean"] == pytest.approx(-0.5)  # of the pair that both have
    only_b = Summary(pairs.where(pairs["dataset"] == "b")).as_json("focus", "plain")
    assert only_b["plain"]["absrel/band"] is None and only_b["change"]["absrel/band"]["mean"] is None
    assert change_text(only_b["change"]["absrel/band"], "absrel/band") == "-"


def test_a_source_has_a_boundary_f1_if_its_truth_is_mostly_dense() -> None:
    rows = [("a", "1", 0.5, 0.5)] * 3
    for share, known in ((0, False), (1 / 3, False), (2 / 3, True)):
        table = pairs_of(rows).table.drop(["is_dense"])
        pairs = Pairs(table.append_column("is_dense", [[i < 3 * share for i in range(3)]]))
        assert np.isfinite(pairs.metric("focus", "boundary_f1/band")).all() == known
        assert np.isfinite(pairs.metric("focus", "depth_order/band")).all()


def test_the_table_says_which_way_it_goes() -> None:
    pairs = pairs_of([("a", "1", 0.4, 0.3), ("a", "2", 0.4, 0.3)])
    text = tables(results(pairs, "focus", "plain"), "focus", "plain")
    assert "| all (2) | foreground | 0.4000 | 0.3000 | -25.0 % (-25.0 to -25.0) |" in text
    assert "| delta_1 ↑, whole image | 0.4000 | 0.3000 | -0.1000 (-0.1000 to -0.1000) |" in text


ROWS = [("a", "1", 0.5, 0.4), ("a", "2", 0.5, 0.3), ("b", "1", 0.5, 0.2)]


def written(path: Path, pairs: Pairs) -> Path:
    about = dict.fromkeys(command.ABOUT, "?")
    path.write_text(json.dumps(about | results(pairs, "focus", "plain")))
    pairs.write(pairs_path(path))
    return path


def test_b_is_compared_with_a_pair_by_pair(tmp_path: Path, capsys) -> None:
    a = written(tmp_path / "a.json", pairs_of(ROWS))
    better = pairs_of([(d, g, plain, focus / 2) for d, g, plain, focus in ROWS])
    b = written(tmp_path / "b.json", Pairs(better.table.take([2, 0, 1])))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([str(a), str(b), "--out", str(tmp_path / "c.json")])) == 0
    result = json.loads((tmp_path / "c.json").read_text())
    assert result["targets"]["all"]["change"]["absrel/foreground"] == {"mean": -0.5, "low": -0.5, "high": -0.5}
    assert result["targets"]["all"]["A"]["absrel/foreground"] == pytest.approx((0.35 + 0.2) / 2)
    assert "| all (3) | foreground | 0.2750 | 0.1375 | -50.0 %" in capsys.readouterr().out


def test_other_pairs_are_refused_and_named() -> None:
    rows = pairs_of(ROWS)
    with pytest.raises(ComparisonError, match="A has 3 pairs, B 2: 1 pairs only in A, such as b/2"):
        joined(rows, rows.where(np.array([True, True, False])))
    with pytest.raises(ComparisonError, match="only in B, such as c/3"):
        joined(rows, pairs_of([*ROWS, ("c", "1", 1.0, 1.0)]))
    with pytest.raises(ComparisonError, match="a/1 belongs to another scene"):
        joined(rows, pairs_of([ROWS[0], ("a", "9", 0.5, 0.3), ROWS[2]]))


def test_missing_files_are_named(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.json", pairs_of(ROWS))
    lonely = tmp_path / "b.json"
    with pytest.raises(ComparisonError, match="b.json is no result"):
        compare(whole, lonely)
    lonely.write_text(whole.read_text())
    with pytest.raises(ComparisonError, match=r"b\.pairs\.parquet cannot be read.*evaluate with --out"):
        compare(whole, lonely)
    pairs_path(lonely).write_text("no parquet")
    with pytest.raises(ComparisonError, match=r"b\.pairs\.parquet"):
        compare(whole, lonely)
