"""Show what there is of engines.

python -m focusdepth_core.engine inspect             all engines in the cache
python -m focusdepth_core.engine inspect MODEL       a model's networks, their inputs, and the engines built of them
python -m focusdepth_core.engine inspect ENGINE      the manifest of one engine, a file of the cache
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from focusdepth_core.engine.cache import Manifest, cache_folder
from focusdepth_core.engine.model_folder import WEIGHTS, ModelFolder
from focusdepth_core.engine.self_check import FOCUS, PLAIN, recorded
from focusdepth_core.engine.settings import PRECISIONS

MB = 1e6


def engines() -> Iterator[tuple[Path, Optional[Manifest]]]:
    """All in the cache, with None for a manifest that is missing or damaged."""
    for path in sorted(cache_folder().glob("*.engine")):
        try:
            yield path, Manifest.read(path.with_suffix(".json"))
        except (OSError, ValueError):
            yield path, None


def networks(model: ModelFolder) -> Iterator[tuple[str, str, Path]]:
    """Name in config.json, precision and file of each that exists."""
    for network in (FOCUS, PLAIN):
        for precision in PRECISIONS:
            for name, path in model.networks(network, precision).items():
                if path.is_file():
                    yield name, precision, path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", type=Path, nargs="?", help="model folder, or engine; default: the whole cache")


def run(args: argparse.Namespace) -> None:
    from rich.console import Console

    console = Console()
    if args.what is not None and args.what.suffix in (".engine", ".json"):
        console.print_json(json.dumps(asdict(Manifest.read(args.what.with_suffix(".json")))))
        return
    own: Optional[set[str]] = None
    if args.what is not None:
        model = ModelFolder.read(args.what)
        own = {str(path.resolve()) for _, _, path in networks(model)}
        engine = model.engine
        console.print(
            f"{model.name}, {model.license}: {model.space.value}, input {model.input.width} x {model.input.height}; "
            f"engines in {engine.precision} for at most {engine.max_targets} targets, "
            f"{'judged by ' + model.samples.name if model.samples else 'unverified: no samples'}"
        )
        console.print(_network_table(model))
    console.print(_engine_table(own))


def _network_table(model: ModelFolder) -> Any:
    from rich.table import Table

    table = Table("network", "precision", "file", "MB", "inputs")
    for name, precision, path in networks(model):
        shapes = model.engine.inputs.get(name, {})
        inputs = ", ".join(f"{key} {'x'.join(map(str, shape))}" for key, shape in shapes.items())
        table.add_row(name, precision, path.name, f"{path.stat().st_size / MB:.1f}", inputs)
    weights = model.path / WEIGHTS
    if weights.is_file():
        table.add_row("", "", weights.name, f"{weights.stat().st_size / MB:.1f}", "the weights of all")
    return table


def _engine_table(own: Optional[set[str]]) -> Any:
    """``own``: the ONNX files whose engines are shown; None: all."""
    from rich.table import Table

    table = Table("engine", "GPU", "TensorRT", "built", "MB", "self-check", title=str(cache_folder()))
    for path, manifest in engines():
        size = f"{path.stat().st_size / MB:.1f}"
        if manifest is None:
            if own is None:
                table.add_row(path.name, "", "", "", size, "its manifest is damaged")
        elif own is None or manifest.network in own:
            key = manifest.key
            table.add_row(path.name, key.gpu, f"{key.flavour} {key.tensorrt}", manifest.built, size, _verdict(manifest))
    return table


def _verdict(manifest: Manifest) -> str:
    figures = recorded(manifest.verdict)
    if manifest.verdict is None or figures is None:
        return "not judged"
    return f"{manifest.verdict.get('date')}: depth differs by {100 * figures.difference:.2g}%"
