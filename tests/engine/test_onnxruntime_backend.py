from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.open import open_engine
from tests.tiny_model import HEIGHT, WIDTH, BoxEngine, write_model_folder

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("tiny"))


def image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 3, HEIGHT, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("targets", [1, 3])
def test_equals_the_same_network_in_numpy(folder: Path, targets: int) -> None:
    boxes = np.random.default_rng(1).uniform(0.2, 0.8, (targets, 4)).astype(np.float32)
    inputs = {"image": image(), "boxes": boxes}
    outputs = open_engine(folder / "focus.onnx", threads=1).run(inputs)
    expected = BoxEngine().run(inputs)
    assert outputs.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(outputs[name], expected[name], atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, r"plain.onnx takes \['image'\], but was given \[\]"),
        ({"picture": image()}, r"takes \['image'\], but was given \['picture'\]"),
        ({"image": image()[:, :, 1:]}, r"'image' of plain.onnx is float32 \[1, 3, 42, 56\].*\[1, 3, 41, 56\]"),
        ({"image": image()[0]}, r"given float32 \[3, 42, 56\]"),
        ({"image": image().astype(np.float64)}, r"given float64 \[1, 3, 42, 56\]"),
    ],
)
def test_wrong_inputs_say_what_is_taken(folder: Path, inputs: dict[str, np.ndarray], sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence):
        open_engine(folder / "plain.onnx", threads=1).run(inputs)


@pytest.mark.parametrize("content", [b"", b"not a network", None])
def test_file_that_is_no_network_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "focus.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match="focus.onnx cannot be loaded") as caught:
        open_engine(path)
    assert "\n" not in str(caught.value)


def test_cut_off_network_is_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes((folder / "focus.onnx").read_bytes()[:-40])
    with pytest.raises(EngineError, match="cut.onnx cannot be loaded"):
        open_engine(path)


def test_unknown_backend_lists_the_known(folder: Path) -> None:
    with pytest.raises(ValueError, match="backend 'tensorflow' is unknown; known: auto, tensorrt, onnxruntime"):
        open_engine(folder / "plain.onnx", "tensorflow")


def test_negative_threads_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="threads = -1"):
        open_engine(folder / "plain.onnx", threads=-1)
