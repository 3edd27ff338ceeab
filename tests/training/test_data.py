"""Where samples come from, and who sees which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from focusdepth_core.fde_bench import manifest
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.model.prompt.lite import LitePrompt
from focusdepth_core.training.data import canvas_of, simulate, training_batches, validation_batches
from focusdepth_core.training.recipe import Data, ManifestShare, Simulation
from focusdepth_core.training.run import train
from tests.training.tiny import LITE, STAGES, config, write_data

BRANCH = LitePrompt(16, (3, 4), LITE)
FIRST, ONE, TWO, PLAIN = STAGES


def ids(batches):
    return [name for batch, _ in batches for name in batch.ids]


def test_processes_share_a_batch_and_a_stage_can_start_anywhere(data):
    settings = config(Path("run"), data)
    alone = ids(training_batches(settings, TWO, BRANCH, range(6)))
    shares = [ids(training_batches(settings, TWO, BRANCH, range(6), rank, 2)) for rank in (0, 1)]
    joined = [name for step in range(6) for share in shares for name in share[2 * step : 2 * step + 2]]
    assert joined == alone and len(alone) == 24
    assert ids(training_batches(settings, TWO, BRANCH, range(4, 6))) == alone[16:]


def test_the_baseline_sees_the_samples_of_both_stages(data):
    settings = config(Path("run"), data)
    both = [*training_batches(settings, ONE, BRANCH, range(2)), *training_batches(settings, TWO, BRANCH, range(6))]
    plain = list(training_batches(settings, PLAIN, BRANCH, range(8)))
    for (a, _), (b, _) in zip(both, plain):
        assert torch.equal(a.image, b.image) and torch.equal(a.depth, b.depth)


def test_worker_processes_give_the_same_samples_and_survive_a_parent_that_uses_threads(data):
    settings = config(Path("run"), data)
    here = list(training_batches(settings, ONE, BRANCH, range(2)))
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (999, 999))  # starts OpenCV's threads
    workers = replace(settings, data=replace(settings.data, workers=1))
    for (a, kinds), (b, other) in zip(here, training_batches(workers, ONE, BRANCH, range(2))):
        assert torch.equal(a.image, b.image) and a.ids == b.ids and kinds == other


def test_validation_looks_at_the_same_samples_every_time(data):
    settings = config(Path("run"), data)
    first, again = (list(validation_batches(settings, ONE, BRANCH)) for _ in range(2))
    assert len(ids(first)) == 4 and {name[0] for name in ids(first)} <= set("678"), "images of the val split"
    assert all(torch.equal(a.image, b.image) for (a, _), (b, _) in zip(first, again))
    shares = [ids(validation_batches(settings, ONE, BRANCH, rank, 2)) for rank in (0, 1)]
    assert sorted(shares[0] + shares[1]) == sorted(ids(first))


@pytest.mark.parametrize("split", ["train", "val"])
def test_held_out_categories_are_neither_learned_nor_used_to_choose(tmp_path, split):
    write_data(tmp_path)
    table = pq.ParquetFile(tmp_path / manifest.FILE).read()
    held_out = pa.array([category == "mug" for category in table["category"].to_pylist()])
    table = table.set_column(table.schema.get_field_index("held_out"), "held_out", held_out)
    manifest.write(tmp_path / manifest.FILE, table, {})
    settings = config(Path("run"), tmp_path)
    batches = training_batches if split == "train" else lambda *a: validation_batches(*a[:3])
    assert {name[-1] for name in ids(batches(settings, ONE, BRANCH, range(6)))} == {"1"}, "the spoons"
    nothing = table.set_column(table.schema.get_field_index("held_out"), "held_out", pa.array([True] * len(table)))
    manifest.write(tmp_path / manifest.FILE, nothing, {})
    with pytest.raises(ValueError, match=f"has no row of split '{split}' outside the held-out categories"):
        next(batches(settings, ONE, BRANCH, range(6)))


def test_a_smaller_stage_has_whole_patches_and_no_prompt_image(data):
    canvas = canvas_of(config(Path("run"), data), FIRST, BRANCH)
    assert (canvas.width, canvas.height, canvas.prompt_side) == (42, 28, 0)


def test_a_file_that_is_gone_is_named_and_replaced(tmp_path, capsys):
    write_data(tmp_path)
    (tmp_path / "3.png").unlink()
    stages = (replace(FIRST, steps=6),)
    train(config(tmp_path / "run", tmp_path, stages=stages, focus=None, baseline=None, every=6))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("replaced: ")]
    assert lines and all("3.png" in line for line in lines) and len(set(lines)) == len(lines)


def test_a_missing_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="fde_bench build"):
        train(config(tmp_path / "run", tmp_path / "nowhere"))


def test_what_is_to_be_simulated_is_rendered_once(tmp_path):
    pytest.importorskip("mujoco", reason="needs focusdepth_core[sim]")
    wanted = Simulation(train=1, folder=tmp_path / "sim")
    simulate(wanted, 1)
    rows = Manifest.open(wanted.folder, "train")
    assert 1 <= len(rows.table["image"].unique()) <= 16, "a whole scene"
    before = rows.path.stat().st_mtime_ns
    simulate(wanted, 1)
    assert rows.path.stat().st_mtime_ns == before
    share = ManifestShare(wanted.folder)
    settings = replace(config(tmp_path / "run", tmp_path), data=Data((share,), (share,), workers=0))
    batch, _ = next(training_batches(settings, ONE, BRANCH, range(1)))
    assert batch.mask.amax((1, 2)).min() == 1 and batch.focal.min() > 0
