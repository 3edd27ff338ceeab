"""Turn a training run into a model folder: ``python -m focusdepth_core.engine.export RUN OUT --name NAME``.

OUT gets ``focus.onnx`` (image and boxes), ``plain.onnx`` (image alone: the fine-tuned baseline), the same weights as
FP16 safetensors, and ``config.json``. The ONNX files store FP16 weights and compute in FP32. Both are compared with
torch on random inputs before the folder takes its place; a difference above 1 % of the output's spread is an error.

This module alone of the running side needs torch.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from torch import nn

from focusdepth_core.engine.model_folder import SCHEMA
from focusdepth_core.engine.onnxruntime_backend import OnnxRuntimeEngine
from focusdepth_core.fde_bench.batches import MEAN, STD
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig

OPSET = 18
TOLERANCE = 0.01  # of the standard deviation of the torch output
MIN_FP16_VALUES = 256  # smaller tensors stay FP32


class _OneImage(nn.Module):
    """``image`` 1,3,h,w and ``boxes`` T,4 -> ``depth`` 1,h,w and ``mask_logits`` T,rows,columns."""

    def __init__(self, model: FocusDepth) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        depth, logits = self.model(image, boxes[None])
        return depth, logits[0]


def load_run(run: Path, phase: str) -> FocusDepth:
    """The model of a finished phase, its weights rounded to FP16 as they will be shipped."""
    config = FocusDepthConfig.from_dict(json.loads((run / "config.json").read_text()))
    model = FocusDepth(config)
    model.load_state_dict({k: v.half().float() for k, v in load_file(run / f"{phase}.safetensors").items()})
    return model.eval()


def export(run: Path, out: Path, name: str) -> dict[str, float]:
    """Write the model folder; returns the largest difference from torch of each output, in standard deviations.

    Raises ``ValueError`` if ONNX Runtime and torch disagree by more than TOLERANCE.
    """
    focus, plain = load_run(run, "stage2"), load_run(run, "baseline").geometry
    prompted, geometry = _OneImage(focus).eval(), focus.config.geometry
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    torch.manual_seed(0)
    image = torch.randn(1, 3, geometry.height, geometry.width)
    boxes = torch.tensor([[0.4, 0.5, 0.3, 0.4], [0.7, 0.6, 0.2, 0.2]])
    count = torch.export.Dim("targets", min=1, max=64)
    both = {"image": image, "boxes": boxes}
    _to_onnx(prompted, both, {"image": None, "boxes": {0: count}}, part / "focus.onnx", ["depth", "mask_logits"])
    _to_onnx(plain, {"image": image}, {"image": None}, part / "plain.onnx", ["depth"])
    save_file({k: v.half() for k, v in focus.state_dict().items()}, part / "focus.safetensors")
    save_file({k: v.half() for k, v in plain.state_dict().items()}, part / "plain.safetensors")
    parity = _parity(prompted, part / "focus.onnx", {"image": image, "boxes": boxes[:1]})
    parity |= {f"plain_{k}": v for k, v in _parity(plain, part / "plain.onnx", {"image": image}).items()}
    (part / "config.json").write_text(json.dumps(_model_config(name, focus.config, parity), indent=1) + "\n")
    _replace(part, out)
    return parity


def _to_onnx(model: nn.Module, inputs: dict[str, torch.Tensor], dynamic: dict, path: Path, outputs: list[str]) -> None:
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple(dynamic.values()),
            verbose=False,
        )
    proto = program.model_proto
    _store_fp16(proto.graph)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _store_fp16(graph: onnx.GraphProto) -> None:
    """Keep large FP32 constants as FP16 behind a cast, which every runtime folds when it loads the file."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= MIN_FP16_VALUES:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.fp16"))
            casts.append(helper.make_node("Cast", [f"{name}.fp16"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # shapes of intermediates; runtimes infer them


def _parity(model: nn.Module, path: Path, inputs: dict[str, torch.Tensor]) -> dict[str, float]:
    with torch.no_grad():
        expected = model(*inputs.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    got = OnnxRuntimeEngine(path).run({k: v.numpy() for k, v in inputs.items()})
    result = {}
    for (name, value), want in zip(got.items(), expected):
        result[name] = float(np.abs(value - want.numpy()).max() / want.std())
        if not result[name] <= TOLERANCE:
            raise ValueError(
                f"{path.name}: output '{name}' differs from torch by {result[name]:.3g} standard deviations"
            )
    return result


def _model_config(name: str, config: FocusDepthConfig, parity: dict[str, float]) -> dict:
    size = {"width": config.geometry.width, "height": config.geometry.height}
    statistics = {"mean": [round(float(v), 4) for v in MEAN], "std": [round(float(v), 4) for v in STD]}
    return {
        "schema": SCHEMA,
        "name": name,
        "license": "Apache-2.0",
        "space": "affine_disparity",
        "prompts": ["box"],
        "input": size | statistics,
        "files": {"focus": "focus.onnx", "plain": "plain.onnx"},
        "architecture": config.to_dict(),
        "export": {"opset": OPSET, "max_difference_from_torch": {k: float(f"{v:.2g}") for k, v in parity.items()}},
    }


def _replace(part: Path, out: Path) -> None:
    """Move the finished folder into place, keeping a model card that is already there."""
    card = out / "README.md"
    if card.exists():
        shutil.copy2(card, part / card.name)
    if out.exists():
        shutil.rmtree(out)
    part.rename(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of python -m focusdepth_core.train")
    parser.add_argument("out", type=Path, help="model folder to write")
    parser.add_argument("--name", default="nano-sim", help="name of the model in config.json")
    args = parser.parse_args()
    for output, difference in export(args.run, args.out, args.name).items():
        print(f"{output}: differs from torch by at most {difference:.2g} standard deviations")
    for file in sorted(args.out.iterdir()):
        print(f"{file.stat().st_size / 1e6:7.2f} MB  {file}")


if __name__ == "__main__":
    main()
