"""Asks a model for the pairs of manifests and compares its answers with the truth."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from focusdepth_core.fde_bench.alignment import Prediction, Truth
from focusdepth_core.fde_bench.manifest import Manifest, Row
from focusdepth_core.fde_bench.metrics import Region, edge_metrics, region_metrics
from focusdepth_core.fde_bench.pairs import record, values
from focusdepth_core.fde_bench.prompts import disturbed, target
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.result import Space

PLAIN, FOCUS = "plain", "focus"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LOOKAHEAD = 3  # frames that the network may be ahead of the metrics


@dataclass(frozen=True)
class Answer:
    """To one row.

    ``raw``: the depth of each net by its name, H,W in ``space``; ``mask``: of the target, H,W bool, None if unasked.
    """

    row: Row
    space: Space
    raw: Mapping[str, np.ndarray]
    mask: np.ndarray | None


class UnusableImageError(Exception):
    """An image that cannot be judged; one sentence that names it."""


def frames(manifest: Manifest, limit: int = 0) -> list[range]:
    """The rows of each image; with a limit, of images spread evenly that have about that many rows together."""
    images = manifest.table["image"].combine_chunks().indices.to_numpy()
    starts = np.flatnonzero(np.diff(images, prepend=-1))
    spans = [range(a, b) for a, b in zip(starts.tolist(), [*starts[1:].tolist(), len(images)])]
    if not 0 < limit < len(images):
        return spans
    wanted = -(-limit * len(spans) // len(images))
    return [spans[i] for i in np.linspace(0, len(spans) - 1, wanted).round().astype(int)]


def answers(pipeline: Pipeline, rows: Sequence[Row], mode: str, robustness: bool) -> list[Answer]:
    """To all targets of one image, each asked alone. ``mode``: see ``prompts.MODES``.

    Raises ``UnusableImageError``.
    """
    try:
        frame = Frame(rows[0].read_image(), intrinsics=rows[0].intrinsics)
    except OSError as error:
        raise UnusableImageError(f"{rows[0].id}: {error}") from None
    plain = pipeline.process(frame, [])
    if plain.space is not pipeline.model.space:
        raise UnusableImageError(f"{rows[0].id} has no K, without which a metric model gives no metres")
    found = []
    for row in rows:
        asked = {FOCUS: target(row, mode)} | (disturbed(row, rows, mode) if robustness else {})
        results = {name: pipeline.process(frame, [t]) if t else plain for name, t in asked.items()}
        raw = {PLAIN: plain.relative_depth} | {name: result.relative_depth for name, result in results.items()}
        targets = results[FOCUS].targets
        found.append(Answer(row, plain.space, raw, targets[0].mask if targets else None))
    return found


def judged(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Records of the answers for one image. Raises ``UnusableImageError``."""
    row, space = answers[0].row, answers[0].space
    try:
        truth, masks = Truth(row.read_depth()), [answer.row.read_mask() for answer in answers]
    except (OSError, ValueError) as error:  # ValueError: the truth is empty
        raise UnusableImageError(f"{row.id}: {error}") from None
    plain = Prediction(answers[0].raw[PLAIN], space, truth)
    records = []
    for answer, mask in zip(answers, masks):
        region = Region(mask, truth)
        nets = {n: plain if r is answer.raw[PLAIN] else Prediction(r, space, truth) for n, r in answer.raw.items()}
        metrics = {name: values(region_metrics(p, region), edge_metrics(p, region)) for name, p in nets.items()}
        records.append(record(answer.row, _iou(answer.mask, mask), truth.is_dense, metrics))
    return records


def keep_freed_memory() -> None:
    """Of this process, where its C library is glibc: handing whole images back and taking them again, which the kernel
    fills with zeros, takes three times as long as the metrics themselves.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)


def records(
    pipeline: Pipeline, images: Iterable[Sequence[Row]], mode: str, robustness: bool, left_out: list[str]
) -> Iterator[dict]:
    """Of every pair, in order; why an image or a text is ``left_out`` is added there.

    The metrics are worked out in other threads while the network goes on.
    """
    keep_freed_memory()
    with ThreadPoolExecutor() as pool:
        pending: deque[Future] = deque()
        for rows in images:
            rows = _askable(pipeline, rows, mode, left_out)
            if not rows:
                continue
            try:
                pending.append(pool.submit(judged, answers(pipeline, rows, mode, robustness)))
            except UnusableImageError as error:
                left_out.append(str(error))
            if len(pending) > LOOKAHEAD:
                yield from _finished(pending.popleft(), left_out)
        for future in pending:
            yield from _finished(future, left_out)


def _askable(pipeline: Pipeline, rows: Sequence[Row], mode: str, left_out: list[str]) -> list[Row]:
    """Those whose text the model knows."""
    found = []
    for row in rows:
        try:
            asked = target(row, mode)
            if asked is not None:
                pipeline.check(asked)
            found.append(row)
        except ValueError as error:
            if str(error) not in left_out:
                left_out.append(str(error))
    return found


def _finished(future: Future, left_out: list[str]) -> list[dict]:
    try:
        return future.result()
    except UnusableImageError as error:
        left_out.append(str(error))
        return []


def _iou(found: np.ndarray | None, true: np.ndarray) -> float:
    return float("nan") if found is None else np.count_nonzero(found & true) / np.count_nonzero(found | true)
