from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.tensorrt_build import build, runtime
from tests.engine import fake_tensorrt
from tests.engine.fake_cudart import FakeCudart
from tests.engine.fake_tensorrt import VERSIONS, Fake
from tests.tiny_model import write_model_folder

pytest.importorskip("onnxruntime")
PROFILES = {"boxes": ((1, 4), (2, 4), (4, 4))}
WEAK = {"FP16", "INT8", "PREFER_PRECISION_CONSTRAINTS"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return fake_tensorrt.install(monkeypatch)


def make(path: Path, report: Any = lambda fraction, phase: None, **changes: Any) -> bytes:
    return build(path, **{"precision": "fp32", "profiles": PROFILES, "workspace_mb": 64, "report": report, **changes})


def mixed(path: Path) -> Path:
    """y = float(half(x) * weight) + 1, with the weight in FP16."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy"]
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["half", "weight"], ["product"]),
        helper.make_node("Cast", ["product"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["single", "one"], ["y"]),
    ]
    constants = {"weight": np.full(4, 2, np.float16), "one": np.ones(4, np.float32)}
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "mixed", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_types_of_the_file_rule_in_every_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, precision: str
) -> None:
    fake = fake_tensorrt.install(monkeypatch, version)
    make(mixed(tmp_path / "mixed.onnx"), precision=precision, profiles={})
    assert ("TF32" in fake.flags) == (precision != "fp32")
    if fake.major >= 10:
        assert fake.network_flags == {"STRONGLY_TYPED"} and not fake.flags & WEAK
        return
    assert fake.network_flags == {"EXPLICIT_BATCH"}
    assert fake.flags & WEAK == WEAK - ({"INT8"} if precision != "int8" else set())
    held = {layer.get_output(0).name for layer in fake.layers if hasattr(layer, "_constrained")}
    assert held == {"single", "y"} and all(layer.precision == layer.get_output(0).dtype for layer in fake.layers)


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_a_file_without_fp16_asks_for_none(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    fake = fake_tensorrt.install(monkeypatch, version)
    make(folder / "focus.onnx")
    assert not fake.flags & WEAK and not any(hasattr(layer, "_constrained") for layer in fake.layers)
    assert fake.workspace == 64 << 20


def test_progress_is_reported_in_the_callers_thread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("focusdepth_core.engine.tensorrt_build.REPORT_EVERY_S", 0.01)
    for version, told in (("10.3.0", (0.5, "Building")), ("8.5.3.1", (0.0, "for "))):
        said: list[tuple[float, str]] = []
        enough = threading.Event()

        def report(fraction: float, phase: str, said: Any = said, enough: Any = enough) -> None:
            assert threading.current_thread() is threading.main_thread()
            said.append((fraction, phase))
            if len(said) >= 5:
                enough.set()

        fake_tensorrt.install(monkeypatch, version).while_building = lambda enough=enough: enough.wait(60)
        make(folder / "focus.onnx", report)
        assert told in [(fraction, phase[: len(told[1])]) for fraction, phase in said]
        assert [fraction for fraction, _ in said] == sorted(fraction for fraction, _ in said)


def test_an_interrupt_cancels_the_build(folder: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("focusdepth_core.engine.tensorrt_build.REPORT_EVERY_S", 0.01)
    interrupted = threading.Event()

    def interrupt(fraction: float, phase: str) -> None:
        raise KeyboardInterrupt

    fake.while_building = lambda: interrupted.wait(60)
    with pytest.raises(KeyboardInterrupt):
        make(folder / "focus.onnx", interrupt)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "TensorRT build")
    interrupted.set()
    thread.join(60)
    assert fake.cancelled


@pytest.mark.parametrize("content", [None, b"", b"not a network"])
def test_a_file_that_is_no_network_is_named(tmp_path: Path, fake: Fake, content: Any) -> None:
    path = tmp_path / "focus.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match="focus.onnx cannot be read by tensorrt 10.3.0: node -1: ") as caught:
        make(path)
    assert "\n" not in str(caught.value)


def test_a_free_axis_without_sizes_is_named(folder: Path, fake: Fake) -> None:
    with pytest.raises(EngineError, match=r"focus.onnx: input 'boxes' is \[-1, 4\] and no sizes are given for it"):
        make(folder / "focus.onnx", profiles={})


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "Error Code 10: Could not find any\nimplementation for node",
            "focus.onnx: Error Code 10: Could not find any imp",
        ),
        ("Requested amount of GPU memory (8 bytes) could not be allocated.", "out of memory; close other programs"),
    ],
)
def test_a_build_that_fails_gives_tensorrts_reason(folder: Path, fake: Fake, said: str, sentence: str) -> None:
    fake.build_error = said
    with pytest.raises(EngineError, match=f"tensorrt 10.3.0 cannot build focus.onnx: .*{sentence}|{sentence}"):
        make(folder / "focus.onnx")


def test_an_unknown_precision_lists_the_known(folder: Path) -> None:
    with pytest.raises(ValueError, match="precision 'bf16' is unknown; known: fp32, fp16, int8"):
        make(folder / "focus.onnx", precision="bf16")


def test_the_runtime_of_a_machine(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    found = runtime()
    assert (found.flavour, found.version, found.gpu) == ("tensorrt", "10.3.0", "NVIDIA Fake")
    assert (found.compute_capability, found.cuda, found.memory_mb) == ("9.0", "12.6", 1024) and found.driver


def test_a_machine_that_cannot(fake: Fake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.cuda.status = 35
    with pytest.raises(EngineError, match="cudaErrorInsufficientDriver; the NVIDIA driver is missing or older"):
        runtime()
    with pytest.raises(EngineError, match="tensorrt 10.3.0 does not start: CUDA initialization failure with error: 35"):
        make(folder / "focus.onnx")
    fake_tensorrt.install(monkeypatch, "1.7.1.116", "tensorrt_rtx", FakeCudart(gpu="H100"))
    with pytest.raises(EngineError, match=r"tensorrt_rtx 1.7.1.116 does not run on H100 \(compute capability 9.0\)"):
        runtime()
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match="TensorRT cannot be imported .*; it comes with JetPack, and elsewhere with"):
        runtime()
