from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.engine.model_folder import InputSpec, ModelFolder, PromptInput
from focusdepth_core.engine.text_cache import TextCache, write
from focusdepth_core.perception.finder import Finder
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.keyframes import Keyframes
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.result import Space
from focusdepth_core.perception.target import Target
from tests.tiny_model import HEIGHT, WIDTH, BoxEngine, WordEngine, config, write_model_folder

TEXTS = {"left half": (0.25, 0.5, 0.5, 1.0), "top left": (0.25, 0.25, 0.5, 0.5), "nothing": (2.0, 2.0, 0.1, 0.1)}
MUG = Target("mug", text="top left")


def model() -> ModelFolder:
    size = config()["input"]
    spec = InputSpec(WIDTH, HEIGHT, tuple(size["mean"]), tuple(size["std"]))
    return ModelFolder(Path(), "tiny", "Apache-2.0", Space.AFFINE_DISPARITY, ("box",), spec, Path("f"), Path("p"))


@pytest.fixture
def finder(tmp_path: Path) -> Finder:
    features, mask = np.zeros((3, 2, 4), np.float32), np.array([[1, 0]] * 3)
    features[:, 0] = list(TEXTS.values())
    write(tmp_path / "texts.npz", list(TEXTS), features, mask)
    words = replace(model(), prompts=("box", "text"), prompt_input=PromptInput(28, (0.5,) * 3, (0.5,) * 3))
    return Finder(words, WordEngine(), TextCache(tmp_path / "texts.npz"))


def frame(n: int = 0, shift: int = 0) -> Frame:
    texture = np.random.default_rng(0).integers(0, 255, (84, 150, 3), np.uint8)
    return Frame(np.ascontiguousarray(texture[:, shift : shift + 112]), n / 10)


def extent(mask: np.ndarray) -> list[int]:
    rows, cols = np.nonzero(mask)
    return [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]


def test_masks_of_several_texts_in_one_look(finder: Finder) -> None:
    masks = finder.find(frame(), [Target("a", text="left half"), Target("b", text="nothing"), MUG])
    assert [mask.shape for mask in masks] == [(84, 112)] * 3
    np.testing.assert_allclose(extent(masks[0]), (0, 0, 56, 84), atol=2)
    np.testing.assert_allclose(extent(masks[2]), (0, 0, 56, 42), atol=2)
    assert not masks[1].any()


def test_a_thing_that_the_model_judges_absent_has_no_mask(finder: Finder) -> None:
    class Judging(WordEngine):
        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return super().run(inputs) | {"presence": np.array([0.9, 0.1], np.float32)}

    sure = Finder(replace(finder.model, presence_threshold=0.5), Judging(), finder._texts)
    there, absent = sure.find(frame(), [MUG, Target("b", text="left half")])
    assert there.any() and not absent.any()


def test_a_model_for_boxes_is_no_finder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model tiny takes box; a finder is asked by text"):
        Finder.open(write_model_folder(tmp_path))


def pipeline(finder: Finder, focus: BoxEngine, **changes: object) -> Pipeline:
    keyframes = Keyframes(finder, max_age=100, min_change=1, waits=True)
    return Pipeline(replace(model(), **changes), focus, BoxEngine(), None, keyframes)


def test_a_box_model_answers_for_a_text_that_the_finder_saw(finder: Finder) -> None:
    focus = BoxEngine()
    running = pipeline(finder, focus)
    for n, shift in enumerate((0, 2, 4)):
        (found,) = running.process(frame(n, shift), [MUG]).targets
        assert found.target.text == "top left" and found.found
        np.testing.assert_allclose(found.target.box, (0, 0, 56 - shift, 42), atol=2)
    assert "text" not in focus.inputs and "prior" not in focus.inputs


def test_targets_that_nobody_sees_are_not_found_and_keep_their_place(finder: Finder) -> None:
    focus = BoxEngine()
    box = Target("box", (60, 40, 100, 80))
    result = pipeline(finder, focus).process(frame(), [Target("no", text="nothing"), box, MUG])
    assert [target.target.id for target in result.targets] == ["no", "box", "mug"]
    assert [target.found for target in result.targets] == [False, True, True]
    assert len(focus.inputs["boxes"]) == 2
    assert np.isnan(result.targets[0].raw_quantiles).all()
    alone = BoxEngine()
    (lost,) = pipeline(finder, alone).process(frame(), [Target("no", text="nothing")]).targets
    assert not lost.found and not hasattr(alone, "inputs"), "the plain network answers"


def test_a_model_that_takes_masks_is_told_the_carried_one(finder: Finder) -> None:
    focus = BoxEngine()
    running = pipeline(finder, focus, mask_grid=(12, 16))
    running.process(frame(), [MUG, Target("box", (60, 40, 100, 80))])
    prior, unknown = focus.inputs["prior"]
    assert prior.shape == (12, 16) and not unknown.any()
    assert prior[:6, :8].mean() > 0.9 and prior[7:].max() == 0


def test_the_finder_says_which_texts_can_be_asked_for(finder: Finder) -> None:
    running = pipeline(finder, BoxEngine())
    running.check(MUG)
    with pytest.raises(ValueError, match="what 'blue cup' is"):
        running.check(Target("t", text="blue cup"))


def test_the_network_s_doubt_takes_the_mask_back_and_leaves_the_box(finder: Finder) -> None:
    class Elsewhere(BoxEngine):
        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            moved = {**inputs, "boxes": inputs["boxes"] + np.float32([0.4, 0.4, 0, 0])} if "boxes" in inputs else inputs
            return super().run(moved) | {}

    told: list[str] = []
    focus, plain = Elsewhere(), BoxEngine()
    keyframes = Keyframes(finder, max_age=100, min_change=1, waits=True, report=told.append)
    running = Pipeline(replace(model(), mask_grid=(12, 16)), focus, plain, None, keyframes)
    seen = []
    for n in range(2):
        result = running.process(frame(n), [MUG])
        seen.append(focus.inputs["prior"].any())
        assert result.targets[0].target.box is not None
    assert seen == [True, False]
    assert told == ["", "target 'mug' cannot be followed well: its box is a guess"]
