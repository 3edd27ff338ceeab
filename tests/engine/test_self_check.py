"""What passes and what does not, in terms of depth; and the samples on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.engine import samples
from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.model_folder import ModelFolder, ModelFolderError
from focusdepth_core.engine.self_check import check
from focusdepth_core.engine.settings import Thresholds
from tests.engine.provable import write_provable
from tests.tiny_model import BoxEngine, config, write_model_folder

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return write_provable(tmp_path_factory.mktemp("model"))


class Wrong(BoxEngine):
    """The right depth and masks, changed."""

    def __init__(self, depth: Callable = lambda d: d, masks: Callable = lambda m: m) -> None:
        self._depth, self._masks = depth, masks

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = super().run(inputs)
        changed = {"depth": self._depth(outputs["depth"])}
        return changed | {name: self._masks(value) for name, value in outputs.items() if name == "mask_logits"}


def faults(model: ModelFolder, engine: BoxEngine, network: str = "focus") -> list[str]:
    assert model.samples is not None
    return check(model, engine, network, samples.read(model.samples), None).faults(model.engine.thresholds)


def noise(deviation: float) -> Callable:
    return lambda d: d + deviation * np.random.default_rng(0).normal(size=d.shape).astype(np.float32)


@pytest.mark.parametrize("network", ["focus", "plain"])
def test_the_same_network_passes_and_small_noise_does(model: ModelFolder, network: str) -> None:
    assert faults(model, BoxEngine(), network) == []
    assert faults(model, Wrong(noise(0.003)), network) == []


@pytest.mark.parametrize(
    ("depth", "found"),
    [
        (noise(0.1), {"deviation", "difference", "boundary_f1"}),
        (lambda d: 1.2 * d, {"deviation", "difference"}),  # aligned by itself it would be right: a jump in scale
        (lambda d: d + 0.3, {"deviation", "difference"}),
        (lambda d: -d, {"deviation", "difference", "absrel_change", "boundary_f1"}),
        (np.zeros_like, {"deviation", "difference", "absrel_change"}),
        (lambda d: np.full_like(d, np.nan), {"deviation", "difference", "absrel_change", "boundary_f1", "mask_iou"}),
    ],
)
def test_wrong_depth_does_not(model: ModelFolder, depth: Callable, found: set[str]) -> None:
    wrong = {fault.split()[0] for fault in faults(model, Wrong(depth))}
    assert found <= wrong


def test_depth_that_is_wrong_on_the_target_alone_does_not(model: ModelFolder) -> None:
    def bent(depth: np.ndarray) -> np.ndarray:
        depth = depth.copy()
        depth[:, 15:25, 10:20] *= 1.15
        return depth

    assert "difference_foreground" in {fault.split()[0] for fault in faults(model, Wrong(bent))}


def test_depth_that_is_wrong_for_some_numbers_of_targets_does_not(model: ModelFolder) -> None:
    class WrongForSeveral(BoxEngine):
        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            outputs = super().run(inputs)
            return {**outputs, "depth": noise(0.05)(outputs["depth"])} if len(inputs["boxes"]) > 1 else outputs

    wrong = {fault.split()[0] for fault in faults(model, WrongForSeveral())}
    assert "deviation" in wrong, "the worst scene counts, not the mean"


def test_wrong_masks_do_not(model: ModelFolder) -> None:
    assert [f.split()[0] for f in faults(model, Wrong(masks=lambda m: m - 3))] == ["mask_iou"]
    assert faults(model, Wrong(masks=lambda m: m - 3), "plain") == []


def test_a_fault_says_value_and_limit(model: ModelFolder) -> None:
    (fault,) = faults(model, Wrong(masks=lambda m: m * 0 - 1))
    assert fault == "mask_iou 0 is below 0.97"


def test_samples_come_back_as_they_were(model: ModelFolder, tmp_path: Path) -> None:
    assert model.samples is not None
    first = samples.read(model.samples)
    samples.write(tmp_path / "again.npz", first)
    for one, other in zip(first, samples.read(tmp_path / "again.npz")):
        assert one.targets == other.targets and one.stride == other.stride
        for name in ("depth_m", "mask", "focus", "plain", "mask_logits"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert [len(one.targets) for one in first] == [1, 3]


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_damaged_samples_are_named(model: ModelFolder, tmp_path: Path, content: bytes | None) -> None:
    assert model.samples is not None
    path = tmp_path / "self_check.npz"
    path.write_bytes(model.samples.read_bytes()[:-50] if content is None else content)
    with pytest.raises(EngineError, match="self_check.npz holds no samples .*export the model again"):
        samples.read(path)


def test_samples_that_are_damaged_anywhere_are_told_in_one_way(model: ModelFolder, tmp_path: Path) -> None:
    """Archives fail in many: zlib.error, NotImplementedError, ..."""
    assert model.samples is not None
    whole, path, found = model.samples.read_bytes(), tmp_path / "self_check.npz", 0
    for start in range(0, len(whole), 40):
        path.write_bytes(whole[:start] + b"\xa7" * 20 + whole[start + 20 :])
        try:
            samples.read(path)
        except EngineError:
            found += 1
    assert found > len(whole) / 80


def test_scenes_are_the_same_each_time_and_named_where_the_model_knows_them() -> None:
    pytest.importorskip("focusdepth_core.sim.render", reason="needs focusdepth_core[sim]")

    class Texts:
        def features(self, text: str) -> tuple[np.ndarray, np.ndarray]:
            if " " in text:
                raise ValueError("two words")
            return np.zeros((1, 1)), np.ones(1)

    first, (named, *_) = samples.scenes(56, 42), samples.scenes(56, 42, Texts())
    samples._rendered.cache_clear()
    for one, other in zip(first, samples.scenes(56, 42)):
        np.testing.assert_array_equal(one.frame.image, other.frame.image)
        np.testing.assert_array_equal(one.depth_m, other.depth_m)
    assert [len(one.targets) for one in first[:2]] == [1, 3] and len(first) == 6
    assert all(target.text is None for one in first for target in one.targets)
    assert all(one.mask.any() and one.depth_m.shape == (42, 56) for one in first)
    assert named.targets[0].text and " " not in named.targets[0].text


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ({"precision": "fp8"}, 'engine.precision = "fp8"; known: fp32, fp16, mixed, int8'),
        ({"max_targets": 0}, "engine.max_targets = 0; give a number from 1 on"),
        ({"max_targets": True}, "engine.max_targets = true"),
        ({"thresholds": {"mask_iou": 2}}, "engine.thresholds.mask_iou = 2; a limit lies between 0 and 1"),
        ({"thresholds": {"mask": 0.5}}, "engine.thresholds = .*; it may have deviation, difference"),
        ({"speed": "high"}, "engine = .*; it may have precision, max_targets, thresholds, inputs"),
        ({"inputs": {"focus": {"image": [1, "width"]}}}, "engine.inputs = .*; expected the shape"),
        ({"inputs": ["image"]}, "engine.inputs = .*; expected the shape"),
        ([], r"engine = \[\]"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, engine: object, sentence: str) -> None:
    write_model_folder(tmp_path, engine=engine)
    with pytest.raises(ModelFolderError, match=sentence):
        ModelFolder.read(tmp_path)


def test_settings_have_defaults_and_are_read(tmp_path: Path) -> None:
    assert "engine" not in config()
    write_model_folder(tmp_path)
    assert ModelFolder.read(tmp_path).engine.thresholds == Thresholds()
    changed = {**asdict(Thresholds()), "mask_iou": 0.5}
    write_model_folder(tmp_path, engine={"precision": "int8", "thresholds": changed})
    engine = ModelFolder.read(tmp_path).engine
    assert engine.precision == "int8" and engine.thresholds.mask_iou == 0.5
