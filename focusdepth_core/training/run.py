"""A whole training run: the plan, its stages one after the other, and the model folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from rich.console import Console
from rich.table import Table

from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.model.weights import CONFIG
from focusdepth_core.training import checkpoint
from focusdepth_core.training.cache import check_room
from focusdepth_core.training.checkpoint import Progress
from focusdepth_core.training.checks import check, check_prompts, lineage
from focusdepth_core.training.data import check_texts, reads_text, simulate, texts_of
from focusdepth_core.training.estimate import estimate, print_table
from focusdepth_core.training.presence import calibrate
from focusdepth_core.training.recipe import TrainConfig
from focusdepth_core.training.stage import StageRun
from focusdepth_core.training.validation import SCORED
from focusdepth_core.training.weights import finished_model, new_model

RECIPE = "recipe.json"
FREE = {"out", "data.workers", "accumulate", "threads", "device", "export"}  # may change between starts of a run
PATIENCE = timedelta(hours=12)  # of other processes, while the first one renders
ERRORS = {"global": "AbsRel of the whole image", "foreground": "AbsRel of the target", "mask": "1 - IoU of the mask"}
PRECISIONS = {"float32": "no", "bfloat16": "bf16"}


def train(config: TrainConfig) -> None:
    """Raises ``ValueError`` for a recipe or a file that cannot be used, ``OSError`` for weights that cannot be had,
    ``FloatingPointError`` for a loss that is no longer a number."""
    check(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    patience = InitProcessGroupKwargs(timeout=PATIENCE)
    precision = PRECISIONS[config.precision]
    accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=precision, kwargs_handlers=[patience])
    _check_split(config, accelerator.num_processes)
    _check_same(config)
    model = new_model(config, config.stages[0])
    check_prompts(config, model.prompt)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        config.out.mkdir(parents=True, exist_ok=True)
        _write(config.out / RECIPE, json.dumps(asdict(config), indent=1, default=str))
        simulate(config.data.simulate, config.data.workers)
    accelerator.wait_for_everyone()
    if not all(_progress(config, stage.name).step == stage.steps for stage in config.stages):
        _plan(config, model.to(accelerator.device), accelerator)
        del model  # each stage makes its own, and a GPU may not have room for two
        for stage in config.stages:
            if _progress(config, stage.name).step < stage.steps:
                StageRun(config, stage, accelerator).run()
                accelerator.free_memory()
    if accelerator.is_main_process:
        _finish(config)
    accelerator.end_training()


def _check_split(config: TrainConfig, processes: int) -> None:
    if config.batch % (processes * config.accumulate):
        raise ValueError(
            f"batch = {config.batch} does not divide into {processes} processes with accumulate = {config.accumulate} "
            f"passes each; use a multiple of {processes * config.accumulate}"
        )


def _check_same(config: TrainConfig) -> None:
    """Raises ``ValueError`` if the run in ``out`` has another recipe."""
    path = config.out / RECIPE
    if not path.exists():
        return
    try:
        before = dict(_flat(json.loads(path.read_text())))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); give another --out") from None
    now = dict(_flat(json.loads(json.dumps(asdict(config), default=str))))
    changes = [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and name not in FREE
    ]
    if changes:
        raise ValueError(f"{config.out} holds a run with another recipe: {'; '.join(changes)}; give another --out")


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    if not items:
        yield name, values
    for key, value in items:
        yield from _flat(value, f"{name}.{key}" if name else str(key))


def _plan(config: TrainConfig, model: FocusDepth, accelerator: Accelerator) -> None:
    """Refuse what only model and data together can tell, and say what the run will need."""
    check_texts(config, model.prompt)
    console = Console()
    room = check_room(config, model) if config.cache else None
    estimates = {stage.name: estimate(model, config, stage, accelerator) for stage in config.stages}
    if accelerator.is_main_process:
        print_table(estimates, config)
        if room:
            console.print(room)


def _progress(config: TrainConfig, stage: str) -> Progress:
    path = checkpoint.folder(config.out, stage) / checkpoint.LAST
    return checkpoint.progress_of(path) if path.exists() else Progress()


def _finish(config: TrainConfig) -> None:
    """Model folders of the best weights, and what to do with them."""
    table = Table("stage", "least error on the validation samples", "after step", title=str(config.out))
    for stage in config.stages:
        done = _progress(config, stage.name)
        least = f"{done.best_score:.4f} ({ERRORS[SCORED[stage.learns]]})"
        table.add_row(stage.name, least, f"{done.best_step} of {stage.steps}")
    console = Console()
    console.print(table)
    folders = {"focus": config.focus, "baseline": config.baseline}
    for name, stage in folders.items():
        if stage and not _is_made(config.out / name, [checkpoint.folder(config.out, stage) / checkpoint.LAST]):
            _save(config, name, stage, console)
        if stage:
            console.print(f"{config.out / name}: the best weights of {stage}")
    if config.export:
        _export(config)
    elif config.focus:
        plain = f" --plain {config.out / 'baseline'}" if config.baseline else ""
        command = f"python -m focusdepth_core.engine export {config.out / 'focus'} MODEL{plain}"
        console.print(f"For the running side: {command}", soft_wrap=True)


def _is_made(folder: Path, sources: Sequence[Path]) -> bool:
    """Whether the model folder is newer than what it is made from: a study is called many times, and what its finished
    runs made is not to be made again each time."""
    config = folder / CONFIG
    return config.is_file() and all(config.stat().st_mtime_ns >= path.stat().st_mtime_ns for path in sources)


def _save(config: TrainConfig, name: str, stage: str, console: Console) -> None:
    model = finished_model(config, stage)
    searches = [s for s in lineage(config.stages, stage) if s.learns == "search"]
    if name == "focus" and searches:
        accuracy = calibrate(model, config, searches[-1])
        console.print(f"whether a text is in the image: right for {accuracy:.1%} of the validation texts")
    model.save_pretrained(config.out / name, config.out.name)


def _export(config: TrainConfig) -> None:
    if not _is_made(config.out / "model", [config.out / name / CONFIG for name in ("focus", "baseline")]):
        _write_model(config)
    print(f"{config.out / 'model'}: ready to run, for example ./run demo --model-dir {config.out / 'model'}")


def _write_model(config: TrainConfig) -> None:
    from focusdepth_core.engine.export import export  # needs onnx

    texts = texts_of(config.data.train) if reads_text(config) else []
    export(config.out / "focus", config.out / "model", config.out / "baseline", config.out.name, texts=texts)


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)
