"""Time of FocusDepth beside the plain depth net, in one run: ``python -m focusdepth_core.model benchmark CONFIG``.

CONFIG is a recipe of config/train/ or the folder of a model; random weights serve for speed, and a recipe's pretrained
weights are not loaded. The variants take turns, so that a busy moment meets all of them; the ratios are of medians.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from focusdepth_core.machine import machine, versions
from focusdepth_core.model.describe import load_config
from focusdepth_core.model.focusdepth import FocusDepth
from focusdepth_core.model.prompt.base import Prompt

MANY = 8
WARM_UP = 2


class _Focus(nn.Module):
    """Image and boxes T,4 to depth; ``union``: one map for all targets, else one for each."""

    def __init__(self, model: FocusDepth, union: bool) -> None:
        super().__init__()
        self.model, self.union = model, union

    def forward(
        self, image: torch.Tensor, boxes: torch.Tensor, prompt_image: torch.Tensor | None = None
    ) -> torch.Tensor:
        return self.model(image, Prompt.box(boxes[None]), prompt_image, self.union).depth[0]


def variants(model: FocusDepth) -> dict[str, tuple[nn.Module, dict[str, torch.Tensor]]]:
    """Nets with their inputs: the plain one, and FocusDepth with one and with ``MANY`` boxes."""
    config, side = model.config.geometry, model.prompt.side
    image = {"image": torch.randn(1, 3, config.height, config.width)}
    own = {"prompt_image": torch.randn(1, 3, side, side)} if side else {}
    centres = torch.linspace(0.2, 0.8, MANY)
    boxes = torch.stack([centres, centres, torch.full_like(centres, 0.2), torch.full_like(centres, 0.3)], 1)
    union, each = _Focus(model, True).eval(), _Focus(model, False).eval()
    return {
        "plain": (model.geometry, image),
        "focus, 1 target": (union, {**image, "boxes": boxes[:1], **own}),
        f"focus, {MANY} targets in union": (union, {**image, "boxes": boxes, **own}),
        f"focus, {MANY} targets one by one": (each, {**image, "boxes": boxes, **own}),
    }


def torch_calls(model: FocusDepth, device: str, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """Eager torch; CUDA is waited for."""

    def call(net: nn.Module, inputs: dict[str, torch.Tensor]) -> Callable[[], object]:
        given = [value.to(device, dtype) for value in inputs.values()]
        net.to(device, dtype)

        def run() -> None:
            net(*given)
            if device == "cuda":
                torch.cuda.synchronize()

        return run

    return {name: call(net, inputs) for name, (net, inputs) in variants(model).items()}


def onnxruntime_calls(model: FocusDepth, folder: Path) -> dict[str, Callable[[], object]]:
    """ONNX Runtime, each net in a file of its own."""
    from focusdepth_core.engine.onnx_file import OPSETS, Artefact, write
    from focusdepth_core.engine.onnxruntime_backend import OnnxRuntimeEngine

    calls: dict[str, Callable[[], object]] = {}
    for name, (net, inputs) in variants(model).items():
        path = folder / f"{len(calls)}.onnx"
        write(Artefact(net, inputs, ("depth",)), path, OPSETS[0])
        engine, arrays = OnnxRuntimeEngine(path), {key: value.numpy() for key, value in inputs.items()}
        calls[name] = partial(engine.run, arrays)
    return calls


def time_each(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for step in tqdm(range(WARM_UP + rounds), desc="rounds"):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if step >= WARM_UP:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Quantiles of each variant, and its median relative to the plain net's and to one target's."""
    medians = {name: float(np.median(t)) for name, t in times.items()}
    result = {}
    for name, values in times.items():
        quantiles = np.quantile(values, [0.5, 0.95, 0.99])
        result[name] = {k: round(float(v), 2) for k, v in zip(("p50_ms", "p95_ms", "p99_ms"), quantiles)}
        result[name]["ratio_to_plain"] = round(medians[name] / medians["plain"], 3)
        result[name]["ratio_to_1_target"] = round(medians[name] / medians["focus, 1 target"], 3)
    return result


@contextmanager
def _peak_memory(device: str, result: dict[str, object]) -> Iterator[None]:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    yield
    if device == "cuda":
        result["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)


def benchmark(config: Path, rounds: int, backend: str, device: str, dtype: str) -> dict[str, object]:
    """Raises ``ValueError`` for a configuration that cannot be read, or a device that the backend does not use."""
    if rounds < 1:
        raise ValueError(f"--rounds {rounds}: give at least 1")
    if backend == "onnxruntime" and (device, dtype) != ("cpu", "float32"):
        raise ValueError(f"--device {device} --dtype {dtype}: onnxruntime is measured on cpu in float32")
    torch.manual_seed(0)
    model = FocusDepth(load_config(config)).eval()
    about: dict[str, object] = {
        "config": config.name,
        "backend": f"{backend}, {device}, {dtype}",
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "method": f"batch 1, variants in turn, {WARM_UP} rounds of warm-up, ratios of medians",
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": versions(["torch", "transformers", "onnxruntime"]),
    }
    with torch.inference_mode(), TemporaryDirectory() as folder, _peak_memory(device, about):
        if backend == "torch":
            calls = torch_calls(model, device, getattr(torch, dtype))
        else:
            calls = onnxruntime_calls(model, Path(folder))
        times = time_each(calls, rounds)
    return about | {"results": summary(times)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="recipe (YAML) or model folder")
    parser.add_argument("--rounds", type=int, default=15, help="timed calls of each variant")
    parser.add_argument("--backend", default="torch", choices=["torch", "onnxruntime"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--out", type=Path, help="write the JSON here as well")


def run(args: argparse.Namespace) -> None:
    text = json.dumps(benchmark(args.config, args.rounds, args.backend, args.device, args.dtype), indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)
