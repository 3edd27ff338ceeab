"""Build and judge the TensorRT engines of a model, as the focus node does when it starts: then it starts at once.

  python -m focusdepth_core.engine build MODEL                     as config.json says: fp16 unless told otherwise
  python -m focusdepth_core.engine build MODEL --precision fp32    from now on in fp32

An engine that fails its self-check is followed by one with more layers in FP32, then by one in FP32 whole. What is
given here is written to the model's config.json, where the node finds it. Engines lie in ~/.cache/focusdepth/engines,
or where XDG_CACHE_HOME or FOCUSDEPTH_CACHE say.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any, Optional

from focusdepth_core.engine.console import progress, show_verdicts
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.proven import TensorRtModel
from focusdepth_core.engine.self_check import FOCUS, PLAIN, Figures
from focusdepth_core.engine.settings import PRECISIONS
from focusdepth_core.engine.text_cache import TextCache


def build(model: ModelFolder) -> dict[str, tuple[Optional[Figures], str]]:
    """Of each network, by its name and the precision that passed: the figures, and where the engine is.

    Raises ``EngineError`` as ``TensorRtModel``.
    """
    found = {}
    with progress() as report:
        tensorrt = TensorRtModel(model, None if model.texts is None else TextCache(model.texts), report)
        for network in (FOCUS, PLAIN):
            built = tensorrt.open(network)
            figures = tensorrt.judged(network, built) if model.samples else None
            places = ["in memory" if part.entry is None else str(part.entry.plan) for part in built.parts]
            found[f"{network} {built.precision}"] = figures, "\n".join(places)
            built.close()
    return found


def configure(folder: Path, changes: dict[str, Any]) -> None:
    """Raises ``ValueError`` for what cannot be, and ``OSError`` for a folder that cannot be written."""
    path = ModelFolder.read(folder).path / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["engine"] = {**values.get("engine", {}), **changes}
    part = path.with_name(f".config.{os.getpid()}.part")
    part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="folder of an exported model")
    parser.add_argument("--precision", choices=PRECISIONS, help="to try first; int8 needs export --calibration")
    parser.add_argument("--max-targets", type=int, metavar="N", help="most targets in one frame; memory grows with it")


def run(args: argparse.Namespace) -> None:
    changes = {"precision": args.precision, "max_targets": args.max_targets}
    changes = {name: value for name, value in changes.items() if value is not None}
    if args.max_targets is not None and args.max_targets < 1:
        raise ValueError(f"--max-targets {args.max_targets}; give a number from 1 on")
    if changes:
        configure(args.model, changes)
    model = ModelFolder.read(args.model)
    built = build(model)
    show_verdicts(model.name, {name: figures for name, (figures, _) in built.items()}, model.engine.thresholds)
    for _, place in built.values():
        print(place)
