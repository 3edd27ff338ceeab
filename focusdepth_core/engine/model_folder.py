"""A model on disk: ``config.json``, its networks, and how an image becomes their input."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from focusdepth_core.engine.settings import FP32, EngineSettings
from focusdepth_core.perception.result import Space

SCHEMA = 1
PATCH = 14  # px, side of a DINOv2 patch: the input is a whole number of patches
PROMPTS = ("box", "text", "mask")  # what the pipeline feeds; mask: of an earlier frame
LEARNING_PROMPTS = ("boxes",)  # a model may take more than that
STAGES = ("vision", "prompt", "geometry")
WEIGHTS = "networks.bin"  # of all ONNX files of a folder, beside them

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
        _check_statistics("input", self.mean, self.std)


@dataclass(frozen=True)
class PromptInput:
    """The square input that a prompt branch like SAM3 has beside the other one: it shows the same view, stretched.

    ``side`` in pixels; ``mean`` and ``std`` as in ``InputSpec``. Raises ``ModelFolderError`` for impossible values.
    """

    side: int
    mean: Triple
    std: Triple

    def __post_init__(self) -> None:
        if self.side <= 0:
            raise ModelFolderError(f"prompt_input.side = {self.side}; it must be above 0")
        _check_statistics("prompt_input", self.mean, self.std)


@dataclass(frozen=True)
class Stages:
    """ONNX files of a prompted network in three: its prompt branch looks at the image, then reads the prompts, then
    the geometry branch takes what it found."""

    vision: Path
    prompt: Path
    geometry: Path


@dataclass(frozen=True)
class ModelFolder:
    """``focus``: the prompted network, in one ONNX file or in stages; ``plain``: the network for frames without a
    target. Both are None in a folder that was trained and not exported; torch alone can run that.

    Both have the same ``space``, but each its own scale and shift. ``prompts``: what of a target the model takes, "box"
    and perhaps "text" and "mask"; ``texts``: the features of the texts that it knows. ``mask_grid``: rows and columns
    of a mask that it takes; ``presence_threshold``: of a model that judges whether what a text names is in the image,
    the probability from which it is. ``focal_px``: of a metric model whose output is metres at that focal length of its
    input and grows with it; None: it is metres at any. ``samples``: what engines are judged by.
    """

    path: Path
    name: str
    license: str
    space: Space
    prompts: tuple[str, ...]
    input: InputSpec
    focus: Optional[Union[Path, Stages]] = None
    plain: Optional[Path] = None
    texts: Optional[Path] = None
    prompt_input: Optional[PromptInput] = None
    focal_px: Optional[float] = None
    mask_grid: Optional[tuple[int, int]] = None
    presence_threshold: Optional[float] = None
    samples: Optional[Path] = None
    engine: EngineSettings = field(default_factory=EngineSettings)

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

    def networks(self, network: str, precision: str) -> dict[str, Path]:
        """The ONNX files of ``network``, focus or plain, by their name in ``files``; perhaps they do not exist."""
        focus = self.focus if network == "focus" else self.plain
        if isinstance(focus, Stages):
            return {stage: variant(getattr(focus, stage), precision) for stage in STAGES}
        return {} if focus is None else {network: variant(focus, precision)}

    @classmethod
    def _parse(cls, folder: Path, config: Any) -> ModelFolder:
        schema = _value(config, "schema", int)
        if schema != SCHEMA:
            raise ModelFolderError(f"schema = {schema}; this version reads schema {SCHEMA}")
        prompts = _prompts(_value(config, "prompts", list))
        return cls(
            path=folder,
            name=_value(config, "name", str),
            license=_value(config, "license", str),
            space=_space(_value(config, "space", str)),
            prompts=prompts,
            input=_input(_value(config, "input", dict)),
            prompt_input=_prompt_input(config),
            focal_px=_focal(config),
            engine=EngineSettings.parse(config.get("engine", {})),
            mask_grid=_mask_grid(config) if "mask" in prompts else None,
            presence_threshold=_threshold(config),
            **(_files(folder, config, "text" in prompts) if "files" in config else {}),
        )


def variant(network: Path, precision: str) -> Path:
    """The file with the same network in another precision; ``network`` is the one in FP32."""
    return network if precision == FP32 else network.with_suffix(f".{precision}.onnx")


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


def _check_statistics(name: str, mean: Triple, std: Triple) -> None:
    if not all(math.isfinite(v) for v in mean):
        raise ModelFolderError(f"{name}.mean = {list(mean)}; it must be finite")
    if not all(math.isfinite(v) and v > 0 for v in std):
        raise ModelFolderError(f"{name}.std = {list(std)}; each value must be finite and above 0")


def _input(config: Any) -> InputSpec:
    width, height = (_value(config, key, int, "input.") for key in ("width", "height"))
    return InputSpec(width, height, _triple(config, "mean", "input."), _triple(config, "std", "input."))


def _prompt_input(config: Any) -> Optional[PromptInput]:
    if "prompt_input" not in config:
        return None
    values, prefix = _value(config, "prompt_input", dict), "prompt_input."
    return PromptInput(
        _value(values, "side", int, prefix), _triple(values, "mean", prefix), _triple(values, "std", prefix)
    )


def _focal(config: Any) -> Optional[float]:
    if "focal_px" not in config:
        return None
    value = _value(config, "focal_px", float)
    if not (math.isfinite(value) and value > 0):
        raise ModelFolderError(f"focal_px = {value}; a focal length is finite and above 0")
    return float(value)


def _mask_grid(config: Any) -> tuple[int, int]:
    values = _value(config, "mask_grid", list)
    if len(values) != 2 or not all(type(v) is int and v > 0 for v in values):
        raise ModelFolderError(f"mask_grid = {json.dumps(values)[:80]}; expected rows and columns, above 0")
    return values[0], values[1]


def _threshold(config: Any) -> Optional[float]:
    if "presence_threshold" not in config:
        return None
    value = _value(config, "presence_threshold", float)
    if not 0 <= value <= 1:
        raise ModelFolderError(f"presence_threshold = {value}; a probability is from 0 to 1")
    return float(value)


def _triple(config: Any, key: str, prefix: str) -> Triple:
    values = _value(config, key, list, prefix)
    if len(values) != 3 or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        raise ModelFolderError(f"{prefix}{key} = {json.dumps(values)[:80]}; expected three numbers")
    return float(values[0]), float(values[1]), float(values[2])


def _space(name: str) -> Space:
    try:
        return Space(name)
    except ValueError:
        known = ", ".join(space.value for space in Space)
        raise ModelFolderError(f"space = '{name}' is unknown; known: {known}") from None


def _prompts(names: list[Any]) -> tuple[str, ...]:
    if "box" not in names or not all(name in (*PROMPTS, *LEARNING_PROMPTS) for name in names):
        raise ModelFolderError(
            f"prompts = {json.dumps(names)[:80]}; this version feeds: box, and text and mask beside it"
        )
    return tuple(name for name in PROMPTS if name in names)


def _files(folder: Path, config: Any, takes_text: bool) -> dict[str, Any]:
    """The fields of ``ModelFolder`` that are files."""
    files = _value(config, "files", dict)
    if "focus" in files:
        focus: Union[Path, Stages] = _file(folder, files, "focus")
    elif "vision" in files:
        focus = Stages(*(_file(folder, files, key) for key in STAGES))
        _value(config, "prompt_input", dict)
    else:
        raise ModelFolderError(f"files.focus is missing, and so are {', '.join(f'files.{key}' for key in STAGES)}")
    return {
        "focus": focus,
        "plain": _file(folder, files, "plain"),
        "texts": _file(folder, files, "texts") if takes_text else None,
        "samples": _file(folder, files, "samples") if "samples" in files else None,
    }


def _file(folder: Path, files: Any, key: str) -> Path:
    path = folder / _value(files, key, str, "files.")
    if not path.is_file():
        raise ModelFolderError(f"files.{key} names {path.name}, which is not in the folder")
    return path
