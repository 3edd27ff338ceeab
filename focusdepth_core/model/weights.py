"""Weights: fetched from a folder or the Hugging Face hub, and copied by the names that their publisher gave them.

Only safetensors are read; pickles (.bin, .pth) never.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LISTED = 10  # names of one kind in an error


def fetch(source: str | Path, names: Sequence[str] = (CONFIG, WEIGHTS)) -> Path:
    """The folder with the named files: ``source`` itself, or the cached copy of that repository on the hub.

    Raises ``OSError`` that says what to do if one of them cannot be had.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return [_download(str(source), name) for name in names][0].parent
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} has no {' and no '.join(missing)}; {_instead(missing)}")
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """Raises ``ValueError`` if the file holds no JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); get it again") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {values!r:.40} and no object; get it again")
    return values


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Raises ``ValueError`` for a file that is truncated or something else."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and get it again") from None


def load_strict(
    module: nn.Module, state: Mapping[str, torch.Tensor], source: str, prefix: str = "", dropped: tuple[str, ...] = ()
) -> None:
    """Copy tensors into a module by their published names: ``prefix`` and the module's own name, or, in a net of
    transformers, the name under which that library publishes it.

    ``dropped``: what the published names of parts begin with that the module does without. Raises ``ValueError`` that
    lists what is missing, extra or of another shape, before anything is copied; ``source`` names their file in it.
    """
    target = module.state_dict()
    expected = {prefix + published: target[own] for published, own in _published_names(module).items()}
    given = {name: tensor for name, tensor in state.items() if not name.startswith(dropped)}
    _check(given, expected, source)
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(given[name])


def _download(repository: str, name: str) -> Path:
    try:
        return Path(hf_hub_download(repository, name))
    except HFValidationError:
        problem = "is neither a folder nor the id of a repository on the Hugging Face hub (owner/name)"
    except GatedRepoError:
        page = f"https://huggingface.co/{repository}"
        problem = f"is gated: accept its licence at {page}, then log in with `hf auth login`"
    except RepositoryNotFoundError:
        problem = (
            "is neither a folder nor a repository on the Hugging Face hub that you may see: check the name, or log in "
            "with `hf auth login` if it is private"
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        problem = (
            f"is no folder, its {name} is not in the cache, and the Hugging Face hub does not answer "
            f"({_cause(error)}): check the network and HF_HUB_OFFLINE, or download it elsewhere and give its folder"
        )
    except EntryNotFoundError:
        problem = f"has no {name} on the Hugging Face hub; {_instead([name])}"
    except (HTTPError, OSError) as error:
        problem = f"has a {name} that could not be downloaded ({_cause(error)}); try again"
    raise FileNotFoundError(f"{repository} {problem}")


def _cause(error: Exception) -> str:
    return str(error.__cause__ or error).partition("\n")[0]


def _instead(missing: Sequence[str]) -> str:
    if any(name.endswith(".safetensors") for name in missing):
        return "pickled .bin and .pth files are never read, so convert them to safetensors"
    return "it is not a model of this kind"


def _published_names(module: nn.Module) -> dict[str, str]:
    """Published name -> the module's: transformers renames tensors between its files and its nets."""
    own = {name: tensor.to("meta") for name, tensor in module.state_dict().items()}
    if not isinstance(module, PreTrainedModel):
        return {name: name for name in own}
    names = {id(tensor): name for name, tensor in own.items()}
    return {published: names[id(tensor)] for published, tensor in revert_weight_conversion(module, own).items()}


def _check(given: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], source: str) -> None:
    shapes = {name: (tuple(given[name].shape), tuple(expected[name].shape)) for name in given.keys() & expected.keys()}
    faults = {
        "missing": expected.keys() - given.keys(),
        "extra": given.keys() - expected.keys(),
        "of another shape": {
            f"{name} {theirs} instead of {ours}" for name, (theirs, ours) in shapes.items() if theirs != ours
        },
    }
    lists = [f"{len(names)} {kind}: {_some(sorted(names))}" for kind, names in faults.items() if names]
    if lists:
        raise ValueError(f"{source} does not fit this net. {'; '.join(lists)}")


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return ", ".join([*names[:LISTED], *more])
