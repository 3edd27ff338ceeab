"""Features kept on disk: equal to fresh ones, and refused where they do not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch
from safetensors.torch import load_file

from focusdepth_core.model.focusdepth import Features, FocusDepth, FocusDepthConfig
from focusdepth_core.training import cache as module
from focusdepth_core.training.cache import FeatureCache, bytes_each, check_room
from focusdepth_core.training.data import training_batches
from focusdepth_core.training.recipe import PromptShares
from focusdepth_core.training.run import train
from focusdepth_core.training.step import predict
from tests.training.tiny import AS_IT_IS, GEOMETRY, STAGES, config

PLAIN_STAGES = tuple(replace(stage, augment=AS_IT_IS) for stage in STAGES)


def size_of(folder):
    return sum(f.stat().st_size for f in folder.rglob("*.safetensors"))


@torch.no_grad()
@pytest.mark.parametrize("prompt", ["lite", "sam3"])
def test_cached_features_equal_fresh_ones(data, tmp_path, sam3, prompt):
    settings = config(tmp_path, data, stages=PLAIN_STAGES, prompts=PromptShares(1, 0, 0))
    if prompt == "sam3":
        model = FocusDepthConfig(GEOMETRY, sam3)
        settings = replace(settings, model=model, prompts=PromptShares(1, 1, 1))
    torch.manual_seed(0)
    model = FocusDepth.from_branches(settings.model).eval()
    for scale in model.mssa.scales:
        torch.nn.init.normal_(scale.expert_out.weight, std=0.5)
    batches = list(training_batches(settings, PLAIN_STAGES[1], model.prompt, range(2)))
    expected = [predict(model, batch, kinds) for batch, kinds in batches]
    for encode in (model.geometry.encode, None):  # not needed the second time
        model.geometry.encode = encode
        cache = FeatureCache(tmp_path / "cache", model, torch.float32)
        for (batch, kinds), fresh in zip(batches, expected):
            kept = cache.features(batch, kinds)
            assert isinstance(kept, Features) == (prompt == "sam3")
            got = predict(model, batch, kinds, kept)
            assert torch.allclose(got.depth, fresh.depth, atol=1e-5 * fresh.depth.std())
            assert torch.allclose(got.mask_logits, fresh.mask_logits, atol=1e-5 * fresh.mask_logits.std())
    ids = [name for batch, _ in batches for name in batch.ids]
    images, targets = ({name.partition("/")[0] for name in ids}, set(ids))
    per_image, per_target = bytes_each(model, torch.float32)
    assert (per_target > 0) == (prompt == "sam3")
    least = len(images) * per_image + len(targets) * per_target
    assert least < size_of(tmp_path / "cache") < least + 20_000, "what is said is what is taken, but for the headers"


def test_a_cached_run_ends_like_an_uncached_one(data, tmp_path):
    settings = config(tmp_path / "with", data, stages=PLAIN_STAGES[:3], baseline=None, cache=tmp_path / "cache")
    train(settings)
    train(replace(settings, out=tmp_path / "without", cache=None))
    ends = [load_file(tmp_path / run / "stages/stage2/last.safetensors") for run in ("with", "without")]
    apart = {k: (ends[0][k] - ends[1][k]).abs().max().item() for k in ends[0] if not k.endswith("bias")}
    assert max(apart.values()) < 1e-5, max(apart, key=apart.get)
    assert size_of(tmp_path / "cache") > 0


def test_other_weights_never_read_the_same_files(data, tmp_path):
    settings = config(tmp_path, data, stages=PLAIN_STAGES)
    model = FocusDepth(settings.model).eval()
    batch, kinds = next(training_batches(settings, PLAIN_STAGES[1], model.prompt, range(1)))
    before = FeatureCache(tmp_path, model, torch.float32).features(batch, kinds)
    with torch.no_grad():
        next(model.geometry.encoder.parameters()).add_(0.5)
    after = FeatureCache(tmp_path, model, torch.float32).features(batch, kinds)
    assert not torch.equal(before[0], after[0])


def test_a_net_that_computes_otherwise_from_the_same_weights_has_its_own_files(data, tmp_path):
    model = FocusDepth(config(tmp_path, data).model)
    other = FocusDepth(replace(model.config, geometry=replace(model.config.geometry, heads=4)))
    other.load_state_dict(model.state_dict())
    folders = {FeatureCache(tmp_path, net, torch.float32)._folder for net in (model, other)}
    assert len(folders) == 2


def test_a_damaged_file_is_computed_again(data, tmp_path):
    settings = config(tmp_path, data, stages=PLAIN_STAGES)
    model = FocusDepth(settings.model).eval()
    batch, kinds = next(training_batches(settings, PLAIN_STAGES[1], model.prompt, range(1)))
    first = FeatureCache(tmp_path, model, torch.float32).features(batch, kinds)
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:50])
    again = FeatureCache(tmp_path, model, torch.float32).features(batch, kinds)
    assert torch.equal(first[3], again[3])


def test_a_cache_that_does_not_fit_its_disk_is_refused_before_the_run(data, tmp_path, monkeypatch):
    settings = config(tmp_path, data, stages=PLAIN_STAGES, cache=tmp_path / "cache")
    model = FocusDepth(settings.model)
    assert "6 images" in check_room(settings, model) and "0.00 GB" in check_room(settings, model)
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(ValueError, match="cache = .* GB .*name a folder on another disk, or cache: null"):
        check_room(settings, model)
