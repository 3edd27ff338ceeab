"""Which samples a stage sees, in which order, and which of them in which process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from focusdepth_core.fde_bench.augment import Augment, CanvasSpec
from focusdepth_core.fde_bench.dataset import Batch, FocusDataset, loader
from focusdepth_core.fde_bench.manifest import FILE, Manifest
from focusdepth_core.model.geometry.base import PATCH
from focusdepth_core.model.prompt.base import PromptBranch
from focusdepth_core.training.checks import FINDING, lineage
from focusdepth_core.training.prompts import PARTS, kinds_at
from focusdepth_core.training.recipe import ManifestShare, Simulation, Stage, TrainConfig


def canvas_of(config: TrainConfig, stage: Stage, branch: PromptBranch) -> CanvasSpec:
    """Inputs of the networks that the stage runs."""
    geometry = config.model.geometry
    width, height = (PATCH * max(1, round(n * stage.scale / PATCH)) for n in (geometry.width, geometry.height))
    return CanvasSpec(width, height, 0 if stage.learns == "geometry" else branch.side)


def first_sample(config: TrainConfig, stage: Stage) -> int:
    """Position of the stage's first sample: stages go on where the one they start from stopped.

    So a baseline sees the same samples as the stages that it is compared with; what the prompt branch learned from by
    itself is not counted.
    """
    before = lineage(config.stages, stage.name)[:-1]
    return config.batch * sum(earlier.steps for earlier in before if earlier.learns not in FINDING)


def positions(first: int, batch: int, steps: range, rank: int, processes: int) -> list[int]:
    """This process's share of the batches of ``steps``."""
    share = batch // processes
    return [first + step * batch + rank * share + i for step in steps for i in range(share)]


def training_batches(
    config: TrainConfig, stage: Stage, branch: PromptBranch, steps: range, rank: int = 0, processes: int = 1
) -> Iterator[tuple[Batch, list[str]]]:
    """Batches for one pass each, ``accumulate`` for a step, and how their samples are prompted."""
    manifests, asks = _open(config.data.train), stage.learns == "search"
    dataset = FocusDataset(manifests, canvas_of(config, stage, branch), stage.augment, config.seed, asks)
    mine = positions(first_sample(config, stage), config.batch, steps, rank, processes)
    yield from _prompted(config, dataset, mine, config.batch // (processes * config.accumulate), config.data.workers)


def validation_batches(
    config: TrainConfig, stage: Stage, branch: PromptBranch, rank: int = 0, processes: int = 1
) -> Iterator[tuple[Batch, list[str]]]:
    """The same samples every time, as they are."""
    manifests, asks = _open(config.data.validation), stage.learns == "search"
    dataset = FocusDataset(manifests, canvas_of(config, stage, branch), Augment.none(), 0, asks)
    mine = list(range(rank, config.data.validation_samples, processes))
    yield from _prompted(config, dataset, mine, config.batch // (processes * config.accumulate), 0)


def _prompted(
    config: TrainConfig, dataset: FocusDataset, mine: Sequence[int], size: int, workers: int
) -> Iterator[tuple[Batch, list[str]]]:
    for i, batch in enumerate(loader(dataset, size, mine, workers)):
        yield batch, kinds_at(config.prompts, config.seed, mine[i * size : (i + 1) * size])


def _open(shares: Sequence[ManifestShare]) -> list[tuple[Manifest, float]]:
    return [(_rows_of(share), share.weight) for share in shares]


def _rows_of(share: ManifestShare) -> Manifest:
    """Of its split; held-out categories are neither trained on nor used to choose weights."""
    whole = Manifest.open(share.manifest)
    table = whole.table
    rows = np.flatnonzero(pc.and_(pc.equal(table["split"], share.split), pc.invert(table["held_out"])))
    if not len(rows):
        raise ValueError(f"{whole.path} has no row of split '{share.split}' outside the held-out categories")
    return Manifest(whole.path, table.take(rows).combine_chunks(), rows)


def rows_and_images(shares: Sequence[ManifestShare]) -> tuple[int, int]:
    """Of a mixture."""
    manifests = [manifest for manifest, _ in _open(shares)]
    return sum(len(m) for m in manifests), sum(len(m.table["image"].unique()) for m in manifests)


def check_texts(config: TrainConfig, branch: PromptBranch) -> None:
    """Raises ``ValueError`` for texts of the data that a prompt branch with words of its own does not know."""
    if branch.search is None:
        return
    faults: list[str] = []
    for text in texts_of(config.data.train + config.data.validation):
        try:
            branch.encode_text([text])
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError(f"model.prompt.words lacks what {len(faults)} texts of the data need, first: {faults[0]}")


def reads_text(config: TrainConfig) -> bool:
    """Whether anything in the run learns from texts."""
    prompted = any(share > 0 and "text" in PARTS[kind] for kind, share in vars(config.prompts).items())
    return prompted or any(stage.learns == "search" for stage in config.stages)


def texts_of(shares: Sequence[ManifestShare]) -> list[str]:
    """All prompts of a mixture, each once."""
    tables = [manifest.table for manifest, _ in _open(shares)]
    return sorted({text for table in tables for text in pc.unique(pc.list_flatten(table["texts"])).to_pylist()})


def simulate(wanted: Simulation, workers: int) -> None:
    """Render what is missing and write the manifest. Raises ``ValueError`` if MuJoCo is not installed."""
    images = {"train": wanted.train, "val": wanted.validation}
    if not any(images.values()) or _is_there(wanted.folder, images):
        return
    try:
        from focusdepth_core.sim.generate import Size, generate
    except ImportError as error:
        raise ValueError(f"data.simulate needs focusdepth_core[sim]: {error}") from None
    from focusdepth_core.fde_bench.build import build, merge
    from focusdepth_core.fde_bench.sources import open_source

    scenes = wanted.folder / "scenes"
    for split, count in images.items():
        if count:
            generate(scenes, split, count, max(1, workers), Size(320, 240))
    source = open_source("sim", scenes)
    build(source, wanted.folder, max(1, workers))
    merge(source, wanted.folder)


def _is_there(folder: Path, images: dict[str, int]) -> bool:
    from focusdepth_core.sim.generate import VIEWS_PER_SCENE
    from focusdepth_core.sim.splits import SCENE_FILE

    if not (folder / FILE).is_file():
        return False
    found = {split: len(list((folder / "scenes" / split).glob(f"*/{SCENE_FILE}"))) for split in images}
    return all(found[split] * VIEWS_PER_SCENE >= count for split, count in images.items())
