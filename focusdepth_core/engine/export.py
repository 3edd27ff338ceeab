"""Turn a trained model into a folder that the focus node and the pipeline run, with ONNX files beside the weights.

  python -m focusdepth_core.engine export run/focus model --plain run/baseline
  python -m focusdepth_core.engine export me/focusdepth-sam3 model --texts categories.txt "red mug"

MODEL is a folder or hub id of FocusDepth. OUT gets config.json, the weights rounded to FP16, and

  focus.onnx                           image and targets to depth and masks, for a prompt branch without an input of
                                       its own (lite); or, for SAM3,
  vision.onnx prompt.onnx              the image once per frame; the targets in what was seen; depth from image and
  geometry.onnx                        what was found
  plain.onnx                           depth of a frame without a target
  *.fp16.onnx *.mixed.onnx             the same with FP16 arithmetic, and with FP16 for matrix products alone
  networks.bin                         the weights of all these
  texts.npz                            what the model was told, for models that take text: the texts of --texts
  self_check.npz                       simulated scenes with the answers, by which each engine will be judged
  *.int8.onnx                          with --calibration: matrix products in INT8, if that passes the same check

The ONNX files hold FP16 weights, take any number of targets and compute in FP32 unless their name says otherwise.
Before OUT takes its place ONNX Runtime runs them beside torch on random inputs; a difference above 1 % of the output's
spread is an error.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from focusdepth_core.engine import model_folder, samples, text_cache
from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.int8 import write_int8
from focusdepth_core.engine.model_folder import ModelFolder, variant
from focusdepth_core.engine.onnx_file import OPSETS, Artefact, write
from focusdepth_core.engine.open import open_model
from focusdepth_core.engine.parity import differences, example
from focusdepth_core.engine.precision import write_variants
from focusdepth_core.engine.prompted import Geometry, Prompted, Vision, Whole, some_text
from focusdepth_core.engine.self_check import answered
from focusdepth_core.engine.settings import PRECISIONS, EngineSettings
from focusdepth_core.engine.shared_weights import share
from focusdepth_core.engine.staged import TOLD
from focusdepth_core.engine.torch_backend import PLAIN
from focusdepth_core.engine.whole_folder import replaced
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.model.focusdepth import FocusDepth

CONFIG, WEIGHTS, TEXTS, SAMPLES = "config.json", "model.safetensors", "texts.npz", "self_check.npz"
ONNX = [
    variant(Path(f"{name}.onnx"), precision).name
    for name in ("focus", "vision", "prompt", "geometry", "plain")
    for precision in PRECISIONS
]
WRITTEN = (CONFIG, WEIGHTS, PLAIN, TEXTS, SAMPLES, model_folder.WEIGHTS, *ONNX)
KEPT = ("README.md", "LICENSE")  # a model card that is already there
CALIBRATION_IMAGES = 64
PER_TARGET = ("boxes", "has_box", "text", "text_mask", "prior", "maps", "mask_logits", "presence")


def export(
    model: Union[str, Path],
    out: Path,
    plain: Union[str, Path, None] = None,
    name: Optional[str] = None,
    opset: int = OPSETS[0],
    texts: Sequence[str] = (),
    calibration: Optional[Manifest] = None,
) -> dict[str, float]:
    """Write the folder ``out``; ``model``, ``plain``: folders or hub ids; ``name``: of the model; None: of ``out``;
    ``calibration``: images for networks in INT8.

    Returns the largest difference from torch of each output, in its standard deviations. Raises ``ValueError`` for
    weights that cannot be had, texts that the model cannot read, two models that do not fit, a graph with operations
    that TensorRT does not take, or too large a difference; ``out`` then stays as it was.
    """
    out = out.resolve()
    if out in [Path(given).resolve() for given in (model, plain) if given is not None]:
        raise ValueError(f"{out} is a model to read, whose weights would be rounded to FP16; give another folder")
    if opset not in OPSETS:
        raise ValueError(f"opset = {opset}; there are {' and '.join(map(str, OPSETS))}")
    focus = _rounded(FocusDepth.from_pretrained(model))
    baseline = focus if plain is None else _rounded(FocusDepth.from_pretrained(plain))
    texts = list(dict.fromkeys(text_cache.normalised(text) for text in texts))
    takes_text = "text" in focus.prompt.takes
    _check(focus, baseline, texts)
    with replaced(out, WRITTEN, KEPT) as part:
        if takes_text:
            text_cache.write(part / TEXTS, texts, *_encoded(focus, texts))
        artefacts = _artefacts(focus, baseline.geometry)
        written = []
        for key, artefact in tqdm(artefacts.items(), desc="networks", unit="file"):
            write(artefact, part / f"{key}.onnx", opset)
            written += [part / f"{key}.onnx", *write_variants(part / f"{key}.onnx")]
        share(written, part / model_folder.WEIGHTS)
        focus.save_pretrained(part, name or out.name)
        _halve(part / WEIGHTS)
        if baseline is not focus:
            save_file({k: v.half() for k, v in baseline.geometry.state_dict().items()}, part / PLAIN)
        files = {key: f"{key}.onnx" for key in artefacts} | ({"texts": TEXTS} if takes_text else {})
        settings = EngineSettings(inputs={key: artefact.shapes for key, artefact in artefacts.items()})
        _add(part / CONFIG, {"files": files, "engine": asdict(settings)})
        parity = differences(focus, baseline.geometry, part)
        _add(part / CONFIG, {"export": {"opset": opset, "max_difference_from_torch": parity}})
        if _write_samples(part):
            _add(part / CONFIG, {"files": files | {"samples": SAMPLES}})
        if calibration is not None:
            _write_int8(part, calibration)
    return parity


def _write_samples(folder: Path) -> bool:
    model = ModelFolder.read(folder)
    networks = open_model(model, "onnxruntime")
    try:
        samples.write(folder / SAMPLES, answered(model, networks._asdict(), networks.texts))
    except EngineError as error:
        warnings.warn(f"engines of this model will be unverified: {error}", stacklevel=3)
        return False
    return True


def _write_int8(folder: Path, calibration: Manifest) -> None:
    model = ModelFolder.read(folder)
    texts = open_model(model, "onnxruntime").texts
    for network, figures in write_int8(model, texts, calibration, CALIBRATION_IMAGES).items():
        faults = figures.faults(model.engine.thresholds)
        if faults:
            warnings.warn(
                f"{network} is left out in INT8, as it fails the self-check: {', '.join(faults)}", stacklevel=3
            )


def _rounded(model: FocusDepth) -> FocusDepth:
    """With weights that FP16 holds, as they will be shipped, and attention in plain steps."""
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            module.set_attn_implementation("eager")  # TensorRT has computed fused attention wrongly in FP16
    return model.eval()


def _check(focus: FocusDepth, baseline: FocusDepth, texts: Sequence[str]) -> None:
    nets = [replace(model.config.geometry, weights=None) for model in (focus, baseline)]
    if nets[0] != nets[1]:
        raise ValueError(f"the plain model has another geometry branch, {nets[1]}, than the model, {nets[0]}")
    if texts and "text" not in focus.prompt.takes:
        raise ValueError(
            f"texts = {texts[0]}, ...: this model takes {', '.join(sorted(focus.prompt.takes))} and no text"
        )


@torch.no_grad()
def _encoded(model: FocusDepth, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Features N,L,C and mask N,L of N texts, which may be none."""
    features, mask = model.prompt.encode_text(texts or [some_text(model.prompt)])
    return features[: len(texts)].numpy(), mask[: len(texts)].numpy()


@torch.no_grad()
def _artefacts(focus: FocusDepth, plain: nn.Module) -> dict[str, Artefact]:
    """By the name of their file."""
    given = example(focus, 3)
    image = {"image": given["image"]}
    last = {"plain": Artefact(plain, image, ("depth",))}
    per_target = frozenset(PER_TARGET)
    if not focus.prompt.side:
        whole = Whole(focus)
        return {"focus": Artefact(whole, given, whole.outputs, per_target)} | last
    seen = Vision(focus)(given["prompt_image"])
    prompts = {k: given[k] for k in ("boxes", "has_box", "text", "text_mask")}
    told = {k: given[k] for k in TOLD}
    *maps, _ = Prompted(focus)(seen, **prompts)
    names = tuple(f"maps_{i}" for i in range(len(maps)))
    return {
        "vision": Artefact(
            Vision(focus), {"prompt_image": given["prompt_image"]}, tuple(f"features_{i}" for i in range(len(seen)))
        ),
        "prompt": Artefact(
            Prompted(focus), {"features": seen, **prompts}, (*names, "mask_logits"), per_target | set(names)
        ),
        "geometry": Artefact(Geometry(focus), {**image, **told, "maps": tuple(maps)}, ("depth",), per_target),
    } | last


def _halve(path: Path) -> None:
    """Weights that FP16 holds, stored as FP16."""
    save_file({k: v.half() if v.is_floating_point() else v.clone() for k, v in load_file(path).items()}, path)


def _add(path: Path, values: dict[str, Any]) -> None:
    config = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="folder or hub id of a FocusDepth model")
    parser.add_argument("out", type=Path, help="folder to write; a model that is there is replaced, its card stays")
    parser.add_argument(
        "--plain",
        help="model whose depth net answers frames without a target, such as the fine-tuned baseline; default: MODEL",
    )
    parser.add_argument("--name", help="of the model in config.json; default: the name of OUT")
    parser.add_argument(
        "--opset", type=int, choices=OPSETS, default=OPSETS[0], help="18, or 16 for TensorRT 8.5 (JetPack 5)"
    )
    parser.add_argument(
        "--texts",
        nargs="+",
        default=[],
        metavar="TEXT",
        help="what targets may be called, or files with a text in each line; others will be refused",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="MANIFEST",
        help=f"of FDE-Bench: write INT8 networks, too, with ranges from {CALIBRATION_IMAGES} of its images",
    )


def run(args: argparse.Namespace) -> None:
    texts = [text for given in args.texts for text in _texts(given)]
    calibration = None if args.calibration is None else Manifest.open(args.calibration)
    given = (args.model, args.out, args.plain, args.name, args.opset, texts, calibration)
    for output, difference in export(*given).items():
        print(f"{output}: differs from torch by at most {difference:.2g} standard deviations")
    for file in sorted(args.out.iterdir()):
        print(f"{file.stat().st_size / 1e6:9.2f} MB  {file}")


def _texts(given: str) -> list[str]:
    path = Path(given)
    if not path.is_file():
        return [given]
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
