from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch
from transformers import CLIPTokenizer

from focusdepth_core.model.prompt.base import NEGATIVE, PADDING, POSITIVE, Prompt, TextFeatures
from focusdepth_core.model.prompt.sam3 import Sam3Prompt, Sam3PromptConfig
from tests.model import tiny_sam3
from tests.model.roi_align import roi_align_by_definition

SIDE = 112
HERE, THERE = [0.25, 0.3, 0.3, 0.4], [0.75, 0.6, 0.3, 0.35]
BOX, TWO_TARGETS = Prompt.box(torch.tensor([[HERE]])), Prompt.box(torch.tensor([[HERE, THERE]]))
EXAMPLES = Prompt(  # two positive, one negative, one that is padding
    torch.tensor([[[HERE, THERE, [0.5, 0.9, 0.2, 0.1], [0.0, 0.0, 0.0, 0.0]]]]),
    torch.tensor([[[POSITIVE, POSITIVE, NEGATIVE, PADDING]]]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_sam3.write(tmp_path_factory.mktemp("sam3"), tiny_sam3.tensors())


def _config(folder, side=SIDE) -> Sam3PromptConfig:
    return Sam3PromptConfig(weights=str(folder), side=side, architecture=tiny_sam3.ARCHITECTURE)


def _load(folder, side=SIDE) -> Sam3Prompt:
    branch = Sam3Prompt(_config(folder, side))
    branch.load_pretrained(str(folder))
    return branch


@pytest.fixture(scope="module")
def branch(folder):
    return _load(folder)


@pytest.fixture(scope="module")
def image():
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def encoded(branch, image):
    return branch.encode_image(image, [])


def _words(branch, *texts: str) -> TextFeatures:
    return TextFeatures(*(x[None] for x in branch.encode_text(texts)))


def _with_text(branch, prompt: Prompt, *texts: str) -> Prompt:
    return replace(prompt, text=_words(branch, *texts))


@pytest.fixture(scope="module")
def reference(folder):
    """transformers' own model as transformers itself reads the same folder, with the operation that it lacks here."""
    module = importlib.import_module("transformers.models.sam3.modeling_sam3")
    net = module.Sam3Model.from_pretrained(folder, config=_config(folder).to_transformers()).eval()
    with pytest.MonkeyPatch.context() as patch:
        operations = SimpleNamespace(roi_align=roi_align_by_definition)
        patch.setattr(module, "torchvision", SimpleNamespace(ops=operations), raising=False)
        yield net


def _semantic_seg(net, folder, image, word, prompt=None):
    tokens = CLIPTokenizer.from_pretrained(folder)(word, padding="max_length", max_length=32, return_tensors="pt")
    boxes = {} if prompt is None else {"input_boxes": prompt.boxes[0], "input_boxes_labels": prompt.labels[0]}
    return net(pixel_values=image, **tokens, **boxes).semantic_seg


@pytest.mark.parametrize("text", ["red mug", "cup", "a cup that is not in the vocabulary"])
@torch.no_grad()
def test_text_gives_what_transformers_model_gives(branch, reference, folder, image, encoded, text):
    maps = branch(encoded, Prompt.words(_words(branch, text)))
    expected = _semantic_seg(reference, folder, image, text)
    assert expected.std() > 0.1
    assert torch.allclose(maps.mask_logits, expected, atol=1e-6 * expected.std(), rtol=0)


@pytest.mark.parametrize("prompt", [BOX, EXAMPLES], ids=["one", "several, negative, padding"])
@pytest.mark.parametrize("text", [None, "red mug"])
@torch.no_grad()
def test_boxes_give_what_transformers_model_gives(branch, reference, folder, image, encoded, prompt, text):
    maps = branch.tap(encoded, prompt if text is None else _with_text(branch, prompt, text))
    expected = _semantic_seg(reference, folder, image, text or "visual", prompt)
    assert expected.std() > 0.1
    assert torch.allclose(maps.mask_logits, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(maps.mask_logits, _semantic_seg(reference, folder, image, text or "visual"), atol=1e-2)


@torch.no_grad()
def test_maps_have_the_sizes_that_the_branch_declares(branch, encoded):
    maps = branch(encoded, TWO_TARGETS)
    assert [tuple(f.shape) for f in maps.features] == [(2, branch.width, *grid) for grid in branch.feature_grids]
    assert maps.mask_logits.shape == (2, 1, *branch.mask_grid) and branch.mask_grid == (32, 32)


@torch.no_grad()
def test_an_image_is_encoded_once_for_all_prompts(branch, image, encoded):
    again = branch.encode_image(image, [])
    for prompt in (BOX, Prompt.words(_words(branch, "mug"))):
        first, second = branch(encoded, prompt), branch(again, prompt)
        for a, b in zip([*first.features, first.mask_logits], [*second.features, second.mask_logits]):
            assert torch.equal(a, b)


@torch.no_grad()
def test_a_target_does_not_depend_on_the_others(branch, encoded):
    both = _with_text(branch, TWO_TARGETS, "red mug", "cup")
    together = branch(encoded, both)
    for i, text in enumerate(("red mug", "cup")):
        alone = branch(encoded, _with_text(branch, Prompt.box(both.boxes[:, i : i + 1, 0]), text))
        for a, b in zip([*alone.features, alone.mask_logits], [*together.features, together.mask_logits]):
            assert torch.allclose(a[0], b[i], atol=1e-4)
    assert not torch.allclose(together.features[0][0], together.features[0][1], atol=0.1)


@torch.no_grad()
def test_images_of_a_batch_do_not_mix(branch, image):
    images = torch.cat([image, image.flip(3)])
    boxes = torch.tensor([[HERE, THERE], [THERE, HERE]])
    batched = branch(branch.encode_image(images, []), Prompt.box(boxes))
    single = branch(branch.encode_image(images[1:], []), Prompt.box(boxes[1:]))
    assert torch.allclose(batched.mask_logits[2:], single.mask_logits, atol=1e-3)
    assert not torch.allclose(batched.mask_logits[:2], single.mask_logits, atol=0.1)


@torch.no_grad()
def test_box_text_and_both_differ(branch, encoded):
    text = _words(branch, "red mug")
    prompts = (BOX, Prompt.words(text), replace(BOX, text=text), _with_text(branch, BOX, "cup"))
    features = [branch(encoded, p).features[0] for p in prompts]
    for i, a in enumerate(features):
        assert all((a - b).abs().mean() > 1e-2 for b in features[:i])


@torch.no_grad()
def test_targets_with_and_without_text_or_box_in_one_prompt(branch, encoded):
    """Two targets: a box without text, a text without box."""
    text, no_text = branch.encode_text(["red mug"]), torch.zeros(1, 32, dtype=torch.bool)
    mixed = Prompt(
        torch.tensor([[[HERE], [THERE]]]),
        torch.tensor([[[POSITIVE], [PADDING]]]),
        TextFeatures(text.features.expand(2, -1, -1)[None], torch.cat([no_text, text.mask])[None]),
    )
    got = branch(encoded, mixed).mask_logits
    assert torch.allclose(got[:1], branch(encoded, BOX).mask_logits, atol=1e-4)
    assert torch.allclose(got[1:], branch(encoded, Prompt.words(_words(branch, "red mug"))).mask_logits, atol=1e-4)


@torch.no_grad()
def test_a_box_means_this_object_where_two_look_alike(branch):
    tile = torch.randn(1, 3, SIDE // 2, SIDE // 2, generator=torch.Generator().manual_seed(2))
    encoded = branch.encode_image(tile.repeat(1, 1, 2, 2), [])  # four of the same
    here = Prompt.box(torch.tensor([[[0.25, 0.25, 0.3, 0.3]]]))
    alike, this = (f(encoded, here).mask_logits for f in (branch.tap, branch))
    inside, twin = (slice(0, 1), slice(0, 1), *[slice(5, 11)] * 2), (slice(0, 1), slice(0, 1), *[slice(21, 27)] * 2)
    assert torch.equal(this[inside], alike[inside])
    assert torch.allclose(this[twin], alike[twin] - 20, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(branch(encoded, here).features, branch.tap(encoded, here).features))


def test_the_branch_is_frozen_and_never_drops_anything_out(branch, encoded):
    assert not any(p.requires_grad for p in branch.parameters())
    assert not any(m.training for m in branch.train().modules())
    assert torch.equal(branch(encoded, BOX).features[3], branch(encoded, BOX).features[3])


def test_published_sizes_on_the_meta_device():
    config = Sam3PromptConfig()
    with torch.device("meta"):
        whole = tiny_sam3.sam3_class()(config.to_transformers())
        ours = Sam3Prompt(config)
    count = {n: sum(p.numel() for p in m.parameters()) / 1e6 for n, m in [("", whole), *whole.named_children()]}
    assert count[""] == pytest.approx(840.4, rel=0.01)
    assert count["vision_encoder"] == pytest.approx(454.0, rel=0.01)
    assert count["text_encoder"] == pytest.approx(353.5, rel=0.01)
    assert sum(p.numel() for p in ours.parameters()) / 1e6 == pytest.approx(840.4 - 15, abs=0.1)
    assert ours.mask_grid == (288, 288) and ours.feature_grids[3] == (72, 72) and ours.width == 256
    assert config.licence == "LicenseRef-SAM"


@pytest.mark.parametrize("side", [0, 500, 504, 1344])
def test_a_side_that_wastes_windows_is_refused(side):
    with pytest.raises(ValueError, match=f"side = {side} px.* use 336, 672, 1008"):
        Sam3PromptConfig(side=side)


def test_an_image_of_another_size_is_refused(branch):
    with pytest.raises(ValueError, match=r"\(112, 98\) px; this SAM3 takes 112 x 112"):
        branch.encode_image(torch.zeros(1, 3, 112, 98), [])


def test_a_mask_is_refused(branch, encoded):
    with pytest.raises(ValueError, match="has a mask; the sam3 branch as configured takes: box, boxes, text"):
        branch(encoded, Prompt.mask(torch.ones(1, 1, 32, 32)))
