"""How fast a model is on every backend that is here, beside the plain depth net of its folder.

  python -m focusdepth_core.engine bench MODEL --out engine_gpu.json
  python -m focusdepth_core.engine bench config/train/da2_small_lite.yaml --sizes 280x280 518x518

MODEL is an exported folder, or a recipe of config/train/ (random weights serve for speed; needs training's packages).
All backends and networks take turns in one run, so that a busy moment meets all of them, and ratios are of medians:
``ratio_to_plain`` is what focusing costs on that backend, ``ratio_to_torch`` (and, on a GPU, ``ratio_to_torch-fp16``)
what the backend gains. Times are of calls that take numpy arrays and give numpy arrays, copies included; ``stages`` are
of a whole frame with one target.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Optional

import numpy as np

from focusdepth_core.engine import samples
from focusdepth_core.engine.absent import Absent
from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.console import progress, show_times
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.open import BACKENDS, COMPILED, TORCH, Networks, open_model
from focusdepth_core.engine.self_check import FOCUS, PLAIN, check
from focusdepth_core.engine.timing import SETTLE, TIMED, interleaved, quantiles, timed
from focusdepth_core.machine import commit, gpu, machine, versions
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.network_inputs import network_inputs
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target

FRAME = "frame"  # the whole of it, among the calls that are timed
TORCH_FP16 = "torch-fp16"  # no backend of its own: what others are compared with on a GPU
PACKAGES = ("tensorrt", "tensorrt-rtx", "onnxruntime", "onnxruntime-gpu", "torch", "numpy", "opencv-python-headless")

Size = tuple[int, int]


@dataclass(frozen=True)
class Method:
    """``targets``: numbers of them; ``frame``: width and height of the camera's image."""

    turns: int
    targets: Sequence[int]
    frame: Size

    def __post_init__(self) -> None:
        for name, value in (("turns", self.turns), ("targets", min(self.targets)), ("frame", min(self.frame))):
            if value < 1:
                raise ValueError(f"--{name}: {value} is given; give at least 1")


def bench(model: ModelFolder, backends: Sequence[str], method: Method) -> dict[str, Any]:
    """Of each backend that ran to the end: ``networks`` by name, ``stages`` and ``self_check``; ``absent``: why of
    the others.

    Raises ``EngineError`` with the reasons if none did.
    """
    absent, calls = Absent(), {}
    stages: dict[str, dict[str, list[float]]] = {backend: {} for backend in backends}
    opened = _opened(model, backends, absent)
    for backend, networks in opened.items():
        own = absent.tried(backend, partial(_calls, model, networks, method, stages[backend])) or {}
        calls.update({(backend, name): partial(absent.tried, backend, call) for name, call in own.items()})
    every = interleaved(calls, method.turns)
    told = {name: absent.tried(name, partial(_gpu_stages, model, one, method.frame)) for name, one in opened.items()}
    judged = {name: absent.tried(name, partial(_figures, model, one)) for name, one in opened.items()}
    ended = {backend: networks for backend, networks in opened.items() if backend not in absent}
    if not ended:
        raise EngineError("; ".join(f"{backend}: {why}" for backend, why in absent.items()))
    every = {(backend, name): times for (backend, name), times in every.items() if backend in ended}
    result = {
        backend: {
            "runs_on": networks.focus.name,
            "why": networks.why,
            "networks": {name: _row(every, backend, name) for own, name in every if own == backend and name != FRAME},
            "stages": {stage: quantiles(timed(times)) for stage, times in stages[backend].items()}
            | {FRAME: quantiles(every[backend, FRAME])}
            | (told[backend] or {}),
            "self_check": judged[backend],
        }
        for backend, networks in ended.items()
    }
    return {"model": model.name, "input": [model.input.width, model.input.height], "backends": result, "absent": absent}


def _row(every: Mapping[tuple[str, str], Sequence[float]], backend: str, name: str) -> dict[str, float]:
    row, median = quantiles(every[backend, name]), float(np.median(every[backend, name]))
    row["ratio_to_plain"] = round(median / float(np.median(every[backend, "plain"])), 3)
    for base in (TORCH, TORCH_FP16):
        if (base, name) in every:
            row[f"ratio_to_{base}"] = round(median / float(np.median(every[base, name])), 3)
    return row


def _opened(model: ModelFolder, backends: Sequence[str], absent: Absent) -> dict[str, Networks]:
    with progress() as report:
        opened = {backend: absent.tried(backend, partial(_open, model, backend, report)) for backend in backends}
    return {backend: networks for backend, networks in opened.items() if networks is not None}


def _open(model: ModelFolder, backend: str, report: Callable[[str], None]) -> Networks:
    return _torch_fp16(model) if backend == TORCH_FP16 else open_model(model, backend, 0, report)


def _torch_fp16(model: ModelFolder) -> Networks:
    from focusdepth_core.engine.torch_backend import open_folder

    return Networks(*open_folder(model, 0, half=True))


def _calls(
    model: ModelFolder, networks: Networks, method: Method, stages: dict[str, list[float]]
) -> dict[str, Callable[[], object]]:
    """The plain network, the prompted one with so many targets, and a whole frame, which appends to ``stages``."""
    width, height = model.input.width, model.input.height
    frame, letterbox = _frame((width, height)), Letterbox(width, height, model.input)
    inputs = partial(network_inputs, model, frame, letterbox, texts=networks.texts, priors={})
    calls: dict[str, Callable[[], object]] = {"plain": partial(networks.plain.run, inputs(targets=[]))}
    for count in method.targets:
        given = inputs(targets=_targets(count, (width, height)))
        calls[f"focus, {count} target{'s' * (count > 1)}"] = partial(networks.focus.run, given)
    return {**calls, FRAME: _frame_call(model, networks, method.frame, stages)}


def _frame_call(
    model: ModelFolder, networks: Networks, size: Size, stages: dict[str, list[float]]
) -> Callable[[], object]:
    """With one target."""
    pipeline = Pipeline(model, networks.focus, networks.plain, networks.texts)
    frame, targets = _frame(size), _targets(1, size)

    def call() -> None:
        for stage, value in pipeline.process(frame, targets).timings_ms.items():
            stages.setdefault(stage, []).append(value)

    return call


def _gpu_stages(model: ModelFolder, networks: Networks, size: Size) -> dict[str, dict[str, float]]:
    """What the GPU itself says of a frame with one target, from engines that can tell."""
    stages_ms = getattr(networks.focus, "stages_ms", None)
    if stages_ms is None:
        return {}
    letterbox = Letterbox(*size, model.input)
    given = network_inputs(model, _frame(size), letterbox, _targets(1, size), networks.texts, {}, networks.focus)
    times = [stages_ms(given) for _ in range(20)][SETTLE:]
    return {f"gpu {name}": quantiles([one[name] for one in times]) for name in times[0]}


def _figures(model: ModelFolder, networks: Networks) -> dict[str, dict[str, float]]:
    """Of the self-check, in the precision that is timed; none for a model without samples."""
    if model.samples is None:
        return {}
    scenes = samples.read(model.samples)
    engines = {FOCUS: networks.focus, PLAIN: networks.plain}
    return {name: asdict(check(model, engine, name, scenes, networks.texts)) for name, engine in engines.items()}


def _frame(size: Size) -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8))


def _targets(count: int, size: Size) -> list[Target]:
    """Boxes along the diagonal, a quarter of the image long."""
    corners = np.linspace(0, 0.75, count + 2)[1:-1]
    width, height = size
    return [
        Target(str(i), (low * width, low * height, (low + 0.25) * width, (low + 0.25) * height))
        for i, low in enumerate(corners.tolist())
    ]


def default_backends() -> list[str]:
    """Those that make sense on this machine."""
    names = [name for name in BACKENDS if name != COMPILED]
    if find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            names += [TORCH_FP16, COMPILED]
    return names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="folder of an exported model, or a recipe of config/train/")
    parser.add_argument("--backends", nargs="+", choices=[*BACKENDS, TORCH_FP16], help="default: all that are here")
    parser.add_argument("--sizes", nargs="+", type=_size, metavar="WxH", help="of a recipe's input, in turn")
    parser.add_argument(
        "--targets", nargs="+", type=int, default=[1, 2, 4, 8], metavar="N", help="how many; default: 1 2 4 8"
    )
    parser.add_argument(
        "--frame", type=_size, default=(1280, 720), metavar="WxH", help="camera image; default 1280x720"
    )
    parser.add_argument("--turns", type=int, default=20, help=f"of each call, with {TIMED} timed calls each (20)")
    parser.add_argument("--out", type=Path, help="write the JSON here; engine_<gpu>.json in docs/results is for ours")


def _size(text: str) -> Size:
    width, _, height = text.partition("x")
    return int(width), int(height)


def run(args: argparse.Namespace) -> None:
    method = Method(args.turns, args.targets, args.frame)
    backends = args.backends or default_backends()
    if args.sizes and args.model.is_dir():
        raise ValueError(f"--sizes: {args.model} is exported for one size; give a recipe instead")
    about = {
        "method": f"batch 1, {args.turns} turns of {SETTLE} calls to settle and {TIMED} timed calls of each, ratios of "
        f"medians; frame {args.frame[0]}x{args.frame[1]} with one target",
        "date": date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "gpu": gpu(),
        "versions": versions(PACKAGES),
    }
    results = []
    for size in args.sizes or [None]:
        with ExitStack() as stack:
            results.append(bench(_model(args.model, size, stack), backends, method))
        show_times(results[-1])
    if args.out:
        args.out.write_text(json.dumps({**about, "results": results}, indent=1) + "\n", encoding="utf-8")


def _model(path: Path, size: Optional[Size], stack: ExitStack) -> ModelFolder:
    if path.is_dir():
        return ModelFolder.read(path)
    from focusdepth_core.engine.random_model import exported

    return exported(path, size, Path(stack.enter_context(TemporaryDirectory())))
