"""SAM3 from files in the layout of facebook/sam3, and what it reads: text."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.model.prompt import sam3
from focusdepth_core.model.prompt.base import Prompt
from focusdepth_core.model.prompt.sam3 import Sam3Prompt, Sam3PromptConfig
from tests.model import tiny_sam3

NAME = "detector_model.detr_encoder.layers.1.mlp.fc1.weight"


def _load(folder, side=112) -> Sam3Prompt:
    branch = Sam3Prompt(Sam3PromptConfig(weights=str(folder), side=side, architecture=tiny_sam3.ARCHITECTURE))
    branch.load_pretrained(str(folder))
    return branch


@pytest.fixture(scope="module")
def tensors():
    return tiny_sam3.tensors()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tensors):
    return tiny_sam3.write(tmp_path_factory.mktemp("sam3"), tensors)


@pytest.fixture
def branch(folder):
    return _load(folder)


@pytest.mark.parametrize("side", [56, 112, 168])
@torch.no_grad()
def test_one_checkpoint_serves_every_side(folder, tensors, side):
    branch = _load(folder, side)
    for name, tensor in branch.state_dict().items():
        assert torch.equal(tensor, tensors[f"detector_model.{name}"])
    maps = branch(branch.encode_image(torch.randn(1, 3, side, side), []), Prompt.box(torch.full((1, 1, 4), 0.5)))
    assert maps.mask_logits.shape == (1, 1, side // 14 * 4, side // 14 * 4) and maps.mask_logits.std() > 0.1


@torch.no_grad()
def test_a_detector_saved_alone_has_no_prefix(tmp_path, tensors, branch):
    alone = {k.removeprefix("detector_model."): v for k, v in tensors.items() if k not in tiny_sam3.TRACKER}
    state = _load(tiny_sam3.write(tmp_path, alone)).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in branch.state_dict().items())


def test_what_never_runs_is_not_kept(branch, tensors):
    names = set(branch.state_dict())
    left_out = {k.removeprefix("detector_model.") for k in tensors if k not in tiny_sam3.TRACKER} - names
    kinds = {name.rpartition(".")[0].split(".")[0] for name in left_out}
    assert kinds == {"vision_encoder", "text_encoder", "mask_decoder", "detr_decoder", "dot_product_scoring"}
    assert {"mask_decoder.pixel_decoder.conv_layers.2.weight", "detr_decoder.query_embed.weight"} <= left_out
    assert "mask_decoder.pixel_decoder.conv_layers.1.weight" in names


def test_misfits_are_listed_in_one_error(tmp_path, tensors):
    wrong = {k: v for k, v in tensors.items() if k != NAME}
    wrong["detector_model.memory.weight"] = torch.ones(2)
    wrong["detector_model.text_projection.bias"] = torch.ones(7)
    folder = tiny_sam3.write(tmp_path, wrong)
    with pytest.raises(ValueError) as error:
        _load(folder)
    message = str(error.value)
    assert str(folder) in message and f"1 missing: {NAME}" in message
    assert "1 extra: detector_model.memory.weight" in message
    assert "detector_model.text_projection.bias (7,) instead of (32,)" in message
    assert "tracker" not in message


def test_a_folder_without_tokenizer_is_named(tmp_path, tensors):
    folder = tiny_sam3.write(tmp_path, tensors)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(OSError, match=r"has no tokenizer\.json"):
        _load(folder)


def test_text_is_encoded_once(branch, monkeypatch):
    first = branch.encode_text(["red mug", "cup", "red mug"])
    assert first.features.shape == (3, 32, 32) and first.mask.sum(1).tolist() == [4, 3, 4]
    assert torch.equal(first.features[0], first.features[2])
    monkeypatch.setattr(branch, "text_encoder", None)  # a second run would fail
    again = branch.encode_text(["cup", "red mug"])
    assert torch.equal(again.features, first.features[1:]) and torch.equal(again.mask, first.mask[1:])


def test_features_of_a_text_do_not_depend_on_its_company(branch, folder):
    together = branch.encode_text(["red mug", "cup", "a mug of another colour"])
    assert torch.equal(_load(folder).encode_text(["cup"]).features[0], together.features[1])


def test_the_texts_used_last_are_kept(branch, monkeypatch):
    monkeypatch.setattr(sam3, "TEXTS_KEPT", 2)
    branch.encode_text(["red", "mug"])
    branch.encode_text(["red"])
    branch.encode_text(["cup"])
    assert list(branch._texts) == ["red", "cup"]
    assert branch.encode_text(["a", "b", "c"]).mask.shape == (3, 32)  # more than are kept


def test_other_scripts_are_read_by_their_bytes(branch):
    cat, dog = branch.encode_text(["ねこ", "いぬ"]).features
    assert (cat - dog).abs().max() > 0.1


def test_case_and_spaces_are_one_text(branch):
    assert torch.equal(*branch.encode_text(["Red  Mug", "red mug"]).features)


@pytest.mark.parametrize("text", ["", " \t"])
def test_an_empty_text_is_refused(branch, text):
    with pytest.raises(ValueError, match="the text is empty"):
        branch.encode_text([text])


def test_a_text_that_is_too_long_is_refused_with_its_length(branch):
    branch.encode_text([" ".join(["mug"] * 30)])
    with pytest.raises(ValueError, match=r"is 33 tokens long, SAM3 reads 32.*shorten it"):
        branch.encode_text([" ".join(["mug"] * 31)])


def test_text_needs_the_weights_tokenizer():
    branch = Sam3Prompt(Sam3PromptConfig(weights=None, side=112, architecture=tiny_sam3.ARCHITECTURE))
    with pytest.raises(ValueError, match="'mug' cannot be read: the tokenizer comes with the weights"):
        branch.encode_text(["mug"])
