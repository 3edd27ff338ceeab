"""Features of the frozen branches, kept on disk so that each is computed once.

A file is named by what it was computed from (weights, image, prompt), so that nothing stale is ever read. With a
prompt branch that learns only the tokens of the geometry encoder are kept, else the prompt's maps for each target too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from focusdepth_core.fde_bench.dataset import Batch
from focusdepth_core.model.focusdepth import Features, FocusDepth
from focusdepth_core.model.mssa import Aligned
from focusdepth_core.training.data import rows_and_images
from focusdepth_core.training.prompts import build_prompt
from focusdepth_core.training.recipe import TrainConfig

READERS = 8  # threads
MARGIN = 1.05  # of the size that must be free: file headers, and a little for others

Kept = dict[str, torch.Tensor]


class FeatureCache:
    """Of one model with frozen encoder; ``dtype``: in which features are stored."""

    def __init__(self, folder: Path, model: FocusDepth, dtype: torch.dtype) -> None:
        self._model, self._dtype = model, dtype
        frozen = [*model.geometry.encoder.parameters(), *(model.prompt.parameters() if model.prompt.pretrained else ())]
        self._folder = folder / _fingerprint(frozen, f"{dtype} {model.config}")
        self._pool = ThreadPoolExecutor(READERS)

    @torch.no_grad()
    def features(self, batch: Batch, kinds: Sequence[str]) -> Features | list[torch.Tensor]:
        """Tokens, or all features if the prompt branch is frozen too: those that are missing are computed and kept."""
        keys = [_key(image) for image in batch.image.cpu()]
        tokens = self._get(keys, lambda: dict(_numbered("tokens", self._model.geometry.encode(batch.image))), batch)
        listed = [tokens[f"tokens.{i}"] for i in range(len(tokens))]
        if not self._model.prompt.pretrained:
            return listed
        prompts = zip(keys, batch.box.cpu(), batch.text, kinds)
        keys = [_key(box, f"{key} {kind} {text if kind != 'box' else ''}") for key, box, text, kind in prompts]
        maps = self._get(keys, lambda: self._maps(batch, kinds, listed), batch)
        count = len(self._model.mssa.grids)
        aligned = Aligned(*([maps[f"{name}.{i}"] for i in range(count)] for name in ("features", "probability")))
        return Features(listed, aligned, maps["mask_logits"])

    def _maps(self, batch: Batch, kinds: Sequence[str], tokens: list[torch.Tensor]) -> Kept:
        prompt = build_prompt(self._model.prompt, batch, kinds)
        found = self._model.features(batch.image, tokens, prompt, batch.prompt_image)
        maps = dict(_numbered("features", found.aligned.features))
        return maps | dict(_numbered("probability", found.aligned.probability)) | {"mask_logits": found.mask_logits}

    def _get(self, keys: list[str], compute: Callable[[], Kept], batch: Batch) -> Kept:
        """Stacked over the batch. One missing file has the whole batch computed, which costs little more than one."""
        found = list(self._pool.map(self._read, keys))
        if any(item is None for item in found):
            computed = {name: value.to(self._dtype).cpu() for name, value in compute().items()}
            items = [{name: value[i].contiguous() for name, value in computed.items()} for i in range(len(keys))]
            found = [old or self._write(key, new) for key, old, new in zip(keys, found, items)]
        return {k: torch.stack([item[k] for item in found]).to(batch.image) for k in found[0]}

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.safetensors"

    def _read(self, key: str) -> Kept | None:
        """None if it is missing or damaged."""
        try:
            return load_file(self._path(key))
        except (OSError, SafetensorError):
            return None

    def _write(self, key: str, item: Kept) -> Kept:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{key}.{os.getpid()}")
        try:
            save_file(item, part)
            part.replace(path)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written ({error}); is the disk full?") from None
        finally:
            part.unlink(missing_ok=True)
        return item


def check_room(config: TrainConfig, model: FocusDepth) -> str:
    """How large the cache can get, in words. Raises ``ValueError`` if its disk has not that much."""
    rows, images = rows_and_images(config.data.train)
    seen = config.batch * max(sum(s.steps for s in config.stages if s.learns != "geometry"), 1)
    per_image, per_target = bytes_each(model, torch.float32 if config.precision == "float32" else torch.bfloat16)
    kinds = sum(share > 0 for share in vars(config.prompts).values())
    needed = MARGIN * (min(images, seen) * per_image + min(rows * kinds, seen) * per_target)
    config.cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(config.cache).free + sum(f.stat().st_size for f in config.cache.rglob("*.safetensors"))
    words = (
        f"cache = {config.cache}: at most {needed / 1e9:.2f} GB ({per_image / 1e6:.2f} MB for each of {images} images, "
        f"{per_target / 1e6:.2f} MB for each of {rows} targets and {kinds} kinds of prompts); {free / 1e9:.1f} GB are "
        f"free there or hold it already"
    )
    if needed > free:
        raise ValueError(f"{words}; name a folder on another disk, or cache: null")
    return words


def bytes_each(model: FocusDepth, dtype: torch.dtype) -> tuple[int, int]:
    """Of one image and of one target."""
    size = torch.tensor([], dtype=dtype).element_size()
    rows, columns = model.grid
    image = 4 * rows * columns * model.geometry.token_channels * size
    if not model.prompt.pretrained:
        return image, 0
    cells = sum(r * c for r, c in model.mssa.grids)
    return image, size * (cells * (model.prompt.width + 1) + model.prompt.mask_grid[0] * model.prompt.mask_grid[1])


def _numbered(name: str, tensors: Iterable[torch.Tensor]) -> Iterable[tuple[str, torch.Tensor]]:
    return ((f"{name}.{i}", tensor) for i, tensor in enumerate(tensors))


def _key(tensor: torch.Tensor, more: str = "") -> str:
    return hashlib.blake2b(tensor.contiguous().numpy().tobytes() + more.encode(), digest_size=16).hexdigest()


def _fingerprint(parameters: Iterable[torch.Tensor], more: str) -> str:
    digest = hashlib.blake2b(more.encode(), digest_size=8)
    for parameter in parameters:
        digest.update(parameter.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
