"""Recipes that cannot be are refused before anything is loaded: each fault names field, value and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator

from focusdepth_core.fde_bench.augment import Augment
from focusdepth_core.model.prompt.base import PromptBranch
from focusdepth_core.training.prompts import PARTS
from focusdepth_core.training.recipe import PRETRAINED, SCRATCH, Stage, TrainConfig

FINDING = ("search", "prompt")  # what stages learn that see no depth
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def check(config: TrainConfig) -> None:
    """Raises ``ValueError`` with all faults of the recipe."""
    _refuse([*_numbers(config), *_data(config), *_names(config)])
    if config.pretrained is not None and config.model.geometry.weights is not None:
        _refuse([f"pretrained = {config.pretrained} and model.geometry.weights are both given; keep one"])
    _refuse([*_starts(config), *_inputs(config), *_results(config)])  # these follow the stages' starts


def check_prompts(config: TrainConfig, branch: PromptBranch) -> None:
    """Raises ``ValueError`` if a prompt is asked for that the model's prompt branch does not take."""
    if not any(stage.learns != "geometry" for stage in config.stages):
        return
    kind, takes = config.model.prompt.kind, ", ".join(sorted(branch.takes))
    learnt = {stage.learns for stage in config.stages}
    if branch.pretrained and learnt & set(FINDING):
        what = " and ".join(sorted(learnt & set(FINDING)))
        _refuse([f"stages: learns = {what}, but the prompt branch '{kind}' comes trained; leave that stage out"])
    if "search" in learnt and branch.search is None:
        _refuse([f"stages: learns = search, but the prompt branch '{kind}' as configured takes no text; leave it out"])
    given = {name for name, share in vars(config.prompts).items() if share > 0}
    faults = [
        f"prompts.{name} = {getattr(config.prompts, name)}: the prompt branch '{kind}' takes {takes} only; use 0 or "
        f"another model.prompt"
        for name in sorted(given)
        if not PARTS[name] <= branch.takes
    ]
    if not branch.pretrained and "mask" in branch.takes and not any("mask" in PARTS[name] for name in given):
        faults.append(
            "prompts: none has a mask, but model.prompt is made to take one and would never learn to; give "
            "prompts.mask a share or take it out of model.prompt"
        )
    if branch.search is not None and "search" not in learnt:
        faults.append(
            "stages: none learns search, but model.prompt is made to take text and would never learn to; add such a "
            "stage or take it out of model.prompt"
        )
    _refuse(faults)


def lineage(stages: tuple[Stage, ...], name: str) -> list[Stage]:
    """The stages that led to ``name``, itself last."""
    known = {stage.name: stage for stage in stages}
    found = [known[name]]
    while found[0].start in known:
        found.insert(0, known[found[0].start])
    return found


def _refuse(faults: Iterator[str] | list[str]) -> None:
    found = list(faults)
    if found:
        raise ValueError("; ".join(found))


def _numbers(config: TrainConfig) -> Iterator[str]:
    least = {
        "batch": (config.batch, 1),
        "accumulate": (config.accumulate, 1),
        "every": (config.every, 1),
        "seed": (config.seed, 0),
        "threads": (config.threads, 0),
        "data.workers": (config.data.workers, 0),
        "data.simulate.train": (config.data.simulate.train, 0),
        "data.simulate.validation": (config.data.simulate.validation, 0),
        "data.validation_samples": (config.data.validation_samples, 1),
        **{f"prompts.{k}": (v, 0) for k, v in vars(config.prompts).items()},
        **{f"loss.{k}": (v, 0) for k, v in vars(config.loss).items()},
        **{f"stages.{i}.steps": (stage.steps, 1) for i, stage in enumerate(config.stages)},
    }
    yield from (
        f"{name} = {value}; it must be at least {low}" for name, (value, low) in least.items() if not value >= low
    )
    positive = {f"stages.{i}.lr": stage.lr for i, stage in enumerate(config.stages)}
    positive |= {f"data.train.{i}.weight": share.weight for i, share in enumerate(config.data.train)}
    positive |= {f"data.validation.{i}.weight": share.weight for i, share in enumerate(config.data.validation)}
    shares = vars(config.prompts)
    positive[f"prompts.{' + '.join(shares)}"] = sum(shares.values())
    yield from (f"{name} = {value}; it must be above 0" for name, value in positive.items() if not value > 0)


def _data(config: TrainConfig) -> Iterator[str]:
    for name in ("train", "validation"):
        if not getattr(config.data, name):
            yield f"data.{name} is empty; list at least one manifest of python -m focusdepth_core.fde_bench build"
    for i, share in enumerate(config.data.train):
        if share.split != "train":
            yield f"data.train.{i}.split = {share.split}; only train may be learned from"
    for i, share in enumerate(config.data.validation):
        if share.split == "test":
            yield f"data.validation.{i}.split = test; weights chosen on the test split would spoil it, use val"


def _names(config: TrainConfig) -> Iterator[str]:
    if not config.stages:
        yield "stages is empty; the recipes in config/train/ show some"
    earlier: set[str] = set()
    for i, stage in enumerate(config.stages):
        where = f"stages.{i} ({stage.name})"
        if not NAME.fullmatch(stage.name) or stage.name in {PRETRAINED, SCRATCH, *earlier}:
            yield f"{where}: name = {stage.name}; use a word of a-z, 0-9, _ and - that is not taken"
        if stage.start not in (PRETRAINED, SCRATCH) and stage.start not in earlier:
            known = ", ".join(sorted(earlier) + [PRETRAINED, SCRATCH])
            yield f"{where}: start = {stage.start} is no earlier stage; it can be {known}"
        earlier.add(stage.name)


def _starts(config: TrainConfig) -> Iterator[str]:
    for i, stage in enumerate(config.stages):
        where = f"stages.{i} ({stage.name})"
        if stage.start == PRETRAINED and config.model.geometry.weights is None and config.pretrained is None:
            yield (
                f"{where}: start = pretrained, but model.geometry.weights and pretrained are null; name weights in one "
                f"of them, start from an earlier stage, or say start: scratch"
            )
        trained = stage.skip_mssa or any(s.learns == "mssa" for s in lineage(config.stages, stage.name))
        if stage.learns == "decoder" and not trained:
            yield (
                f"{where}: learns = decoder, but start = {stage.start} holds no trained fusion; start from a stage "
                f"that learns mssa, or say skip_mssa: true"
            )


def _inputs(config: TrainConfig) -> Iterator[str]:
    for i, stage in enumerate(config.stages):
        where = f"stages.{i} ({stage.name})"
        if not 0 < stage.scale <= 2:
            yield f"{where}: scale = {stage.scale}; it must be above 0 and at most 2"
        if stage.learns == "geometry":
            continue
        if stage.scale != 1:
            yield f"{where}: scale = {stage.scale}, but prompt branch and fusion are built for full size; use 1"
        if config.cache and stage.augment != Augment.none():
            yield (
                f"{where}: augment, but cache = {config.cache} keeps features of unchanged images; give the stage the "
                f"augment of config/train/da2_small_cached.yaml, or cache: null"
            )


def _results(config: TrainConfig) -> Iterator[str]:
    stages = {stage.name: stage for stage in config.stages}
    able = {"focus": ("mssa", "decoder"), "baseline": ("geometry",)}
    for field in able:
        name = getattr(config, field)
        if name is not None and name not in stages:
            yield f"{field} = {name} is no stage; there are {', '.join(stages) or 'none'}"
            return
        if name is not None and _depth_learnt(config, name) not in able[field]:
            yield f"{field} = {name} learns {stages[name].learns}; it must learn {' or '.join(able[field])}"
    if config.export and not (config.focus and config.baseline):
        yield "export = true needs focus and baseline: the running side uses both nets; name their stages"
    if config.focus and config.baseline:
        yield from _unequal(config)


def _depth_learnt(config: TrainConfig, name: str) -> str:
    """What the stage learns, or, if that is a search that changes no depth, the one before it."""
    line = lineage(config.stages, name)
    return next((stage.learns for stage in reversed(line) if stage.learns != "search"), "search")


def _unequal(config: TrainConfig) -> Iterator[str]:
    focus, baseline = (lineage(config.stages, str(n)) for n in (config.focus, config.baseline))
    common = [s.name for s in focus if s in baseline]
    if config.baseline in common:
        yield f"baseline = {config.baseline} is where focus = {config.focus} starts; name a stage that goes on from it"
        return
    if config.focus in common:
        yield f"focus = {config.focus} is what baseline = {config.baseline} starts from; let it start before the fusion"
        return
    depth = [[s for s in line if s.name not in common and s.learns not in FINDING] for line in (focus, baseline)]
    steps, plain = (sum(s.steps for s in line) for line in depth)
    start, plain_start = (next(s.start for s in line if s.name not in common) for line in (focus, baseline))
    if start != plain_start:
        yield f"baseline = {config.baseline} starts from {plain_start}, focus = {config.focus} from {start}; use one"
    elif steps != plain:
        yield (
            f"baseline = {config.baseline} takes {plain} steps from {start}, focus = {config.focus} takes {steps}; "
            f"give both the same number"
        )
