"""Whole runs of a tiny model, and how they go on after a stop."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import time
from dataclasses import replace
from unittest.mock import create_autospec

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch
from safetensors.torch import load_file

from focusdepth_core.engine import export as export_module
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.training import checkpoint
from focusdepth_core.training import stage as stage_module
from focusdepth_core.training.checkpoint import BEST, LAST
from focusdepth_core.training.recipe import PromptShares, Stage
from focusdepth_core.training.run import train
from tests.training.tiny import GEOMETRY, LITE, STAGES, config

# The loss does not depend on them (softmax and alignment ignore a shift), so AdamW follows their rounding errors.
NO_GRADIENT = ("k_proj.bias", "in_proj_bias", "head.conv3.bias")


LONGEST_S = 200.0  # for a child; one that waits for another that died would wait half an hour
# Not fork: a child of a process that has threads, as ROS and torch give the whole suite's, can stop for ever.
PROCESSES = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    settings = config(tmp_path_factory.mktemp("run"), data)
    train(settings)
    return settings


def tensors(out, stage, file=LAST):
    return load_file(out / "stages" / stage / file)


def weights(out, stage):
    return {k.removeprefix("model."): v for k, v in tensors(out, stage).items() if k.startswith("model.")}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert not [k for k in one if not torch.equal(one[k], other[k])]


def test_stages_move_what_they_may(run):
    first, one, two, plain = (weights(run.out, stage.name) for stage in STAGES)
    encoder = [k for k in first if k.startswith("geometry.net.backbone")]
    decoder = [k for k in first if k.startswith(("geometry.net.neck", "geometry.net.head"))]
    assert all(torch.equal(first[k], two[k]) for k in encoder)
    assert all(torch.equal(first[k], one[k]) for k in decoder)
    assert sum(not torch.equal(one[k], two[k]) for k in decoder) > len(decoder) / 2
    assert all(not torch.equal(first[k], one[k]) for k in first if "expert_out" in k)
    assert sum(not torch.equal(first[k], plain[k]) for k in encoder) > len(encoder) / 2


def test_the_model_folders_hold_the_best_weights(run):
    for folder, stage in (("focus", "stage2"), ("baseline", "plain")):
        loaded = FocusDepth.from_pretrained(run.out / folder).state_dict()
        best = tensors(run.out, stage, BEST)
        assert_equal({f"model.{k}": v for k, v in loaded.items()}, best)
    assert list((run.out / "curves" / "stage2").iterdir())


def test_finished_stages_are_not_trained_again(run):
    before = (run.out / "stages" / "stage2" / LAST).stat().st_mtime_ns
    train(run)
    assert (run.out / "stages" / "stage2" / LAST).stat().st_mtime_ns == before


def test_both_model_folders_are_given_to_the_export(run, monkeypatch):
    """The export itself takes half a minute and has tests of its own."""
    called = create_autospec(export_module.export)
    monkeypatch.setattr(export_module, "export", called)
    train(replace(run, export=True))
    (run.out / "model").mkdir()
    (run.out / "model" / "config.json").touch()  # as the export writes it
    train(replace(run, export=True))
    called.assert_called_once_with(run.out / "focus", run.out / "model", run.out / "baseline", run.out.name, texts=[])


def test_a_killed_run_ends_bit_for_bit_as_an_uninterrupted_one(run, data, tmp_path):
    settings = config(tmp_path, data)
    child = PROCESSES.Process(target=train, args=(settings,), daemon=True)
    child.start()
    halfway = tmp_path / "stages" / "stage2" / LAST
    while not halfway.exists():
        assert child.is_alive()
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert not (tmp_path / "focus").exists(), "it was to be killed before its end"
    train(settings)
    for stage in STAGES:
        for file in (LAST, BEST):
            assert_equal(tensors(tmp_path, stage.name, file), tensors(run.out, stage.name, file))


def test_a_stop_between_checkpoints_repeats_the_steps_since(run, data, tmp_path, monkeypatch):
    settings = config(tmp_path, data)
    advance = stage_module.StageRun._advance

    def stops(self, step, batches):
        if self.stage.name == "stage2" and step == 5:
            raise KeyboardInterrupt
        return advance(self, step, batches)

    with monkeypatch.context() as patch:
        patch.setattr(stage_module.StageRun, "_advance", stops)
        with pytest.raises(KeyboardInterrupt):
            train(settings)
    train(settings)
    for stage in STAGES:
        assert_equal(tensors(tmp_path, stage.name), tensors(run.out, stage.name))


def test_a_changed_recipe_is_refused_with_every_change(run):
    stages = (*STAGES[:2], replace(STAGES[2], lr=0.5), STAGES[3])
    message = r"batch was 4, is 8; stages\.2\.lr was 0\.0001, is 0\.5; give another --out"
    with pytest.raises(ValueError, match=message):
        train(replace(run, batch=8, stages=stages))


def test_what_does_not_change_the_result_may_change(run):
    train(replace(run, accumulate=2, threads=2))


def test_a_truncated_checkpoint_is_refused_by_name(run, data, tmp_path):
    settings = config(tmp_path, data, stages=STAGES[:1], focus=None, baseline=None)
    train(settings)
    last = tmp_path / "stages" / "first" / LAST
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=r"first/last\.safetensors is damaged .*; delete .*/first, and its stage starts again"
    ):
        train(settings)
    shutil.rmtree(last.parent)
    train(settings)
    assert_equal(tensors(tmp_path, "first"), tensors(run.out, "first"))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(data, tmp_path):
    first = replace(STAGES[0], lr=1e30)
    with pytest.raises(FloatingPointError) as error:
        train(config(tmp_path, data, stages=(first,), focus=None, baseline=None, every=1))
    text = str(error.value)
    assert "stage first, step 1: the depth loss is no number" in text and "last.safetensors holds step 1" in text
    assert "stages.0.lr = 1e+30" in text and "/0" in text
    assert all(torch.isfinite(v).all() for v in tensors(tmp_path, "first").values())


def test_accumulated_passes_equal_one(run, data, tmp_path):
    train(config(tmp_path, data, accumulate=2, stages=STAGES[:1], focus=None, baseline=None))
    one, split = weights(run.out, "first"), weights(tmp_path, "first")
    assert all(torch.allclose(one[k], split[k], atol=1e-5) for k in one)


def _process(rank, port, settings):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    train(settings)


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_two_processes_equal_one(run, data, tmp_path):
    settings, port = config(tmp_path, data), _free_port()
    both = [PROCESSES.Process(target=_process, args=(rank, port, settings), daemon=True) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(LONGEST_S)
    assert [process.exitcode for process in both] == [0, 0]
    for stage in STAGES:
        one, two = tensors(run.out, stage.name), tensors(tmp_path, stage.name)
        apart = {k: (one[k] - two[k]).abs().max().item() for k in one if not k.endswith(NO_GRADIENT)}
        assert max(apart.values()) < 1e-5, max(apart, key=apart.get)


def test_a_batch_that_does_not_divide_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="batch = 4 does not divide into 1 processes with accumulate = 3"):
        train(config(tmp_path, data, accumulate=3))
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_without_some_weights_is_refused(data, tmp_path):
    settings = config(tmp_path, data, stages=STAGES[:2], focus=None, baseline=None)
    train(replace(settings, stages=STAGES[:1]))
    last = tmp_path / "stages" / "first" / LAST
    weights, progress, moments = checkpoint.load(last)
    del weights["geometry.net.head.conv3.weight"]
    checkpoint.save(last, weights, progress, moments)
    (tmp_path / "recipe.json").unlink()
    with pytest.raises(ValueError, match="last.safetensors lacks geometry.net.head.conv3.weight and 0 more"):
        train(settings)


def test_a_branch_that_reads_words_and_masks_is_trained_by_all_and_says_what_is_absent(data, tmp_path):
    prompts = PromptShares(box=1, text=1, both=1, mask=1, box_mask=1, text_mask=1)
    finds = Stage("finds", "search", 3, "first", 1e-3)
    stages = (STAGES[0], finds, replace(STAGES[1], start="finds"), STAGES[2])
    lite = replace(LITE, text=8, words=("mug", "red", "spoon"), prior=True)
    settings = config(tmp_path / "run", data, model=FocusDepthConfig(GEOMETRY, lite), prompts=prompts, baseline=None)
    settings = replace(settings, stages=stages)
    with pytest.raises(ValueError, match="model.prompt.words lacks what 1 texts of the data need, first: .*mug"):
        words = replace(settings.model, prompt=replace(lite, words=("red", "spoon")))
        train(replace(settings, out=tmp_path / "other", model=words))
    train(settings)
    branch = FocusDepth.from_pretrained(settings.out / "focus").prompt
    mug, spoon = branch.encode_text(["mug", "red spoon"]).features
    assert not torch.equal(mug, spoon)
    folder = json.loads((settings.out / "focus" / "config.json").read_text())
    assert folder["presence_threshold"] == pytest.approx(float(branch.threshold)) != 0.5, "it was calibrated"
    assert folder["mask_grid"] == list(branch.mask_grid)


def test_a_run_may_start_from_the_depth_net_of_another(run, data, tmp_path):
    one, two = replace(STAGES[1], start="pretrained"), STAGES[2]
    settings = config(tmp_path, data, stages=(one, two), baseline=None, pretrained=run.out / "baseline")
    train(settings)
    given, got = (FocusDepth.from_pretrained(f).geometry.encoder for f in (run.out / "baseline", tmp_path / "focus"))
    assert all(torch.equal(a, b) for a, b in zip(given.state_dict().values(), got.state_dict().values()))
    other = replace(settings.model, geometry=replace(GEOMETRY, hidden=32))
    with pytest.raises(
        ValueError, match="pretrained = .* does not fit the recipe's model: these are weights of another depth net"
    ):
        train(replace(settings, out=tmp_path / "other", model=other))
