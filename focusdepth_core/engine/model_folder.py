"""A model on disk: ``config.json``, its ONNX files, and how an image becomes its input."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from focusdepth_core.perception.result import Space

SCHEMA = 1
PATCH = 14  # px, side of a DINOv2 patch: the input is a whole number of patches
PROMPTS = ("box",)  # what the running side can feed to a model

Triple = tuple[float, float, float]


class ModelFolderError(ValueError):
    """A model folder that cannot be used; one sentence with the file and the value."""


@dataclass(frozen=True)
class InputSpec:
    """The network's input: size in pixels, and per RGB channel the mean and deviation of values in [0, 1].

    Raises ``ModelFolderError`` for a side that is not a positive multiple of 14 or a deviation that is not positive.
    """

    width: int
    height: int
    mean: Triple
    std: Triple

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            side = getattr(self, name)
            if side <= 0 or side % PATCH:
                raise ModelFolderError(f"input.{name} = {side}; it must be a positive multiple of {PATCH}")
        if not all(math.isfinite(v) for v in self.mean):
            raise ModelFolderError(f"input.mean = {list(self.mean)}; it must be finite")
        if not all(math.isfinite(v) and v > 0 for v in self.std):
            raise ModelFolderError(f"input.std = {list(self.std)}; each value must be finite and above 0")


@dataclass(frozen=True)
class ModelFolder:
    """``focus``: ONNX file of the prompted network; ``plain``: of the network for frames without a target.

    Both have the same ``space``, but each its own scale and shift.
    """

    path: Path
    name: str
    license: str
    space: Space
    prompts: tuple[str, ...]
    input: InputSpec
    focus: Path
    plain: Path

    @classmethod
    def read(cls, path: Union[str, Path]) -> ModelFolder:
        """Raises ``ModelFolderError`` if the folder, a file in it or a value of ``config.json`` is missing or wrong."""
        folder = Path(path)
        if not folder.is_dir():
            raise ModelFolderError(f"model folder {folder} does not exist")
        config_path = folder / "config.json"
        if not config_path.is_file():
            raise ModelFolderError(f"model folder {folder} has no config.json")
        try:
            return cls._parse(folder, json.loads(config_path.read_text(encoding="utf-8")))
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors too
            raise ModelFolderError(f"{config_path}: {error}") from None

    @classmethod
    def _parse(cls, folder: Path, config: Any) -> ModelFolder:
        schema = _value(config, "schema", int)
        if schema != SCHEMA:
            raise ModelFolderError(f"schema = {schema}; this version reads schema {SCHEMA}")
        size = _value(config, "input", dict)
        files = _value(config, "files", dict)
        return cls(
            path=folder,
            name=_value(config, "name", str),
            license=_value(config, "license", str),
            space=_space(_value(config, "space", str)),
            prompts=_prompts(_value(config, "prompts", list)),
            input=InputSpec(
                _value(size, "width", int, "input."),
                _value(size, "height", int, "input."),
                _triple(size, "mean"),
                _triple(size, "std"),
            ),
            focus=_file(folder, files, "focus"),
            plain=_file(folder, files, "plain"),
        )


def default_model_dir() -> Path:
    """The model that is shipped with the package."""
    return Path(__file__).resolve().parent.parent / "weights" / "nano-sim"


def _value(config: Any, key: str, kind: type, prefix: str = "") -> Any:
    if not isinstance(config, dict):
        raise ModelFolderError(f"the file holds {json.dumps(config)[:40]}; expected a JSON object")
    if key not in config:
        raise ModelFolderError(f"{prefix}{key} is missing")
    value = config[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ModelFolderError(f"{prefix}{key} = {json.dumps(value)[:80]}; expected {kind.__name__}")
    return value


def _triple(config: Any, key: str) -> Triple:
    values = _value(config, key, list, "input.")
    if len(values) != 3 or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        raise ModelFolderError(f"input.{key} = {json.dumps(values)[:80]}; expected three numbers")
    return float(values[0]), float(values[1]), float(values[2])


def _space(name: str) -> Space:
    try:
        return Space(name)
    except ValueError:
        known = ", ".join(space.value for space in Space)
        raise ModelFolderError(f"space = '{name}' is unknown; known: {known}") from None


def _prompts(names: list[Any]) -> tuple[str, ...]:
    if not names or not all(name in PROMPTS for name in names):
        raise ModelFolderError(f"prompts = {json.dumps(names)[:80]}; this version feeds: {', '.join(PROMPTS)}")
    return tuple(names)


def _file(folder: Path, files: Any, key: str) -> Path:
    path = folder / _value(files, key, str, "files.")
    if not path.is_file():
        raise ModelFolderError(f"files.{key} names {path.name}, which is not in the folder")
    return path
