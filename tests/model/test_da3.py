from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")
pytest.importorskip("depth_anything_3", reason="needs depth-anything-3, which focusdepth_core[train] does not install")

import torch
from depth_anything_3.cfg import create_object, load_config
from depth_anything_3.model.dinov2.vision_transformer import DinoVisionTransformer
from depth_anything_3.model.dpt import DPT
from depth_anything_3.model.dualdpt import DualDPT
from depth_anything_3.registry import MODEL_REGISTRY
from depth_anything_3.utils.logger import LOG_LEVELS, logger
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.base import pyramid_grids
from focusdepth_core.model.geometry.da3 import INSTALL, LICENCES, VARIANTS, DepthAnything3, DepthAnything3Config
from focusdepth_core.model.mssa import MSSAConfig
from focusdepth_core.model.prompt.base import Prompt
from focusdepth_core.model.prompt.lite import LiteConfig
from focusdepth_core.perception.result import Space

SIZE = (42, 70)
GRID = (3, 5)
BOX = Prompt.box(torch.tensor([[[0.4, 0.5, 0.3, 0.4]]]))
TINY = {
    "small": replace(VARIANTS["small"], hidden=32, layers=4, heads=2, taps=(0, 1, 2, 3), start=2, features=16),
    "mono": replace(VARIANTS["mono"], hidden=32, layers=4, heads=2, taps=(0, 1, 2, 3), features=16),
}
TINY = {name: replace(sizes, channels=(8, 8, 16, 16)) for name, sizes in TINY.items()}


@pytest.fixture
def tiny(monkeypatch):
    for name, sizes in TINY.items():
        monkeypatch.setitem(VARIANTS, name, sizes)


def _branch(variant: str) -> DepthAnything3:
    return DepthAnything3(DepthAnything3Config(variant=variant, height=SIZE[0], width=SIZE[1]))


@torch.no_grad()
def _enliven(net: nn.Module) -> None:
    """Other values than zeros and ones, so that nothing is without effect, and depths that vary."""
    for name, p in net.named_parameters():
        p.copy_(
            torch.randn_like(p) * (0.3 if p.ndim == 1 else 1.2 / p[0].numel() ** 0.5) + (name.endswith("norm.weight"))
        )


class Original(nn.Module):
    """The package's encoder and head at any size, run as its own net runs them."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        s = VARIANTS[variant]
        starts = {"alt_start": s.start, "qknorm_start": s.start, "rope_start": s.start, "cat_token": s.multi_view}
        sizes = {"img_size": 518, "patch_size": 14, "embed_dim": s.hidden, "depth": s.layers, "num_heads": s.heads}
        self.backbone = nn.ModuleDict({"pretrained": DinoVisionTransformer(**sizes, **starts)})
        head = DualDPT if s.multi_view else DPT
        self.head = head(s.hidden * (1 + s.multi_view), features=s.features, out_channels=s.channels)
        self.taps = s.taps
        _enliven(self)

    def forward(self, image: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        features, _ = self.backbone["pretrained"].get_intermediate_layers(image[:, None], self.taps)
        return [f[0][:, 0] for f in features], self.head(features, *image.shape[2:], patch_start_idx=0).depth[:, 0]


def _publish(net: nn.Module, folder: Path, variant: str) -> None:
    """As the package's hub mixin writes it."""
    s = VARIANTS[variant]
    wrapper = nn.Module()
    wrapper.model = net
    save_model(wrapper, folder / "model.safetensors")
    config = {
        "net": {"out_layers": s.taps, "alt_start": s.start, "rope_start": s.start},
        "head": {"features": s.features, "out_channels": s.channels},
    }
    (folder / "config.json").write_text(json.dumps({"model_name": s.name, "config": config}))


@pytest.fixture(params=["small", "mono"])
def published(request, tiny, tmp_path):
    """A folder, what it holds and the branch for it."""
    torch.manual_seed(0)
    original = Original(request.param).eval()
    _publish(original, tmp_path, request.param)
    return tmp_path, original, _branch(request.param).eval()


@pytest.mark.parametrize("size", [SIZE, (56, 28), (518, 518)], ids=["wide", "high", "stored positions"])
@torch.no_grad()
def test_depth_and_tokens_equal_the_packages_bit_for_bit(published, size):
    folder, original, branch = published
    branch.load_pretrained(folder)
    image = torch.randn(1 if size[0] > 500 else 2, 3, *size)
    tokens, depth = original(image)
    assert depth.std() > 0.05 * depth.mean()
    assert all(torch.equal(a, b) for a, b in zip(branch.encode(image), tokens, strict=True))
    assert torch.equal(branch(image), depth)


@torch.no_grad()
def test_the_real_small_net_equals_the_package_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    original = create_object(load_config(MODEL_REGISTRY["da3-small"])).eval()
    _enliven(original.head)
    _publish(original, tmp_path, "small")
    branch = _branch("small").eval()
    branch.load_pretrained(tmp_path)
    image = torch.randn(1, 3, *SIZE)
    depth = original(image[:, None]).depth[:, 0]
    assert depth.std() > 0.01 * depth.mean()
    assert torch.equal(branch(image), depth)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_table_of_variants_agrees_with_the_package(variant):
    sizes = VARIANTS[variant]
    config = load_config(MODEL_REGISTRY[sizes.name])
    net, head = config.net, config.head
    assert net.name == {384: "vits", 768: "vitb", 1024: "vitl"}[sizes.hidden]
    assert {net.alt_start, net.qknorm_start, net.rope_start} == {sizes.start}
    assert tuple(net.out_layers) == sizes.taps and net.cat_token == sizes.multi_view
    assert head.dim_in == sizes.hidden * (1 + sizes.multi_view)
    assert (head.features, tuple(head.out_channels)) == (sizes.features, sizes.channels)
    assert head.__object__.name == ("DualDPT" if sizes.multi_view else "DPT")


@pytest.mark.parametrize(("variant", "millions"), [("small", 25.0), ("mono", 334.2), ("metric", 334.2)])
def test_published_sizes(variant, millions):
    with torch.device("meta"):
        branch = _branch(variant)
        assert branch(torch.zeros(1, 3, *SIZE)).shape == (1, *SIZE)
    assert sum(p.numel() for p in branch.parameters()) == pytest.approx(millions * 1e6, rel=0.005)


def test_what_each_variant_gives(tiny, monkeypatch):
    monkeypatch.setitem(VARIANTS, "metric", TINY["mono"])
    small, mono, metric = (_branch(v) for v in ("small", "mono", "metric"))
    assert (small.space, small.focal_px, small.token_channels) == (Space.AFFINE_DEPTH, None, 64)
    assert (mono.space, mono.focal_px, mono.token_channels) == (Space.AFFINE_DEPTH, None, 32)
    assert (metric.space, metric.focal_px) == (Space.METRIC, 300.0)


def test_licences():
    assert {n for n, licence in LICENCES.items() if licence != "Apache-2.0"} == {
        "depth-anything/DA3-LARGE",
        "depth-anything/DA3-LARGE-1.1",
    }
    assert DepthAnything3Config(weights="depth-anything/DA3-LARGE").licence == "CC-BY-NC-4.0"
    assert DepthAnything3Config(weights="somebody/else").licence == "unknown"


def test_missing_extra_and_misshaped_tensors_are_listed(published):
    folder, _, branch = published
    path = folder / "model.safetensors"
    state = load_file(path)
    del state["model.head.projects.0.weight"]
    wrong = "model.backbone.pretrained.cls_token"
    save_file(state | {wrong: torch.zeros(3), "model.gs_head.x": torch.zeros(1)}, path)
    with pytest.raises(ValueError) as error:
        branch.load_pretrained(folder)
    for part in ("1 missing: model.head.projects.0.weight", "1 extra: model.gs_head.x", f"shape: {wrong} (3,) instead"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("model_name", "da3metric-large", "model_name = .*, there da3metric-large"),
        ("config.net.out_layers", [0, 1, 2, 2], r"net.out_layers = \[0, 1, 2, 3\], there \[0, 1, 2, 2\]"),
        ("config.head.features", 8, "head.features = 16, there 8"),
    ],
)
def test_another_net_is_refused_with_the_field_and_both_values(published, place, value, message):
    folder, _, branch = published
    values = json.loads((folder / "config.json").read_text())
    *parents, last = place.split(".")
    inner = values
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        branch.load_pretrained(folder)


@pytest.mark.parametrize("variant", TINY)
def test_every_parameter_learns(tiny, variant):
    branch = _branch(variant)
    _enliven(branch)
    branch(torch.randn(1, 3, *SIZE)).log().std().backward()
    assert {n for n, p in branch.named_parameters() if p.grad is None} == set()
    parts = {id(p) for part in (branch.encoder, *branch.decoder) for p in part.parameters()}
    assert parts == {id(p) for p in branch.parameters()} and branch.unused == []


def _focused(variant: str, **mssa) -> FocusDepth:
    config = DepthAnything3Config(variant=variant, height=SIZE[0], width=SIZE[1])
    torch.manual_seed(0)
    model = FocusDepth(FocusDepthConfig(config, LiteConfig(width=16, depth=1, heads=2, stem=8), MSSAConfig(**mssa)))
    _enliven(model.geometry)
    return model.eval()


@pytest.mark.parametrize("variant", TINY)
@pytest.mark.parametrize("grids", ["tokens", "pyramid"])
@torch.no_grad()
def test_untrained_focusdepth_equals_the_plain_net_bit_for_bit(tiny, variant, grids):
    model, image = _focused(variant, grids=grids), torch.randn(1, 3, *SIZE)
    plain = model.geometry(image)
    assert plain.std() > 0.05 * plain.mean()
    assert torch.equal(model(image, BOX).depth[:, 0], plain)


@pytest.mark.parametrize("variant", TINY)
@torch.no_grad()
def test_each_step_gives_what_the_interface_says(tiny, variant):
    branch = _branch(variant).eval()
    tokens = branch.encode(torch.randn(2, 3, *SIZE))
    assert [tuple(t.shape) for t in tokens] == [(2, 15, branch.token_channels)] * 4
    pyramid = branch.pyramid(tokens, GRID)
    assert [tuple(p.shape) for p in pyramid] == [(2, 16, *grid) for grid in pyramid_grids(GRID)]
    fused = branch.fuse(pyramid, GRID)
    assert fused.shape == (2, 16, 8 * GRID[0], 8 * GRID[1])
    assert branch.predict(fused, GRID).shape == (2, *SIZE)


@torch.no_grad()
def test_a_focusdepth_with_it_is_saved_and_loaded(tiny, tmp_path):
    model, image = _focused("small"), torch.randn(1, 3, *SIZE)
    model.save_pretrained(tmp_path / "model")
    loaded = FocusDepth.from_pretrained(tmp_path / "model")
    assert loaded.config == model.config
    assert torch.equal(loaded(image, BOX).depth, model(image, BOX).depth)


@pytest.mark.parametrize(("variant", "opset"), [("small", 18), ("small", 16), ("mono", 16)])
@torch.no_grad()
def test_it_can_be_exported(tiny, tmp_path, variant, opset):
    onnx_file = pytest.importorskip("focusdepth_core.engine.onnx_file", reason="needs onnx and onnxruntime")
    import onnxruntime

    torch.manual_seed(0)
    branch, image = _branch(variant).eval(), torch.randn(1, 3, *SIZE)
    _enliven(branch)
    path = tmp_path / "da3.onnx"
    onnx_file.write(onnx_file.Artefact(branch, {"image": image}, ("depth",)), path, opset)  # refuses scatter
    (depth,) = onnxruntime.InferenceSession(path).run(None, {"image": image.numpy()})
    expected = branch(image)
    assert expected.std() > 0.05 * expected.mean()
    assert abs(depth - expected.numpy()).max() < 1e-4 * expected.std()


def test_building_a_net_prints_nothing(tiny, capfd, monkeypatch):
    monkeypatch.setattr(logger, "level", LOG_LEVELS["DEBUG"])
    _branch("small")
    assert capfd.readouterr() == ("", "")


def test_without_the_package_the_error_says_how_to_install_it(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "depth_anything_3.model.dualdpt", None)
    with pytest.raises(ValueError) as error:
        _branch("small")
    assert INSTALL in str(error.value) and "--no-deps depth-anything-3" in INSTALL


def test_an_input_of_broken_patches_is_refused():
    with pytest.raises(ValueError, match="width = 500 px is not a multiple of the 14 px patch"):
        DepthAnything3Config(width=500)
