"""Scores, pictures, and what a run says about itself beforehand."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import nn

from focusdepth_core import train as command
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.perception.result import Space
from focusdepth_core.training.curves import picture
from focusdepth_core.training.data import validation_batches
from focusdepth_core.training.estimate import estimate
from focusdepth_core.training.recipe import PromptShares, Stage
from focusdepth_core.training.run import train
from focusdepth_core.training.validation import Shown, score, validate
from tests.training.tiny import GEOMETRY, STAGES, config

FIRST, ONE, TWO, PLAIN = STAGES
RAW_OF = {
    Space.AFFINE_DISPARITY: lambda batch: 3 / batch.depth.clamp(min=0.1) - 7,
    Space.AFFINE_DEPTH: lambda batch: 3 * batch.depth - 7,
    Space.METRIC: lambda batch: batch.depth * 300 / batch.focal[:, None, None],
}


class Oracle(nn.Module):
    """A geometry branch that knows the truth of the validation samples, and says it in ``space`` times ``error``."""

    def __init__(self, space, settings, error=1.0):
        super().__init__()
        self.space, self.error, self.encoder = space, error, nn.Identity()
        self.batches = validation_batches(settings, PLAIN, FocusDepth(settings.model).prompt)

    def forward(self, image):
        batch, _ = next(self.batches)
        assert torch.equal(image, batch.image)
        return self.error * RAW_OF[self.space](batch)


class Whole(nn.Module):
    """A mask head to which everything is the target."""

    def forward(self, features):
        return torch.full_like(features[:, :1], 20.0)


@pytest.mark.parametrize("space", list(RAW_OF))
def test_the_truth_in_the_nets_own_space_has_no_error(data, space):
    settings = config(Path("run"), data)
    model = FocusDepth(settings.model)
    model.geometry = Oracle(space, settings)
    errors, shown = validate(model, settings, PLAIN, Accelerator(cpu=True))
    assert max(errors.values()) < 1e-3 and len(shown) == 4
    assert score(errors, PLAIN) == errors["global"] and score(errors, TWO) == errors["foreground"]


def test_a_stage_that_learns_to_find_is_judged_by_its_masks(data):
    settings = config(Path("run"), data)
    model, stage = FocusDepth(settings.model), Stage("finds", "prompt", 1, "first")
    model.prompt.mask = Whole()
    errors, _ = validate(model, settings, stage, Accelerator(cpu=True))
    assert score(errors, stage) == errors["mask"]
    shares = [float(batch.mask.mean()) for batch, _ in validation_batches(settings, stage, model.prompt)]
    assert errors["mask"] == pytest.approx(1 - np.mean(shares), abs=0.03), "everything overlaps by its share"


def test_a_metric_net_is_judged_by_its_metres(data):
    settings = config(Path("run"), data)
    model = FocusDepth(settings.model)
    model.geometry = Oracle(Space.METRIC, settings, 1.1)
    errors, _ = validate(model, settings, PLAIN, Accelerator(cpu=True))
    assert errors["foreground"] == pytest.approx(0.1, abs=1e-3)


def test_validation_puts_the_model_back_into_training(data):
    settings = config(Path("run"), data)
    model = FocusDepth(settings.model)
    model.set_stage(1)
    model.train()
    validate(model, settings, ONE, Accelerator(cpu=True))
    assert model.mssa.training and not model.geometry.encoder.training


@pytest.mark.parametrize("space", list(Space))
def test_a_picture_shows_image_depths_and_masks(space):
    rng = np.random.default_rng(0)
    mask = np.zeros((42, 56), np.float32)
    mask[10:20, 10:20] = 1
    depth = np.linspace(0, 3, 42)[:, None] + 0 * mask
    shown = Shown(rng.normal(size=(3, 42, 56)), depth, mask * np.nan, mask, mask[:24, :32])
    drawn = picture(shown, space)
    assert drawn.shape == (42, 4 * 56, 3) and drawn.dtype == np.uint8
    assert drawn[0, 56:112].max() == 0, "no depth, no colour"
    assert picture(replace(shown, probability=None), space).shape == (42, 3 * 56, 3)


def test_the_plan_counts_what_learns_and_what_is_kept_for_the_backward_pass(data):
    settings = config(Path("run"), data)
    model = FocusDepth(settings.model)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    plans = {s.name: estimate(model, settings, s, Accelerator(cpu=True)) for s in STAGES}
    assert plans["stage1"].learning == sum(p.numel() for p in model.set_stage(1))
    assert plans["stage1"].total == sum(p.numel() for p in model.parameters()) > plans["stage2"].learning
    larger = estimate(model, replace(settings, batch=8), TWO, Accelerator(cpu=True))
    ratio = larger.activation_bytes / plans["stage2"].activation_bytes
    assert 1.8 < ratio < 2.1 and plans["stage2"].activation_bytes > 4 * 4 * 42 * 56
    assert all(plan.seconds > 0 for plan in plans.values())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_bfloat16_passes_train_float32_weights(data, tmp_path):
    settings = config(tmp_path / "half", data, stages=(FIRST,), focus=None, baseline=None, precision="bfloat16")
    train(settings)
    AcceleratorState._reset_state(True)
    train(replace(settings, out=tmp_path / "full", precision="float32"))
    half, full = (load_file(tmp_path / run / "stages/first/last.safetensors") for run in ("half", "full"))
    assert {v.dtype for v in half.values()} == {torch.float32}
    moments = [k for k in half if k.startswith("exp_avg.")]
    apart = sum((half[k] - full[k]).norm() for k in moments) / sum(full[k].norm() for k in moments)
    assert 0 < apart < 0.3


def test_sam3_learns_fusion_and_decoder_by_box_and_text_and_is_not_stored(data, tmp_path, sam3):
    model = FocusDepthConfig(GEOMETRY, sam3, auxiliary_mask=True)
    settings = config(tmp_path, data, model=model, prompts=PromptShares(1, 1, 1))
    train(replace(settings, stages=STAGES[:3], baseline=None))
    first, one, two = (load_file(tmp_path / f"stages/{s.name}/last.safetensors") for s in STAGES[:3])
    assert not any(name.startswith("model.prompt.") for name in two)
    auxiliary = [name for name in two if name.startswith("model.auxiliary")]
    assert auxiliary and all(torch.equal(first[k], one[k]) and not torch.equal(one[k], two[k]) for k in auxiliary)
    assert not any(name.startswith("exp_avg.prompt.") for name in one)
    FocusDepth.from_pretrained(tmp_path / "focus")


def test_a_prompt_that_the_branch_does_not_take_is_refused_before_training(data, tmp_path):
    with pytest.raises(ValueError, match="prompts.text = 0.5: the prompt branch 'lite' takes box"):
        train(config(tmp_path, data, prompts=PromptShares(0.5, 0.5)))
    assert not (tmp_path / "stages").exists()


@pytest.mark.parametrize("argument", ["--batch 3", "--config missing.yaml"])
def test_the_command_says_what_is_wrong_in_one_line(argument, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "--out", "run", *argument.split()])
    with pytest.raises(SystemExit) as error:
        command.main()
    assert str(error.value).startswith("error: ") and "\n" not in str(error.value)
