"""What a model costs, from its configuration alone: ``python -m focusdepth_core.model describe CONFIG``.

CONFIG is a recipe of config/train/ or the folder of a model. The net is built on torch's meta device, at real size and
without weights, so nothing is downloaded. Operations are counted by torch (1 multiply-add = 2 FLOP; matrix products,
convolutions and attention), memory is the peak of the tensors that live at once, beside the weights.
"""

from __future__ import annotations

import argparse
import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from focusdepth_core.config import parse, read_yaml
from focusdepth_core.model import hub
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.prompt.base import Prompt


@dataclass(frozen=True)
class Cost:
    """``flop`` of one call; ``peak_bytes``: of the tensors made in it, at FP32, at the worst moment."""

    flop: int
    peak_bytes: int


class _PeakMemory(TorchDispatchMode):
    """Bytes of the living storages that were made under it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._seen:
            self._seen.add(key)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key, storage.nbytes())

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def load_config(source: Path) -> FocusDepthConfig:
    """Of a YAML file (its ``model``) or a model folder. Raises ``ValueError`` for one that is neither."""
    if source.is_dir():
        return hub.read_config(source)
    values = read_yaml(source)
    if not isinstance(values, dict) or "model" not in values:
        raise ValueError(f"{source} has no 'model'; give a recipe of config/train/ or the folder of a model")
    return parse(FocusDepthConfig, values["model"], str(source))


def measure(call: Callable[[], Any]) -> tuple[Any, Cost]:
    counter, memory = FlopCounterMode(display=False), _PeakMemory()
    with torch.no_grad(), memory, counter:
        result = call()
    return result, Cost(counter.get_total_flops(), memory.peak)


def parameters(model: FocusDepth) -> dict[str, int]:
    """By part. ``prompt``: by the names of the branch's own parts."""
    parts: dict[str, nn.Module | list[nn.Module]] = {
        "geometry encoder": model.geometry.encoder,
        "geometry decoder": model.geometry.decoder,
        **{f"prompt {name}": part for name, part in model.prompt.named_children()},
        "MSSA": model.mssa,
    }
    if model.auxiliary is not None:
        parts["segmentation branch"] = model.auxiliary
    return {name: _count(part) for name, part in parts.items()}


def _count(part: nn.Module | list[nn.Module]) -> int:
    modules = part if isinstance(part, list) else [part]
    return sum(p.numel() for p in {id(p): p for m in modules for p in m.parameters()}.values())


def costs(model: FocusDepth) -> dict[str, Cost]:
    """One box: of each step of a frame. What another target adds is the steps after the image is encoded."""
    config, side = model.config.geometry, model.prompt.side
    image = torch.zeros(1, 3, config.height, config.width, device="meta")
    own = torch.zeros(1, 3, side, side, device="meta") if side else image
    prompt = Prompt.box(torch.zeros(1, 1, 4, device="meta"))
    result = {}
    tokens, result["geometry encoder"] = measure(lambda: model.geometry.encode(image))
    kept, result["prompt image encoder"] = measure(lambda: model.prompt.encode_image(own, tokens))
    maps, result["prompt"] = measure(lambda: model.prompt(kept, prompt))
    features, result["alignment"] = measure(lambda: model.features_of(tokens, maps))
    result["fusion and decoder"] = measure(lambda: model.decode(features, prompt))[1]
    result["geometry alone"] = measure(lambda: model.geometry(image))[1]
    return result


def describe(config: FocusDepthConfig) -> dict[str, Any]:
    """Parameters, FLOP and memory by part. Raises ``ValueError`` if the model cannot be built."""
    with torch.device("meta"):
        model = FocusDepth(config).eval()
        steps = costs(model)
    counts = parameters(model)
    alone = steps.pop("geometry alone").flop
    frame = sum(s.flop for s in steps.values())
    per_target = steps["prompt"].flop + steps["alignment"].flop
    return {
        "geometry": config.geometry.kind,
        "prompt": config.prompt.kind,
        "licence": {"geometry": config.geometry.licence, "prompt": config.prompt.licence},
        "input": [config.geometry.height, config.geometry.width],
        "prompt_side": model.prompt.side,
        "parameters": counts | {"total": sum(counts.values())},
        "weights_mb": {"fp32": sum(counts.values()) * 4e-6, "fp16": sum(counts.values()) * 2e-6},
        "gflop": {name: s.flop / 1e9 for name, s in steps.items()} | {"frame with one target": frame / 1e9},
        "gflop_per_extra_target": {
            "in union": per_target / 1e9,
            "one by one": (per_target + steps["fusion and decoder"].flop) / 1e9,
        },
        "gflop_of_the_geometry_net_alone": alone / 1e9,
        "ratio_to_the_geometry_net": frame / alone,
        "peak_memory_mb_fp32": {name: s.peak_bytes / 1e6 for name, s in steps.items()},
    }


def print_tables(about: dict[str, Any]) -> None:
    console = Console()
    height, width = about["input"]
    side = f", prompt branch at {about['prompt_side']} px" if about["prompt_side"] else ""
    console.print(f"{about['geometry']} + {about['prompt']}, input {height} x {width}{side}")
    console.print(f"Licence of the weights: {about['licence']['geometry']} and {about['licence']['prompt']}")
    table = Table("part", "parameters, M", title="Weights")
    for name, count in about["parameters"].items():
        table.add_row(name, f"{count / 1e6:.3f}", style="bold" if name == "total" else None)
    console.print(table)
    sizes = about["weights_mb"]
    console.print(f"{sizes['fp32']:.1f} MB at FP32, {sizes['fp16']:.1f} MB at FP16")
    table = Table("step", "GFLOP", "peak memory at FP32, MB", title="One frame, one target")
    for name, value in about["gflop"].items():
        peak = about["peak_memory_mb_fp32"].get(name)
        table.add_row(name, f"{value:.2f}", "" if peak is None else f"{peak:.0f}")
    console.print(table)
    for name, value in about["gflop_per_extra_target"].items():
        console.print(f"Each further target {name}: {value:.2f} GFLOP")
    plain, ratio = about["gflop_of_the_geometry_net_alone"], about["ratio_to_the_geometry_net"]
    console.print(f"The geometry net alone: {plain:.2f} GFLOP; FocusDepth takes {ratio:.2f} times that")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="recipe (YAML) or model folder")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> None:
    about = describe(load_config(args.config))
    if args.json:
        print(json.dumps(about, indent=1))
    else:
        print_tables(about)
