"""A FocusDepth model as a folder, here or on the Hugging Face hub: ``config.json`` and ``model.safetensors``.

The same ``config.json`` serves the running side, once ``focusdepth_core.engine export`` has put ONNX files beside it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file
from torch import nn

from focusdepth_core.config import parse
from focusdepth_core.engine.model_folder import SCHEMA
from focusdepth_core.fde_bench.augment import MEAN, PROMPT_MEAN, PROMPT_STD, STD
from focusdepth_core.model import weights

if TYPE_CHECKING:
    from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig


def model_config(model: FocusDepth, name: str) -> dict[str, Any]:
    """What ``config.json`` says."""
    config = model.config
    size = {"width": config.geometry.width, "height": config.geometry.height}
    own_input = {"side": model.prompt.side, "mean": list(PROMPT_MEAN), "std": list(PROMPT_STD)}
    focal_px, takes = model.geometry.focal_px, model.prompt.takes
    return {
        "schema": SCHEMA,
        "name": name,
        "license": config.licence,
        "space": model.geometry.space.value,
        "prompts": sorted(takes),
        "input": size | {"mean": list(MEAN), "std": list(STD)},
        **({"prompt_input": own_input} if model.prompt.side else {}),
        **({} if focal_px is None else {"focal_px": focal_px}),
        **({"mask_grid": list(model.prompt.mask_grid)} if "mask" in takes else {}),
        **({"presence_threshold": float(model.prompt.threshold)} if model.prompt.judges_presence else {}),
        "architecture": asdict(config),
    }


def save(model: FocusDepth, folder: Path, name: str) -> None:
    """Each file is written whole or not at all, the weights before the config; other files in the folder stay.

    A pretrained prompt branch that names where its weights come from is not stored again: its licence may forbid it.
    """
    folder = folder.resolve()
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        state = {name: tensor.contiguous() for name, tensor in _stored(model).state_dict().items()}
        save_file(state, part / weights.WEIGHTS)
        (part / weights.CONFIG).write_text(json.dumps(model_config(model, name), indent=1) + "\n", encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for file in (weights.WEIGHTS, weights.CONFIG):
            (part / file).replace(folder / file)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_config(source: str | Path) -> FocusDepthConfig:
    """Of a folder or a hub id. Raises ``ValueError`` if it cannot be had or is not that of a FocusDepth model."""
    from focusdepth_core.model.focusdepth import FocusDepthConfig

    folder = weights.fetch(source, [weights.CONFIG])
    values = weights.read_json(folder / weights.CONFIG)
    if "architecture" not in values:
        raise ValueError(f"{folder / weights.CONFIG} has no 'architecture': {source} is not a FocusDepth model")
    return parse(FocusDepthConfig, values["architecture"], str(folder / weights.CONFIG))


def load_weights(model: FocusDepth, source: str | Path) -> None:
    """Raises ``ValueError`` for weights that cannot be had, are damaged or do not fit."""
    if _prompt_is_elsewhere(model):
        model.prompt.load_pretrained(model.config.prompt.weights)
    path = weights.fetch(source, [weights.WEIGHTS]) / weights.WEIGHTS
    weights.load_strict(_stored(model), weights.read_safetensors(path), str(path))


def push(model: FocusDepth, repo_id: str, name: str, private: bool) -> str:
    """Create the repository if needed and upload the folder; returns its address."""
    from tempfile import TemporaryDirectory

    from huggingface_hub import HfApi

    api = HfApi()
    repo = api.create_repo(repo_id, exist_ok=True, private=private)
    with TemporaryDirectory() as folder:
        save(model, Path(folder) / "model", name)
        api.upload_folder(repo_id=repo.repo_id, folder_path=Path(folder) / "model")
    return str(repo)


def _stored(model: FocusDepth) -> nn.ModuleDict:
    """The parts whose weights are in the folder, under the names that they have in the model."""
    parts = dict(model.named_children())
    if _prompt_is_elsewhere(model):
        del parts["prompt"]
    return nn.ModuleDict(parts)


def _prompt_is_elsewhere(model: FocusDepth) -> bool:
    return model.prompt.pretrained and model.config.prompt.weights is not None
