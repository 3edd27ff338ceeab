"""A text that fits nothing in the frame, and masks that come from an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from focusdepth_core.engine.base import Texts
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.network_inputs import network_inputs
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target
from tests.perception.test_pipeline import model
from tests.tiny_model import HEIGHT, WIDTH, WordEngine

EVERYWHERE = np.array([[0.5, 0.5, 0.6, 0.6]], np.float32)
BOX = (20.0, 20.0, 60.0, 50.0)
FRAME = Frame(np.full((84, 112, 3), 90, np.uint8))
SURE, UNSURE = 0.7, 0.4


class Told(Texts):
    """Every text is the middle of the image."""

    def features(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        return EVERYWHERE, np.ones(1, np.float32)

    def nothing(self) -> tuple[np.ndarray, np.ndarray]:
        return 0 * EVERYWHERE, np.zeros(1, np.float32)


class JudgingEngine(WordEngine):
    """Is sure of the first target and not of the others."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = super().run(inputs)
        if "boxes" in inputs:
            presence = np.full(len(inputs["boxes"]), UNSURE, np.float32)
            presence[0] = SURE
            outputs["presence"] = presence
        return outputs


def test_a_text_that_fits_nothing_is_not_found_and_a_box_is_always_believed() -> None:
    judging = replace(model(), prompts=("box", "text"), presence_threshold=0.55)
    pipeline = Pipeline(judging, JudgingEngine(), JudgingEngine(), Told())
    targets = [
        Target("there", text="mug"),
        Target("missing", text="cup"),
        Target("box", BOX),
        Target("both", BOX, "cup"),
    ]
    results = pipeline.process(FRAME, targets).targets
    assert [result.found for result in results] == [True, False, True, True]
    np.testing.assert_allclose([result.presence for result in results], [SURE, UNSURE, UNSURE, UNSURE], rtol=1e-6)
    assert results[1].confidence == 0 and np.isnan(results[1].raw_quantiles).all()


def test_a_model_that_does_not_judge_has_no_presence() -> None:
    pipeline = Pipeline(replace(model(), prompts=("box", "text")), WordEngine(), WordEngine(), Told())
    (result,) = pipeline.process(FRAME, [Target("there", text="mug")]).targets
    assert result.found and result.presence is None


def test_masks_of_an_earlier_frame_reach_the_targets_that_have_one() -> None:
    tracking = replace(model(), prompts=("box", "mask"), mask_grid=(12, 16))
    earlier = np.random.default_rng(0).random((12, 16), np.float32)
    letterbox = Letterbox(FRAME.width, FRAME.height, tracking.input)
    assert (letterbox.spec.width, letterbox.spec.height) == (WIDTH, HEIGHT)
    targets = [Target("new", BOX), Target("tracked", BOX)]
    inputs = network_inputs(tracking, FRAME, letterbox, targets, None, {"tracked": earlier, "gone": earlier})
    np.testing.assert_array_equal(inputs["prior"], [np.zeros((12, 16)), earlier])
    assert "prior" not in network_inputs(model(), FRAME, letterbox, targets, None, {"tracked": earlier})
