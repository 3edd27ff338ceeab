"""SAM3 in ONNX: the image encoder, and the prompt for any number of targets."""

from __future__ import annotations

import copy
import io

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import onnx
import onnxruntime
import torch
from torch import nn

from focusdepth_core.model.prompt.base import NEGATIVE, PADDING, POSITIVE, Prompt, TextFeatures
from focusdepth_core.model.prompt.sam3 import Sam3Prompt, Sam3PromptConfig
from tests.model import tiny_sam3

SIDE = 56
# What TensorRT cannot build, or only with plugins, and shapes that depend on values.
UNWANTED = {"GridSample", "NonZero", "RoiAlign", "ScatterElements", "ScatterND", "TopK", "Loop", "If", "Unique"}


class _Image(nn.Module):
    def __init__(self, branch: Sam3Prompt) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, image):
        return self.branch.encode_image(image, [])


class _Prompt(_Image):
    def forward(self, fine, middle, coarse, boxes, labels, features, mask):
        prompt = Prompt(boxes[None], labels[None], TextFeatures(features[None], mask[None]))
        maps = self.branch((fine, middle, coarse), prompt)
        return *maps.features, maps.mask_logits


@pytest.fixture(scope="module")
def branch():
    small = copy.deepcopy(tiny_sam3.ARCHITECTURE)
    small["vision_config"]["backbone_config"] |= dict(num_hidden_layers=2, global_attn_indexes=[1])
    for name in ("geometry_encoder_config", "detr_encoder_config"):
        small[name] = dict(small[name], num_layers=1)
    torch.manual_seed(0)
    return tiny_sam3.lively(Sam3Prompt(Sam3PromptConfig(weights=None, side=SIDE, architecture=small)))


@torch.no_grad()
def _current(module, inputs, per_target):
    """The exporter of today, opset 18."""
    count = {0: torch.export.Dim("targets", min=1, max=64)}
    dynamic = tuple(count if i in per_target else None for i in range(len(inputs)))
    names = [f"input_{i}" for i in range(len(inputs))]
    options = dict(dynamo=True, opset_version=18, input_names=names, dynamic_shapes=dynamic, verbose=False)
    return torch.onnx.export(module.eval(), inputs, **options).model_proto


@torch.no_grad()
def _older(module, inputs, per_target):
    """The one that still writes opset 16, for old TensorRT."""
    names, outputs = [f"input_{i}" for i in range(len(inputs))], [f"output_{i}" for i in range(5)]
    axes = {name: {0: "targets"} for name in [*(names[i] for i in per_target), *outputs]}
    file = io.BytesIO()
    options = dict(dynamo=False, opset_version=16, input_names=names, output_names=outputs, dynamic_axes=axes)
    torch.onnx.export(module.eval(), inputs, file, **options)
    return onnx.load_from_string(file.getvalue())


def _session(model, opset):
    assert [o.version for o in model.opset_import if not o.domain] == [opset]
    assert not {node.op_type for node in model.graph.node} & UNWANTED
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@torch.no_grad()
def _difference(session, module, inputs) -> float:
    got = session.run(None, {f"input_{i}": x.numpy() for i, x in enumerate(inputs)})
    expected = module(*inputs)
    assert len(got) == len(expected) and all(e.std() > 0.1 for e in expected)
    return max(float((torch.from_numpy(g) - e).abs().max()) for g, e in zip(got, expected))


def _prompts(branch, targets: int) -> tuple[torch.Tensor, ...]:
    """Box and text by turns, every third with a negative box."""
    generator = torch.Generator().manual_seed(targets)
    boxes = torch.rand(targets, 2, 4, generator=generator) * 0.4 + 0.2
    first, second = torch.full((targets,), POSITIVE), torch.full((targets,), PADDING)
    first[1::2], second[::3] = PADDING, NEGATIVE
    mask = torch.zeros(targets, branch.longest, dtype=torch.bool)
    mask[1::2, :5] = True
    features = torch.randn(targets, branch.longest, branch.width, generator=generator)
    return boxes, torch.stack([first, second], 1), features, mask


def test_the_image_encoder_in_onnx_computes_the_same(branch):
    image = (torch.randn(1, 3, SIDE, SIDE),)
    assert _difference(_session(_current(_Image(branch), image, []), 18), _Image(branch), image) < 1e-4


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("export", "opset"), [(_current, 18), (_older, 16)])
def test_the_prompt_in_onnx_computes_the_same_for_any_number_of_targets(branch, export, opset):
    with torch.no_grad():
        encoded = branch.encode_image(torch.randn(1, 3, SIDE, SIDE), [])
    model = export(_Prompt(branch), (*encoded, *_prompts(branch, 3)), range(3, 7))
    session = _session(model, opset)
    for targets in (1, 3, 6):
        assert _difference(session, _Prompt(branch), (*encoded, *_prompts(branch, targets))) < 1e-4
