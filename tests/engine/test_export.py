"""Export of the lite model: the folder equals torch for any number of targets, is whole, and replaces nothing else."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn

from focusdepth_core.engine import __main__ as command
from focusdepth_core.engine import samples
from focusdepth_core.engine.export import export
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.onnx_file import OPSETS, Artefact, ExportError, write
from focusdepth_core.engine.open import open_engine, open_model, open_network
from focusdepth_core.engine.parity import example
from focusdepth_core.engine.prompted import Whole
from focusdepth_core.engine.self_check import check
from focusdepth_core.engine.settings import Thresholds
from focusdepth_core.engine.whole_folder import replaced
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
from focusdepth_core.model.prompt.lite import LiteConfig

GEOMETRY = DepthAnythingV2Config(height=42, width=56, hidden=16, layers=4, heads=2, neck=(8, 8, 8, 8), fusion=8, head=8)
CONFIG = FocusDepthConfig(GEOMETRY, LiteConfig(width=16, depth=1, heads=2, stem=8))


def trained(config: FocusDepthConfig, seed: int) -> FocusDepth:
    """As if trained: the experts of MSSA no longer answer zero."""
    torch.manual_seed(seed)
    model = FocusDepth(config)
    for scale in model.mssa.scales:
        nn.init.normal_(scale.expert_out.weight, std=0.5)
    return model.eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trained(CONFIG, 0).save_pretrained(folder / "focus")
    trained(CONFIG, 1).save_pretrained(folder / "baseline")
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """By the faster exporter; the other one has a test of its own."""
    out = tmp_path_factory.mktemp("exported") / "toy"
    export(run / "focus", out, run / "baseline", opset=16)
    return out


def inputs(targets: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(targets)
    boxes = random.uniform(0.2, 0.8, (targets, 4))
    return {
        name: value.astype(np.float32)
        for name, value in (("image", random.normal(size=(1, 3, 42, 56))), ("boxes", boxes))
    }


def weights(proto: onnx.ModelProto) -> dict[str, int]:
    """Types of the large constants."""
    return {tensor.name: tensor.data_type for tensor in proto.graph.initializer if np.prod(tensor.dims) >= 1000}


@pytest.mark.parametrize("targets", [1, 3, 8])
def test_onnx_equals_torch_for_any_number_of_targets(exported, targets):
    model = ModelFolder.read(exported)
    onnx_runtime, reference = open_model(model, "onnxruntime", 1), open_model(model, "torch")
    given = inputs(targets)
    got, expected = onnx_runtime.focus.run(given), reference.focus.run(given)
    assert got["mask_logits"].shape == (targets, 24, 32)
    for name, want in expected.items():
        assert want.std() > 0.01 * np.abs(want).mean(), "a constant output would prove nothing"
        np.testing.assert_allclose(got[name], want, atol=1e-3 * want.std())
    image = {"image": given["image"]}
    want = reference.plain.run(image)["depth"]
    np.testing.assert_allclose(onnx_runtime.plain.run(image)["depth"], want, atol=1e-3 * want.std())


def test_opset_18_equals_torch_for_any_number_of_targets(run, tmp_path):
    net, given = Whole(FocusDepth.from_pretrained(run / "focus")), example(FocusDepth.from_pretrained(run / "focus"), 3)
    for tensor in net.state_dict().values():
        tensor.copy_(tensor.half())
    artefact = Artefact(net, given, ("depth", "mask_logits"), frozenset({"boxes", "mask_logits"}))
    write(artefact, tmp_path / "focus.onnx", 18)
    proto = onnx.load(tmp_path / "focus.onnx")
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 18)]
    half = [kind == onnx.TensorProto.FLOAT16 for kind in weights(proto).values()]
    assert sum(half) > len(half) / 2, "the file is small"
    engine = open_engine(tmp_path / "focus.onnx", threads=1)
    for targets in (1, 3, 8):
        tensors = {name: torch.from_numpy(value) for name, value in inputs(targets).items()}
        with torch.no_grad():
            expected = net(**tensors)
        for got, want in zip(engine.run(inputs(targets)).values(), expected):
            np.testing.assert_allclose(got, want, atol=1e-3 * float(want.std()))


def test_the_plain_network_is_the_baselines(exported, run):
    with torch.no_grad():
        want = FocusDepth.from_pretrained(run / "baseline").geometry(torch.from_numpy(inputs(1)["image"]))
    got = open_model(ModelFolder.read(exported)).plain.run({"image": inputs(1)["image"]})["depth"]
    np.testing.assert_allclose(got, want.numpy(), atol=0.02 * float(want.std()))  # FP16 weights


def test_the_files_are_small_portable_and_described(exported):
    config = json.loads((exported / "config.json").read_text())
    files = {"focus": "focus.onnx", "plain": "plain.onnx", "samples": "self_check.npz"}
    assert config["name"] == "toy" and config["files"] == files
    image = [1, 3, 42, 56]
    assert config["engine"]["inputs"] == {"focus": {"image": image, "boxes": ["targets", 4]}, "plain": {"image": image}}
    assert ModelFolder.read(exported).engine.thresholds == Thresholds()
    assert config["export"]["max_difference_from_torch"].keys() == {"depth", "mask_logits", "plain_depth"}
    for name in ("focus", "plain"):
        proto = onnx.load(exported / f"{name}.onnx")
        assert [(o.domain, o.version) for o in proto.opset_import] == [("", config["export"]["opset"])]
        assert str(Path(__file__).parents[2]).encode() not in proto.SerializeToString(), "a path of this machine"
        assert not any(node.op_type == "Cast" and node.input[0] in weights(proto) for node in proto.graph.node)
    assert FocusDepth.from_pretrained(exported).config == CONFIG


@pytest.mark.parametrize("precision", ["fp32", "fp16", "mixed"])
@pytest.mark.parametrize("network", ["focus", "plain"])
def test_every_precision_passes_the_self_check_that_comes_with_it(exported, network, precision):
    model = ModelFolder.read(exported)
    figures = check(model, open_network(model, network, precision, 1), network, samples.read(model.samples), None)
    assert figures.faults(model.engine.thresholds) == []
    swapped = [replace(sample, plain=sample.focus, focus=sample.plain) for sample in samples.read(model.samples)]
    figures = check(model, open_network(model, network, precision, 1), network, swapped, None)
    assert figures.faults(model.engine.thresholds), "the two networks are not told apart"


def test_without_mujoco_engines_will_be_unverified(run, tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "_rendered", lambda width, height: __import__("no_such_simulator"))
    with pytest.warns(UserWarning, match="will be unverified: scenes cannot be rendered, .*no_such_simulator"):
        export(run / "focus", tmp_path / "model", opset=16)
    assert ModelFolder.read(tmp_path / "model").samples is None


class Attention(nn.Module):
    def __init__(self, hides):
        super().__init__()
        self.mask = torch.zeros(1, 1, 6, 6)
        self.mask[..., 4:] = -1e4 if hides else 0

    def forward(self, x):
        return (x @ x.transpose(2, 3) + self.mask).softmax(3)


@pytest.mark.parametrize("hides", [False, True])
def test_a_mask_that_hides_nothing_costs_nothing(tmp_path, hides):
    net, x = Attention(hides), torch.randn(1, 2, 6, 3)
    write(Artefact(net, {"x": x}, ("y",)), tmp_path / "net.onnx", 16)
    assert ("Add" in {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}) == hides
    np.testing.assert_allclose(open_engine(tmp_path / "net.onnx").run({"x": x.numpy()})["y"], net(x), atol=1e-6)


def test_the_image_encoder_has_no_mask(exported):
    graph = onnx.load(exported / "plain.onnx").graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    softened = [made_by[node.input[0]] for node in graph.node if node.op_type == "Softmax"]
    assert len(softened) == 4 and "Add" not in softened


class Refused(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("TopK", lambda x: x.flatten().topk(3).values),
        ("NonZero", lambda x: x[x > 0]),
        ("GridSample", lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1))),
        ("ScatterElements", lambda x: x.scatter(3, torch.zeros_like(x, dtype=torch.long), 1.0)),
    ],
)
def test_operations_that_engines_refuse_are_named_with_their_node(tmp_path, operation, call):
    artefact = Artefact(Refused(call), {"x": torch.randn(1, 3, 4, 4)}, ("y",))
    with pytest.raises(ExportError, match=f"net.onnx: node '.+' is a {operation}, which TensorRT does not take"):
        write(artefact, tmp_path / "net.onnx", 16)


def test_a_net_is_in_evaluation_mode_in_the_file_and_after(tmp_path):
    net = nn.Sequential(nn.Dropout(0.9))
    write(Artefact(net, {"input": torch.ones(1, 100)}, ("y",)), tmp_path / "net.onnx", 16)
    assert not net[0].training
    np.testing.assert_array_equal(
        open_engine(tmp_path / "net.onnx").run({"input": np.ones((1, 100), np.float32)})["y"], 1
    )


def test_a_difference_from_torch_leaves_the_old_folder(run, tmp_path, monkeypatch):
    monkeypatch.setattr("focusdepth_core.engine.parity.TOLERANCE", 0.0)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("kept")
    with pytest.raises(ExportError, match="depth: ONNX Runtime differs from torch"):
        export(run / "focus", tmp_path / "model", opset=16)
    assert (tmp_path / "model" / "config.json").read_text() == "kept"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "model"
    for content in ("first", "second"):
        with replaced(folder, ["file"], ["README.md"]) as part:
            (part / "file").write_text(content)
        (folder / "README.md").write_text("card")
    with pytest.raises(OSError, match="disk"), replaced(folder, ["file"], ["README.md"]) as part:
        (part / "file").write_text("third")
        raise OSError("no space left on disk")
    assert (folder / "file").read_text() == "second" and (folder / "README.md").read_text() == "card"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_the_files_of_others_are_never_replaced(run, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="would be replaced, but thesis.tex is not of a model; give another folder"):
        export(run / "focus", tmp_path)
    for out in ("focus", "baseline"):
        with pytest.raises(ValueError, match="is a model to read"):
            export(run / "focus", run / out, run / "baseline")
    assert (tmp_path / "thesis.tex").exists() and (run / "focus" / "model.safetensors").exists()


def test_what_does_not_fit_the_model_is_refused(run, tmp_path):
    trained(replace(CONFIG, geometry=replace(GEOMETRY, fusion=16)), 0).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="the plain model has another geometry branch, .*fusion=16"):
        export(run / "focus", tmp_path / "out", tmp_path / "other")
    with pytest.raises(ValueError, match="opset = 17; there are 18 and 16"):
        export(run / "focus", tmp_path / "out", opset=17)
    with pytest.raises(ValueError, match="texts = red mug, ...: this model takes box and no text"):
        export(run / "focus", tmp_path / "out", texts=["red mug"])
    assert not (tmp_path / "out").exists()


def test_the_command_exports_and_says_what_it_wrote(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "model"
    arguments = ["export", str(run / "focus"), str(out), "--opset", "16", "--name", "mine"]
    monkeypatch.setattr(sys, "argv", ["engine", *arguments])
    command.main()
    assert ModelFolder.read(out).name == "mine"
    said = capsys.readouterr().out
    assert "mask_logits: differs from torch by at most" in said and "focus.onnx" in said
    (tmp_path / "texts.txt").write_text("red mug\n\ncup\n")
    monkeypatch.setattr(sys, "argv", ["engine", *arguments, "--texts", str(tmp_path / "texts.txt")])
    with pytest.raises(SystemExit, match="texts = red mug, ...: this model takes box"):
        command.main()
    monkeypatch.setattr(sys, "argv", ["engine", "export", str(tmp_path / "nowhere"), str(out)])
    with pytest.raises(SystemExit, match="nowhere"):
        command.main()


def test_a_model_of_texts_and_masks_has_its_inputs_and_presence(tmp_path):
    prompt = replace(CONFIG.prompt, text=8, words=("red", "mug"), prior=True)
    model = trained(replace(CONFIG, prompt=prompt), 0)
    model.prompt.threshold.fill_(0.3)
    model.save_pretrained(tmp_path / "focus")
    export(tmp_path / "focus", tmp_path / "model", opset=16, texts=["The red mug"])
    folder = ModelFolder.read(tmp_path / "model")
    assert folder.mask_grid == (24, 32) and folder.presence_threshold == pytest.approx(0.3, abs=1e-3)
    assert folder.prompts == ("box", "text", "mask")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["export"][
        "max_difference_from_torch"
    ].keys() == {*("depth", "mask_logits", "presence", "plain_depth")}
    given = {name: value.detach().numpy() for name, value in example(model, 2).items()}
    focus = open_model(folder, "onnxruntime").focus
    with_prior, without = focus.run(given), focus.run({**given, "prior": 0 * given["prior"]})
    assert with_prior["presence"].shape == (2,) and 0 < with_prior["presence"].min() < with_prior["presence"].max() < 1
    moved = np.abs(with_prior["mask_logits"] - without["mask_logits"]).max((1, 2))
    assert moved[0] < 1e-4 < 1e-2 < moved[1], "of the two targets the second alone has a mask of an earlier frame"


@pytest.mark.parametrize("opset", OPSETS)
def test_a_model_of_boxes_and_masks_takes_both(tmp_path, opset):
    model = trained(replace(CONFIG, prompt=replace(CONFIG.prompt, prior=True)), 0)
    model.save_pretrained(tmp_path / "focus")
    export(tmp_path / "focus", tmp_path / "model", opset=opset)
    folder = ModelFolder.read(tmp_path / "model")
    assert folder.prompts == ("box", "mask")
    given = {name: value.detach().numpy() for name, value in example(model, 2).items()}
    assert list(given) == ["image", "boxes", "prior"]
    for focus in (open_model(folder, "onnxruntime").focus, open_model(folder, "torch").focus):
        with_prior, without = focus.run(given), focus.run({**given, "prior": 0 * given["prior"]})
        moved = np.abs(with_prior["mask_logits"] - without["mask_logits"]).max((1, 2))
        assert moved[0] < 1e-4 < 1e-2 < moved[1], "of the two targets the second alone has a mask"
