from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.staged import StagedEngine

Arrays = dict[str, np.ndarray]


class Stage:
    def __init__(self, name: str, answer: Callable[[Arrays], Arrays]) -> None:
        self.name, self._answer, self.runs = name, answer, 0

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        self.inputs, self.runs = dict(inputs), self.runs + 1
        return self._answer(self.inputs)


@pytest.fixture
def stages() -> list[Stage]:
    return [
        Stage("vision", lambda i: {"features_0": i["prompt_image"].mean((2, 3))}),
        Stage("prompt", lambda i: {"maps_0": i["boxes"] + i["features_0"][0, 0], "mask_logits": i["text"]}),
        Stage("geometry", lambda i: {"depth": i["image"][:, 0] + i["maps_0"].sum()}),
    ]


def inputs(targets: int) -> Arrays:
    shapes = {"boxes": (targets, 4), "has_box": (targets,), "text": (targets, 2, 3), "text_mask": (targets, 2)}
    arrays = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    return arrays | {"image": np.zeros((1, 3, 4, 5), np.float32), "prompt_image": np.full((1, 3, 8, 8), 2, np.float32)}


def test_the_image_is_looked_at_once_whatever_the_number_of_targets(stages: list[Stage]) -> None:
    engine = StagedEngine(*stages)
    outputs = engine.run(inputs(5))
    assert [stage.runs for stage in stages] == [1, 1, 1] and engine.name == "geometry"
    assert stages[0].inputs.keys() == {"prompt_image"}
    assert stages[1].inputs.keys() == {"features_0", "boxes", "has_box", "text", "text_mask"}
    assert stages[2].inputs.keys() == {"image", "boxes", "has_box", "text_mask", "maps_0"}
    np.testing.assert_array_equal(outputs["depth"], np.full((1, 4, 5), 5 * 4 * 3))
    assert outputs["mask_logits"].shape == (5, 2, 3)


def test_it_takes_frames_if_the_geometry_branch_does(stages: list[Stage]) -> None:
    assert not StagedEngine(*stages).takes_frames
    stages[2].takes_frames = True  # type: ignore[attr-defined]
    assert StagedEngine(*stages).takes_frames


@pytest.mark.parametrize("name", ["image", "prompt_image"])
def test_a_missing_image_is_named(stages: list[Stage], name: str) -> None:
    given = inputs(1)
    del given[name]
    with pytest.raises(EngineError, match="takes image and prompt_image, but was given"):
        StagedEngine(*stages).run(given)
