"""The evaluation with networks whose answers are known: brightness is disparity, and a box adds what it hides."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs focusdepth_core[bench]")

from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.fde_bench import evaluate as command
from focusdepth_core.fde_bench.evaluate import evaluate, pairs_path, result_of
from focusdepth_core.fde_bench.examples import chosen, examples
from focusdepth_core.fde_bench.judging import frames
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.fde_bench.pairs import METRICS, Pairs
from focusdepth_core.fde_bench.plots import write as write_plots
from focusdepth_core.fde_bench.prompts import box_iou, disturbed, target
from focusdepth_core.fde_bench.report import disturbances, results, tables
from focusdepth_core.perception.pipeline import Pipeline
from tests.fde_bench.tiny_bench import BOXES, HEIGHT, NEAR, WIDTH, write_manifests
from tests.tiny_model import BoxEngine, write_model_folder


class HidingEngine(BoxEngine):
    """Sees the background in the image, and in a box the target that stands there."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = super().run(inputs)
        rows, columns = (np.indices(outputs["depth"].shape[1:]) + 0.5) / [[[42]], [[56]]]
        for cx, cy, w, h in inputs.get("boxes", ()):
            inside = (abs(columns - cx) < w / 2) & (abs(rows - cy) < h / 2)
            outputs["depth"][:, inside] += SLOPE * NEAR
        return outputs


SLOPE = float(np.mean(1 / np.array([0.229, 0.224, 0.225])) * 100 / 255)  # of the network's value in the disparity


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    write_manifests(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = write_model_folder(tmp_path_factory.mktemp("model"))
    return Pipeline(ModelFolder.read(folder), HidingEngine(), HidingEngine())


@pytest.fixture(scope="module")
def pairs(bench: Path, pipeline: Pipeline) -> Pairs:
    opened = [Manifest.open(bench / f"{name}.parquet", "test") for name in ("one", "two", "pseudo")]
    return evaluate(pipeline, opened, robustness=True)


def test_the_prompt_shows_the_target_that_the_plain_net_cannot_see(pairs: Pairs) -> None:
    focus, plain = (pairs.metric(net, "absrel/foreground") for net in ("focus", "plain"))
    assert len(pairs) == 16
    assert focus.max() < 0.13 < 0.2 < plain.min()  # the other target stays hidden, and takes part in the alignment
    assert pairs["mask_iou"].min() > 0.9
    assert (pairs.metric("focus", "depth_order/band") > pairs.metric("plain", "depth_order/band")).all()


def test_disturbed_prompts_are_worse_the_more_they_are_off(pairs: Pairs) -> None:
    nets = ("focus", "box at IoU 0.9", "box at IoU 0.7", "box at IoU 0.5", "wrong target")
    errors = [pairs.metric(net, "absrel/foreground").mean() for net in nets]
    assert errors == sorted(errors)
    assert errors[3] < errors[4]


def test_jittered_boxes_have_the_overlap_and_stay_inside(bench: Path) -> None:
    manifest = Manifest.open(bench / "one.parquet")
    for row in manifest:
        asked = disturbed(row, [], "box")
        assert [round(box_iou(t.box, row.box), 4) for t in asked.values()] == [0.9, 0.7, 0.5]
        assert all(min(t.box) >= 0 and t.box[2] <= WIDTH and t.box[3] <= HEIGHT for t in asked.values())
        assert asked == disturbed(row, [], "box")
    edge = [(r, disturbed(r, [], "box")) for r in manifest]
    assert len({tuple(t.box for t in asked.values()) for _, asked in edge}) == len(manifest)


def test_prompts_by_mode(bench: Path) -> None:
    first, second = list(Manifest.open(bench / "two.parquet"))
    box = tuple(map(float, BOXES[0]))
    asked = {mode: target(first, mode) for mode in ("box", "text", "both")}
    assert {mode: (t.box, t.text) for mode, t in asked.items()} == {
        "box": (box, None),
        "text": (None, "mug"),
        "both": (box, "mug"),
    }
    assert target(first, "none") is None
    (wrong,) = disturbed(first, [first, second], "text").values()
    assert wrong.text == "spoon"
    assert disturbed(first, [first], "text") == {}


def test_the_wrong_target_is_the_one_that_overlaps_least(bench: Path) -> None:
    row = Manifest.open(bench / "two.parquet").row(0)
    x0, y0, x1, y1 = row.box
    others = [replace(row, id=str(d), box=(x0 + d, y0, x1 + d, y1)) for d in (4, 30, 10)]
    assert disturbed(row, others, "box")["wrong target"].id == "30"


def test_sources_count_the_same_and_pseudo_masks_apart(pairs: Pairs) -> None:
    result = results(pairs, "focus", "plain")
    assert {name: part["pairs"] for name, part in result["sources"].items()} == {
        "one": 12,
        "two": 2,
        "pseudo (pseudo masks)": 2,
    }
    everything = result["targets"]["all"]
    one, two = (result["sources"][name]["plain"]["absrel/global"] for name in ("one", "two"))
    assert one != two
    assert everything["pairs"] == 14 and everything["groups"] == 4
    assert everything["plain"]["absrel/global"] == pytest.approx((one + two) / 2, abs=1e-4)
    assert result["targets"]["held-out categories"]["pairs"] == 7


def test_a_limit_takes_whole_images_spread_evenly(bench: Path) -> None:
    manifest = Manifest.open(bench / "one.parquet")
    assert [list(span) for span in frames(manifest)] == [[2 * i, 2 * i + 1] for i in range(6)]
    assert [span.start for span in frames(manifest, 5)] == [0, 4, 10]
    assert len(frames(manifest, 100)) == 6


def test_without_a_prompt_the_answer_is_the_plain_one(bench: Path, pipeline: Pipeline) -> None:
    pairs = evaluate(pipeline, [Manifest.open(bench / "two.parquet")], mode="none", robustness=True)
    assert pairs.nets == ["plain", "focus"]
    for metric in METRICS:
        np.testing.assert_array_equal(pairs.metric("focus", metric), pairs.metric("plain", metric))
    assert np.isnan(pairs["mask_iou"].astype(float)).all()
    assert results(pairs, "focus", "plain")["targets"]["all"]["change"]["absrel/foreground"]["mean"] == 0


def test_a_net_that_answers_nan_is_counted_and_not_dropped(bench: Path, pipeline: Pipeline) -> None:
    class Broken(BoxEngine):
        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return super().run(inputs) | {"depth": np.full((1, 42, 56), np.nan, np.float32)}

    broken = Pipeline(pipeline.model, Broken(), BoxEngine())
    pairs = evaluate(broken, [Manifest.open(bench / "two.parquet")])
    whole = results(pairs, "focus", "plain")["targets"]["all"]
    assert (whole["focus"]["failed"], whole["plain"]["failed"]) == (2, 0)
    assert whole["focus"]["flying_pixels/band"] == 1
    assert math.isfinite(whole["focus"]["absrel/global"])


def test_disturbed_prompts_are_judged_on_the_pairs_that_have_them(pairs: Pairs) -> None:
    """Two of the three sources have one target an image, and one has masks of a model."""
    disturbed = disturbances(pairs, "plain")
    asked = np.isfinite(pairs.metric("wrong target", "absrel/global")) & pairs.is_true
    assert 0 < disturbed["wrong target"]["pairs"] == np.count_nonzero(asked)
    assert all(part["pairs"] <= np.count_nonzero(pairs.is_true) for part in disturbed.values())


def test_an_unreadable_image_is_left_out_by_name(bench: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    shutil.copytree(bench, tmp_path / "bench")
    opened = Manifest.open(tmp_path / "bench" / "one.parquet")
    image = tmp_path / "bench" / opened.row(0).image
    image.write_bytes(image.read_bytes()[:100])
    left_out: list[str] = []
    pairs = evaluate(pipeline, [opened], left_out=left_out)
    assert len(pairs) == len(opened) - 2
    (sentence,) = left_out
    assert image.name in sentence and "is damaged" in sentence


def test_the_same_manifest_twice_is_refused(bench: Path, pipeline: Pipeline) -> None:
    twice = [Manifest.open(bench / "two.parquet")] * 2
    with pytest.raises(ValueError, match="two_0/0"):
        evaluate(pipeline, twice)


def test_pictures(bench: Path, pipeline: Pipeline, pairs: Pairs, tmp_path: Path) -> None:
    opened = [Manifest.open(bench / f"{name}.parquet", "test") for name in ("one", "two", "pseudo")]
    shown = examples(pipeline, opened, pairs, "box")
    ratio = pairs.metric("focus", "absrel/foreground") / pairs.metric("plain", "absrel/foreground")
    assert [kind for kind, _ in chosen(pairs)] == ["best"] * 2 + ["median"] * 2 + ["worst"] * 2
    assert shown[0].row.id == pairs["id"][ratio.argmin()] and shown[-1].row.id == pairs["id"][ratio.argmax()]
    again = shown[0].focus[1]
    mask = shown[0].row.read_mask()
    assert again.error[mask].mean() == pytest.approx(shown[0].focus[0], rel=1e-4)
    write_plots(tmp_path, pairs, result_of(pipeline, pairs, {}), shown)
    for name in ("change", "pairs", "examples", "prompts"):
        assert cv2.imread(str(tmp_path / f"{name}.png")).std() > 5


def test_the_command_writes_json_and_pairs_and_prints_a_table(bench: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("onnxruntime", reason="needs focusdepth_core[cpu]")
    pytest.importorskip("onnx", reason="needs focusdepth_core[train]")
    model, out = write_model_folder(tmp_path / "model"), tmp_path / "new" / "result.json"
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([str(model), str(bench / "one.parquet"), "--out", str(out)])) == 0
    result = json.loads(out.read_text())
    assert result["model"] == "tiny" and result["split"] == "test" and result["prompt"] == "box"
    assert {"date", "commit", "machine", "versions"} <= result.keys()
    assert len(Pairs.read(pairs_path(out))) == result["targets"]["all"]["pairs"] == 12
    assert tables(result, "focus", "plain") in capsys.readouterr().out
