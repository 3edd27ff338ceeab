from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from focusdepth_core.engine.model_folder import ModelFolder, ModelFolderError, Stages, default_model_dir
from focusdepth_core.engine.settings import FP16, FP32, MIXED
from focusdepth_core.perception.result import Space
from tests.tiny_model import config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("focus.onnx", "plain.onnx"):
        (tmp_path / name).touch()
    return tmp_path


def write(folder: Path, value: Any) -> None:
    (folder / "config.json").write_text(json.dumps(value))


def test_reads_every_value(folder: Path) -> None:
    write(folder, config(architecture={"for": "training only"}))
    model = ModelFolder.read(str(folder))
    assert (model.name, model.license, model.space, model.prompts) == (
        "tiny",
        "Apache-2.0",
        Space.AFFINE_DISPARITY,
        ("box",),
    )
    assert (model.input.width, model.input.height) == (56, 42)
    assert model.input.mean == (0.485, 0.456, 0.406)
    assert model.input.std == (0.229, 0.224, 0.225)
    assert (model.focus, model.plain) == (folder / "focus.onnx", folder / "plain.onnx")


STAGED = ("vision", "prompt", "geometry", "plain", "texts")
SQUARE = {"side": 112, "mean": [0.5] * 3, "std": [0.5] * 3}


def staged(folder: Path, **changes: Any) -> dict[str, Any]:
    for name in STAGED:
        (folder / name).touch()
    value = config(prompts=["box", "boxes", "text"], files={name: name for name in STAGED}, prompt_input=SQUARE)
    return {**value, **changes}


def test_reads_a_network_in_stages(folder: Path) -> None:
    write(folder, staged(folder))
    model = ModelFolder.read(folder)
    assert model.focus == Stages(folder / "vision", folder / "prompt", folder / "geometry")
    assert (model.plain, model.texts) == (folder / "plain", folder / "texts")
    assert model.prompts == ("box", "text"), "what the pipeline can feed"
    assert model.prompt_input is not None and model.prompt_input.side == 112


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"files": {name: name for name in STAGED if name != "prompt"}}, "files.prompt is missing"),
        ({"files": {name: name for name in STAGED if name != "texts"}}, "files.texts is missing"),
        (
            {"files": {"plain": "plain"}},
            "files.focus is missing, and so are files.vision, files.prompt, files.geom",
        ),
        ({"prompt_input": {**SQUARE, "side": 0}}, "prompt_input.side = 0; it must be above 0"),
        ({"prompt_input": {**SQUARE, "std": [1, 1, 0]}}, "prompt_input.std = .* above 0"),
        ({"prompt_input": {**SQUARE, "mean": [1]}}, r"prompt_input.mean = \[1\]; expected three numbers"),
        ({"prompts": ["text"]}, r'prompts = \["text"\]; this version feeds: box, and text and mask beside it'),
    ],
)
def test_wrong_values_of_a_network_in_stages(folder: Path, changes: dict[str, Any], sentence: str) -> None:
    write(folder, staged(folder, **changes))
    with pytest.raises(ModelFolderError, match=sentence):
        ModelFolder.read(folder)


def test_a_network_in_stages_needs_its_square_input(folder: Path) -> None:
    value = staged(folder)
    del value["prompt_input"]
    write(folder, value)
    with pytest.raises(ModelFolderError, match="prompt_input is missing"):
        ModelFolder.read(folder)


@pytest.mark.parametrize("network", ["focus", "plain"])
def test_the_shipped_model_has_what_engines_are_built_and_judged_by(network: str) -> None:
    model = ModelFolder.read(default_model_dir())
    assert model.samples is not None and network in model.engine.inputs
    for precision in (FP32, FP16, MIXED):
        assert all(path.is_file() for path in model.networks(network, precision).values())


def test_a_trained_folder_has_no_networks_yet(folder: Path) -> None:
    value = config()
    del value["files"]
    write(folder, value)
    assert ModelFolder.read(folder).focus is ModelFolder.read(folder).plain is None


@pytest.mark.parametrize("name", ["focus.onnx", "plain.onnx"])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    write(folder, config())
    (folder / name).unlink()
    with pytest.raises(ModelFolderError, match=f"names {name}, which is not in the folder"):
        ModelFolder.read(folder)


def test_missing_folder_and_config_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="nowhere does not exist"):
        ModelFolder.read(tmp_path / "nowhere")
    with pytest.raises(ModelFolderError, match=r"has no config\.json"):
        ModelFolder.read(tmp_path)


INPUT = config()["input"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schema": 2}, "schema = 2; this version reads schema 1"),
        ({"schema": True}, "schema = true; expected int"),
        ({"name": 7}, "name = 7; expected str"),
        ({"space": "disparity"}, "space = 'disparity' is unknown; known: affine_disparity, affine_depth, metric"),
        ({"prompts": ["box", "smell"]}, r'prompts = \["box", "smell"\]; this version feeds: box'),
        ({"prompts": []}, r"prompts = \[\]"),
        ({"input": {**INPUT, "width": 225}}, r"input.width = 225; it must be a positive multiple of 14"),
        ({"input": {**INPUT, "height": 0}}, r"input.height = 0; it must"),
        ({"input": {**INPUT, "height": "168"}}, 'input.height = "168"; expected int'),
        ({"input": {**INPUT, "mean": [0.5, 0.5]}}, r"input.mean = \[0.5, 0.5\]; expected three numbers"),
        ({"input": {**INPUT, "mean": [0.5, 0.5, float("nan")]}}, r"input.mean = .*nan\]; it must be finite"),
        ({"input": {**INPUT, "std": [0.2, 0.2, 0.0]}}, r"input.std = .* above 0"),
        ({"files": {"focus": "focus.onnx"}}, "files.plain is missing"),
        ({"files": ["focus.onnx"]}, "files = .*; expected dict"),
    ],
)
def test_wrong_value_is_in_the_message(folder: Path, changes: dict[str, Any], sentence: str) -> None:
    write(folder, config(**changes))
    with pytest.raises(ModelFolderError, match=sentence) as caught:
        ModelFolder.read(folder)
    assert str(folder / "config.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["schema", "name", "license", "space", "prompts", "input"])
def test_missing_key_is_named(folder: Path, key: str) -> None:
    value = config()
    del value[key]
    write(folder, value)
    with pytest.raises(ModelFolderError, match=f"{key} is missing"):
        ModelFolder.read(folder)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"{", "Expecting property name"), (b"[1, 2]", "expected a JSON object"), (b"\xff\xfe", "can't decode")],
)
def test_config_that_is_no_json_object(folder: Path, content: bytes, sentence: str) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ModelFolderError, match=sentence):
        ModelFolder.read(folder)
