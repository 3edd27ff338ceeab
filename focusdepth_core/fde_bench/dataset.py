"""The loader of training: endless samples of several manifests, each a pure function of seed and position.

So a stopped run goes on bit for bit, and any number of workers or machines sees what one would.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing.context import BaseContext

import cv2
import numpy as np
import pyarrow.compute as pc
import torch
from torch.utils.data import DataLoader, Dataset

from focusdepth_core.fde_bench.augment import ASKED, Augment, CanvasSpec, Named, Sample, sample
from focusdepth_core.fde_bench.image_texts import ImageTexts
from focusdepth_core.fde_bench.manifest import Manifest

BLOCK = 1000  # positions in which every manifest has exactly its share
TRIES = 10  # rows for one position; so many bad ones in a row are no accident


@dataclass(frozen=True)
class Batch:
    """``image`` B,3,h,w; ``prompt_image`` B,3,S,S or None; ``depth`` B,h,w metres, 0 = missing; ``mask`` B,h,w {0, 1}.

    ``box`` B,1,4 cxcywh in [0, 1] of the canvas; ``focal`` B, px of the canvas, 0 = unknown; all float32. ``text`` and
    ``ids``: B strings. ``failures``: why rows were replaced by others, one sentence each. ``asked``: B times Q texts,
    and ``wanted`` B,Q,h,w uint8 {0, 1}: where what each names is; none unless ``FocusDataset`` is told to ask.
    """

    image: torch.Tensor
    prompt_image: torch.Tensor | None
    depth: torch.Tensor
    mask: torch.Tensor
    box: torch.Tensor
    focal: torch.Tensor
    text: tuple[str, ...]
    ids: tuple[str, ...]
    failures: tuple[str, ...]
    asked: tuple[tuple[str, ...], ...] = ()
    wanted: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Called by ``DataLoader``."""
        return self._each(torch.Tensor.pin_memory)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items()})


def collate(samples: Sequence[tuple[Sample, tuple[str, ...]]]) -> Batch:
    """Of what ``FocusDataset`` gives."""
    of = [s for s, _ in samples]

    def stack(values: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(values))

    return Batch(
        image=stack([s.image for s in of]),
        prompt_image=None if of[0].prompt_image is None else stack([s.prompt_image for s in of]),
        depth=stack([s.depth for s in of]),
        mask=stack([s.mask for s in of]),
        box=stack([s.box for s in of]),
        focal=torch.tensor([s.focal for s in of], dtype=torch.float32),
        text=tuple(s.text for s in of),
        ids=tuple(s.id for s in of),
        failures=tuple(failure for _, failures in samples for failure in failures),
        asked=tuple(s.asked for s in of),
        wanted=None if of[0].wanted is None else stack([s.wanted for s in of]),
    )


class FocusDataset(Dataset):
    """Sample of any position from 0; it has no end. Each manifest is gone through in a new order again and again.

    ``manifests``: with their weights, the shares of samples; training rows of held-out categories are left out.
    A row whose files are bad is replaced by another of its manifest, and ``Batch.failures`` says so. ``asks``: fill
    ``Batch.asked`` and ``Batch.wanted``.

    Raises ``ValueError`` for a weight that is not positive, or a manifest without a usable row.
    """

    def __init__(
        self,
        manifests: Sequence[tuple[Manifest, float]],
        canvas: CanvasSpec,
        augment: Augment,
        seed: int,
        asks: bool = False,
    ) -> None:
        self.canvas, self.augment, self.seed, self.asks = canvas, augment, seed, asks
        self._manifests = [manifest for manifest, _ in manifests]
        self._texts = [ImageTexts(manifest) for manifest in self._manifests]
        self._usable = [_usable(manifest) for manifest in self._manifests]
        self._whose, self._rank, self._counts = _mix(np.array([weight for _, weight in manifests], float))

    def __getitem__(self, position: int) -> tuple[Sample, tuple[str, ...]]:
        """The sample, and the failures before it. Raises ``OSError`` if ten rows in a row are bad."""
        failures: list[str] = []
        for attempt in range(TRIES):
            k, index = self._place(position, attempt)
            row = replace(self._manifests[k].row(index), texts=self._texts[k].singling(index))
            try:
                rng = np.random.default_rng((self.seed, position, attempt))
                named = self._named(k, index, rng) if self.asks else None
                return sample(row, self.canvas, self.augment, rng, named), tuple(failures)
            except OSError as error:
                failures.append(f"{row.id}: {error}")
        raise OSError(f"{TRIES} rows in a row are bad, the last one {failures[-1]}")

    def _named(self, k: int, index: int, rng: np.random.Generator) -> Named:
        """Of the row's whole image. Raises ``OSError`` as ``Row.read_mask``."""
        texts = self._texts[k]
        rows = [self._manifests[k].row(i) for i in texts.rows(index)]
        labels = np.zeros((rows[0].height, rows[0].width), np.uint8)
        for label, row in enumerate(rows, 1):
            labels[row.read_mask()] = label
        absent = dict.fromkeys(texts.absent(index, rng) for _ in range(ASKED))
        return Named(labels, texts.named(index), [text for text in absent if text])

    def _place(self, position: int, attempt: int) -> tuple[int, int]:
        """Which manifest, and which of its rows."""
        block, at = divmod(position, BLOCK)
        k = int(self._whose[at])
        epoch, index = divmod(int(block * self._counts[k] + self._rank[at]), len(self._usable[k]))
        order = _order(self.seed, k, epoch, len(self._usable[k]))
        if attempt:
            index = np.random.default_rng((self.seed, position, attempt)).integers(len(order))
        return k, int(self._usable[k][order[index]])


def _usable(manifest: Manifest) -> np.ndarray:
    kept = pc.or_(pc.invert(manifest.table["held_out"]), pc.not_equal(manifest.table["split"], "train"))
    rows = np.flatnonzero(kept)
    if not len(rows):
        raise ValueError(f"{manifest.path} has training rows of held-out categories only")
    return rows


def _mix(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each position of a block its manifest and how many before it are of the same; and how many each one has."""
    if not (len(weights) and (weights > 0).all() and np.isfinite(weights).all()):
        raise ValueError(f"weights {weights.tolist()}; each manifest needs one above 0")
    counts = np.maximum(1, np.floor(BLOCK * weights / weights.sum()).astype(int))
    counts[counts.argmax()] += BLOCK - counts.sum()
    ranks = np.concatenate([np.arange(count) for count in counts])
    whose = np.repeat(np.arange(len(counts)), counts)
    spread = np.argsort((ranks + 0.5) / counts[whose], kind="stable")
    return whose[spread], ranks[spread], counts


@lru_cache(maxsize=16)
def _order(seed: int, manifest: int, epoch: int, rows: int) -> np.ndarray:
    return np.random.default_rng((seed, manifest, epoch)).permutation(rows)


def loader(dataset: FocusDataset, batch: int, positions: range, workers: int) -> DataLoader:
    """Batches of ``positions`` in their order; ``workers``: processes, 0 reads in this one."""
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=positions,
        num_workers=workers,
        collate_fn=collate,
        multiprocessing_context=_fresh_processes() if workers else None,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_one_thread,
    )


def _fresh_processes() -> BaseContext:
    """Not forks of this process: OpenCV hangs in those once it has used its threads here."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
