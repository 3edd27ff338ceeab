"""A FocusDepth model as a folder, here or on the Hugging Face hub: ``config.json`` and ``model.safetensors``.

The same ``config.json`` serves the running side, once ``focusdepth_core.engine export`` has put ONNX files beside it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from focusdepth_core.config import parse
from focusdepth_core.engine.model_folder import SCHEMA

if TYPE_CHECKING:
    from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which all Depth Anything models use


def model_config(model: FocusDepth, name: str) -> dict[str, Any]:
    """What ``config.json`` says."""
    config = model.config
    size = {"width": config.geometry.width, "height": config.geometry.height}
    return {
        "schema": SCHEMA,
        "name": name,
        "license": config.licence,
        "space": model.geometry.space.value,
        "prompts": sorted(model.prompt.takes),
        "input": size | {"mean": list(MEAN), "std": list(STD)},
        "architecture": asdict(config),
    }


def save(model: FocusDepth, folder: Path, name: str) -> None:
    """Write the folder whole or not at all; other files that are already in it stay.

    A pretrained prompt branch that names where its weights come from is not stored again: its licence may forbid it.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        save_file(_own_weights(model), part / WEIGHTS, metadata={"format": "pt"})
        (part / CONFIG).write_text(json.dumps(model_config(model, name), indent=1) + "\n", encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for file in (WEIGHTS, CONFIG):
            (part / file).replace(folder / file)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_config(source: str | Path) -> FocusDepthConfig:
    """Of a folder or a hub id. Raises ``OSError`` if it cannot be had, ``ValueError`` if it is not a FocusDepth model."""
    from focusdepth_core.model.focusdepth import FocusDepthConfig

    from focusdepth_core.model.weights import fetch

    path = fetch(source, [CONFIG]) / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict) or "architecture" not in values:
        raise ValueError(f"{path} has no 'architecture': it is not the folder of a FocusDepth model")
    return parse(FocusDepthConfig, values["architecture"], str(path))


def load_weights(model: FocusDepth, source: str | Path) -> None:
    """Raises ``OSError`` for a file that cannot be had, ``ValueError`` for one that is damaged or does not fit."""
    from focusdepth_core.model.weights import fetch, load_strict, read_safetensors

    if _elsewhere(model):
        model.prompt.load_pretrained(model.config.prompt.weights)
    path = fetch(source, [WEIGHTS]) / WEIGHTS
    kept = {k: v for k, v in model.prompt.state_dict(prefix="prompt.").items()} if _elsewhere(model) else {}
    load_strict(model, read_safetensors(path) | kept, str(path))


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


def _own_weights(model: FocusDepth) -> dict[str, torch.Tensor]:
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    return {k: v for k, v in state.items() if not (_elsewhere(model) and k.startswith("prompt."))}


def _elsewhere(model: FocusDepth) -> bool:
    return model.prompt.pretrained and model.config.prompt.weights is not None
