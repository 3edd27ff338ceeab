"""Judge every backend that is here by the samples of a model: simulated scenes with the answers that are expected.

  python -m focusdepth_core.engine verify MODEL

Prints a table, and ends with status 1 if something is beyond the limits (engine.thresholds in the model's config.json):
the deviation in the worst scene, of the depth's spread; the difference in metric depth in the image and on the targets;
how much AbsRel against the truth changes; F1 of the edges and IoU of the masks, against the expected ones. TensorRT
engines that are not in the cache are built first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Optional

from focusdepth_core.engine import samples
from focusdepth_core.engine.base import EngineError, Texts
from focusdepth_core.engine.console import progress, show_verdicts
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.open import open_model, open_network
from focusdepth_core.engine.proven import TensorRtModel
from focusdepth_core.engine.self_check import FOCUS, NOTHING_RIGHT, PLAIN, Figures, check
from focusdepth_core.engine.settings import PRECISIONS
from focusdepth_core.engine.tensorrt_build import runtime
from focusdepth_core.engine.text_cache import TextCache

Judged = tuple[str, str, str, Figures]  # backend, network, precision


def verify(model: ModelFolder, report: Callable[[str], None]) -> Iterator[Judged]:
    """What TensorRT cannot build or run is told, and has no figure that is right. Raises ``EngineError`` for a folder
    without samples, and for networks that ONNX Runtime cannot run."""
    if model.samples is None:
        raise EngineError(f"{model.path} has no samples for the self-check; export the model again")
    texts = None if model.texts is None else TextCache(model.texts)
    if find_spec("onnxruntime") is not None:
        yield from _onnxruntime(model, texts, report)
    if find_spec("torch") is not None:
        yield from _torch(model, report)
    try:
        runtime()
    except EngineError as error:
        report(f"without TensorRT: {error}")
    else:
        yield from _tensorrt(model, texts, report)


def _onnxruntime(model: ModelFolder, texts: Optional[Texts], report: Callable[[str], None]) -> Iterator[Judged]:
    assert model.samples is not None
    scenes = samples.read(model.samples)
    for network, precision in _files(model):
        report(f"onnxruntime: {network} in {precision}")
        engine = open_network(model, network, precision)
        yield engine.name, network, precision, check(model, engine, network, scenes, texts)


def _torch(model: ModelFolder, report: Callable[[str], None]) -> Iterator[Judged]:
    assert model.samples is not None
    try:
        networks = open_model(model, "torch")
    except EngineError as error:
        report(f"without torch: {error}")
        return
    for network, engine in ((FOCUS, networks.focus), (PLAIN, networks.plain)):
        report(f"torch: {network}")
        figures = check(model, engine, network, samples.read(model.samples), networks.texts)
        yield engine.name, network, "fp32", figures


def _tensorrt(model: ModelFolder, texts: Optional[Texts], report: Callable[[str], None]) -> Iterator[Judged]:
    tensorrt = TensorRtModel(model, texts, report)
    name = f"{tensorrt.runtime.flavour} {tensorrt.runtime.version}, {tensorrt.runtime.gpu}"
    for network, precision in _files(model):
        figures = NOTHING_RIGHT
        try:
            built = tensorrt.build(network, precision)
            with closing(built):  # also of one that cannot run: the next may need its memory
                figures = tensorrt.judged(network, built, anew=True)
        except EngineError as error:
            report(f"tensorrt: {network} in {precision}: {error}")
        yield name, network, precision, figures


def _files(model: ModelFolder) -> Iterator[tuple[str, str]]:
    """Networks with the precisions that the folder has."""
    for network in (FOCUS, PLAIN):
        for precision in PRECISIONS:
            paths = model.networks(network, precision).values()
            if paths and all(path.is_file() for path in paths):
                yield network, precision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="folder of an exported model")


def run(args: argparse.Namespace) -> None:
    model = ModelFolder.read(args.model)
    found: dict[str, dict[str, Figures]] = {}
    with progress() as report:
        for backend, network, precision, figures in verify(model, report):
            found.setdefault(backend, {})[f"{network} {precision}"] = figures
    if not found:
        raise EngineError("there is no backend to judge; install onnxruntime or TensorRT")
    for backend, rows in found.items():
        show_verdicts(backend, rows, model.engine.thresholds)
    if any(figures.faults(model.engine.thresholds) for rows in found.values() for figures in rows.values()):
        sys.exit(1)
