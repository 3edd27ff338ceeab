"""Recipes: those in config/train/, and those that cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

from focusdepth_core.fde_bench.augment import Augment
from focusdepth_core.model.focusdepth import FocusDepthConfig
from focusdepth_core.train import load_recipe, read_config
from focusdepth_core.training.checks import check, lineage
from focusdepth_core.training.data import first_sample
from focusdepth_core.training.recipe import Data, ManifestShare, PromptShares, Stage, TrainConfig
from tests.training.tiny import GEOMETRY, LITE, STAGES, config

RECIPES = sorted((Path(__file__).parents[2] / "config" / "train").glob("*.yaml"))
PRETRAINED = FocusDepthConfig(replace(GEOMETRY, weights="somewhere"), LITE)
FINDS, SEARCHES = Stage("finds", "prompt", 3, "first"), Stage("searches", "search", 2, "first")
VALID = config(Path("run"), Path("data"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_can_be(path):
    recipe = load_recipe(path)
    check(recipe)
    assert recipe.out == Path("runs") / path.stem
    assert recipe.focus and recipe.baseline, "a result needs something to be compared with"


def test_there_is_a_recipe_for_each_pair_of_branches():
    branches = {(r.model.geometry.kind, r.model.prompt.kind) for r in map(load_recipe, RECIPES)}
    assert branches >= {
        ("depth_anything_v2", "lite"),
        ("depth_anything_v2", "sam3"),
        ("depth_anything_3", "sam3"),
    }


def test_the_command_line_changes_single_fields_of_a_recipe():
    path = next(p for p in RECIPES if p.stem == "da2_small")
    changes = ["--out", "elsewhere", "--stages.1.lr", "0.5", "--model.mssa.grids", "pyramid", "--cache", "None"]
    got, recipe = read_config(["--config", str(path), *changes]), load_recipe(path)
    assert got.out == Path("elsewhere") and got.stages[1].lr == 0.5 and got.model.mssa.grids == "pyramid"
    assert got.model.prompt == recipe.model.prompt and got.stages[0] == recipe.stages[0]


def test_help_explains_the_recipes_fields(capsys):
    with pytest.raises(SystemExit):
        read_config(["--config", str(RECIPES[0]), "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--stages.0.learns" in text and "Optimiser steps." in text and "config/train/smoke_cpu.yaml" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("out: run\nbatsch: 3", "unknown field batsch"),
        ("out: run\nbatch: many", "batch = 'many'"),
        ("out: run\nmodel: {geometry: {kind: depth_anything_v2, height: 43}}", "height = 43 px is not a multiple"),
        ("out: run\nmodel: {prompt: {kind: sam4}}", "sam4"),
        ("batch: 3", "out"),
        ("out: [", "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load_recipe(path)
    assert str(path) in str(error.value)


def staged(*stages, **changes):
    return replace(VALID, stages=stages, **({"focus": None, "baseline": None} | changes))


FIRST, ONE, TWO, PLAIN = STAGES
IMPOSSIBLE = {
    "no data": (replace(VALID, data=Data()), "data.train is empty"),
    "learning from test": (
        replace(VALID, data=replace(VALID.data, train=(ManifestShare(Path("data"), "test"),))),
        "data.train.0.split = test; only train may be learned from",
    ),
    "choosing on test": (
        replace(VALID, data=replace(VALID.data, validation=(ManifestShare(Path("data"), "test"),))),
        "data.validation.0.split = test",
    ),
    "no stages": (staged(), "stages is empty"),
    "no steps": (staged(replace(FIRST, steps=0)), r"stages.0.steps = 0; it must be at least 1"),
    "no rate": (staged(replace(FIRST, lr=float("nan"))), "stages.0.lr = nan; it must be above 0"),
    "no prompts": (
        replace(VALID, prompts=PromptShares(0)),
        "prompts.box [+] text [+] both [+] mask [+].* = 0.*above 0",
    ),
    "negative weight": (replace(VALID, loss=replace(VALID.loss, band=-1)), "loss.band = -1; it must be at least 0"),
    "a name twice": (staged(FIRST, replace(FIRST, start="first")), "name = first"),
    "a name that is a path": (staged(replace(FIRST, name="../x")), "name = ../x"),
    "a later start": (staged(replace(ONE, start="stage2"), TWO), "start = stage2 is no earlier stage"),
    "pretrained without weights": (
        staged(replace(FIRST, start="pretrained")),
        "start = pretrained, but model.geometry.weights and pretrained are null",
    ),
    "stage 2 without stage 1": (
        staged(FIRST, replace(TWO, start="first")),
        "learns = decoder, but start = first holds no trained fusion; .*skip_mssa: true",
    ),
    "a smaller fusion": (staged(FIRST, replace(ONE, scale=0.5)), "scale = 0.5, but prompt branch and fusion"),
    "a cache of augmented images": (replace(VALID, cache=Path("cache")), r"stages.1 \(stage1\): augment, but cache"),
    "a focus that is no stage": (replace(VALID, focus="three"), "focus = three is no stage"),
    "a focus without a prompt": (replace(VALID, focus="plain"), "focus = plain learns geometry"),
    "a focus that only finds": (staged(FIRST, FINDS, focus="finds"), "focus = finds learns prompt; it must learn mssa"),
    "a focus that only finds texts": (
        staged(FIRST, SEARCHES, focus="searches"),
        "focus = searches learns search; it must learn mssa",
    ),
    "fewer steps for the baseline": (
        staged(FIRST, ONE, TWO, replace(PLAIN, steps=7), focus="stage2", baseline="plain"),
        "baseline = plain takes 7 steps from first, focus = stage2 takes 8",
    ),
    "another start for the baseline": (
        staged(
            replace(ONE, start="pretrained"),
            TWO,
            replace(PLAIN, start="scratch"),
            model=PRETRAINED,
            focus="stage2",
            baseline="plain",
        ),
        "baseline = plain starts from scratch, focus = stage2 from pretrained",
    ),
    "a baseline that is the start": (
        replace(VALID, baseline="first"),
        "baseline = first is where focus = stage2 starts",
    ),
    "a focus that is the start": (
        staged(FIRST, ONE, replace(PLAIN, start="stage1"), focus="stage1", baseline="plain"),
        "focus = stage1 is what baseline = plain starts from",
    ),
    "a stage that starts from itself": (
        replace(VALID, stages=(FIRST, ONE, replace(TWO, start="stage2"), PLAIN)),
        "start = stage2 is no earlier stage",
    ),
    "a negative seed": (replace(VALID, seed=-1), "seed = -1; it must be at least 0"),
    "a weight that is no number": (
        replace(VALID, loss=replace(VALID.loss, band=float("nan"))),
        "loss.band = nan; it must be at least 0",
    ),
    "export of one net": (replace(VALID, baseline=None, export=True), "export = true needs focus and baseline"),
}


@pytest.mark.parametrize(("recipe", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_recipes_are_refused(recipe, message):
    with pytest.raises(ValueError, match=message):
        check(recipe)


POSSIBLE = {
    "as it is": VALID,
    "pretrained": staged(replace(ONE, start="pretrained"), model=PRETRAINED),
    "a prompt branch that learns first": staged(
        FIRST,
        replace(FINDS, start="first"),
        replace(ONE, start="finds"),
        TWO,
        PLAIN,
        focus="stage2",
        baseline="plain",
    ),
    "a search that learns last": staged(
        FIRST, ONE, TWO, replace(SEARCHES, start="stage2"), PLAIN, focus="searches", baseline="plain"
    ),
    "stage 2 alone, asked for": staged(FIRST, replace(TWO, start="first", skip_mssa=True)),
    "a cache of plain images": replace(
        VALID, cache=Path("cache"), stages=tuple(replace(s, augment=Augment.none()) for s in STAGES)
    ),
}


@pytest.mark.parametrize("recipe", POSSIBLE.values(), ids=POSSIBLE)
def test_possible_recipes_are_not(recipe: TrainConfig):
    check(recipe)


def test_a_baseline_sees_the_samples_of_the_stages_it_is_compared_with():
    starts = {stage.name: first_sample(VALID, stage) for stage in STAGES}
    assert starts == {"first": 0, "stage1": 16, "stage2": 24, "plain": 16}
    after = replace(VALID, stages=(FIRST, FINDS, replace(ONE, start="finds"), TWO, PLAIN))
    assert first_sample(after, after.stages[2]) == 16, "what finds learned from is not counted"
    assert [s.name for s in lineage(STAGES, "stage2")] == ["first", "stage1", "stage2"]


def test_the_defaults_of_a_stage_are_the_papers_freeze():
    assert Stage("x", "mssa", 1).start == "pretrained"
