from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cuda.frames import STATISTICS
from focusdepth_core.engine.model_folder import InputSpec, ModelFolder
from focusdepth_core.engine.tensorrt_backend import StalePlan, TensorRtEngine
from focusdepth_core.engine.tensorrt_build import build
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.frame_input import FrameInput, frame_input
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target
from tests.engine import fake_kernels, fake_tensorrt
from tests.engine.fake_cudart import FakeCudart
from tests.engine.fake_tensorrt import VERSIONS, Fake
from tests.tiny_model import HEIGHT, WIDTH, BoxEngine, write_model_folder

pytest.importorskip("onnxruntime")
PROFILES = {"boxes": ((1, 4), (2, 4), (4, 4))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return fake_tensorrt.install(monkeypatch)


@pytest.fixture
def plan(folder: Path, fake: Fake) -> bytes:
    return focus_plan(folder)


def focus_plan(folder: Path) -> bytes:
    quiet: Any = lambda fraction, phase: None  # noqa: E731
    return build(folder / "focus.onnx", precision="fp32", profiles=PROFILES, workspace_mb=64, report=quiet)


def inputs(targets: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    boxes = random.uniform(0.2, 0.8, (targets, 4)).astype(np.float32)
    return {"image": random.normal(size=(1, 3, HEIGHT, WIDTH)).astype(np.float32), "boxes": boxes}


def check(engine: TensorRtEngine, given: dict[str, np.ndarray]) -> None:
    outputs, expected = engine.run(given), BoxEngine().run(given)
    assert outputs.keys() == expected.keys()
    for name, want in expected.items():
        assert outputs[name].dtype == np.float32 and outputs[name].flags.owndata
        np.testing.assert_allclose(outputs[name], want, atol=1e-5)


@pytest.mark.parametrize("version", [*VERSIONS, "rtx"])
@pytest.mark.parametrize("integrated", [False, True])
def test_computes_for_any_number_of_targets_with_and_without_graphs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, version: str, integrated: bool
) -> None:
    cuda = FakeCudart(integrated=integrated, compute_capability=(8, 9))
    flavour = ("1.7.1.116", "tensorrt_rtx") if version == "rtx" else (version, "tensorrt")
    fake = fake_tensorrt.install(monkeypatch, *flavour, cuda)
    engine = TensorRtEngine(focus_plan(folder), "focus.onnx")
    assert engine.name == f"{flavour[1]} {flavour[0]}, NVIDIA Fake"
    for seed, targets in enumerate((1, 1, 1, 1, 3, 1, 4, 4, 4, 4)):
        check(engine, inputs(targets, seed))
    assert engine.replays and fake.cuda.launched >= 3
    engine.close()
    assert not fake.cuda.memory and not fake.cuda.handles


def test_a_graph_is_of_the_last_shapes(plan: bytes, fake: Fake) -> None:
    engine, replays = TensorRtEngine(plan, "focus.onnx"), []
    for targets in (1, 1, 1, 2, 2, 2):
        check(engine, inputs(targets))
        replays.append(engine.replays)
    assert replays == [False, True, True, False, True, True] and fake.cuda.launched == 2


def test_what_cannot_be_captured_runs_without_a_graph(
    plan: bytes, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.cuda.capturable = False
    engine = TensorRtEngine(plan, "focus.onnx")
    for seed in range(4):
        check(engine, inputs(2, seed))
    assert not engine.replays and fake.runs == 4
    assert caplog.messages == [
        "focus.onnx runs without a CUDA graph: cudaStreamEndCapture failed: cudaErrorStreamCaptureInvalidated"
    ]


def test_more_targets_than_it_was_built_for_are_refused_and_harm_nothing(plan: bytes) -> None:
    engine = TensorRtEngine(plan, "focus.onnx")
    check(engine, inputs(2))
    with pytest.raises(EngineError, match=r"'boxes' from \[1, 4\] to \[4, 4\], but was given \[5, 4\]; give fewer"):
        engine.run(inputs(5))
    check(engine, inputs(2))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, r"focus.onnx takes \['boxes', 'image'\], but was given \[\]"),
        ({**inputs(1), "image": np.zeros((1, 3, 1, 1), np.float32)}, r"float32 \[1, 3, 42, 56\], .*\[1, 3, 1, 1\]"),
        ({**inputs(1), "boxes": np.zeros((1, 4))}, r"'boxes' of focus.onnx is float32 \[None, 4\].*float64"),
    ],
)
def test_wrong_inputs_say_what_is_taken(plan: bytes, given: dict[str, np.ndarray], sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence):
        TensorRtEngine(plan, "focus.onnx").run(given)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda plan: b"", "Magic tag does not match"),
        (lambda plan: plan[:30], "truncated"),
        (lambda plan: plan[:-9] + b"\0" * 9, "Serialized engine is damaged"),
    ],
)
def test_damaged_plans_are_stale(plan: bytes, fake: Fake, spoilt: Any, reason: str) -> None:
    with pytest.raises(StalePlan, match=f"the engine of focus.onnx cannot be loaded by tensorrt 10.3.0: .*{reason}"):
        TensorRtEngine(spoilt(plan), "focus.onnx")
    assert not fake.cuda.memory and not fake.cuda.handles


def test_plans_of_other_versions_and_gpus_are_stale(plan: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch, "10.13.0.35")
    with pytest.raises(StalePlan, match="Version tag does not match"):
        TensorRtEngine(plan, "focus.onnx")
    fake_tensorrt.install(monkeypatch, cuda=FakeCudart(compute_capability=(8, 7)))
    with pytest.raises(StalePlan, match="incompatible device"):
        TensorRtEngine(plan, "focus.onnx")


def test_memory_of_the_gpu_used_up(plan: bytes, fake: Fake) -> None:
    fake.cuda.free = 40000
    with pytest.raises(EngineError, match="cudaMalloc failed: cudaErrorMemoryAllocation; the GPU's memory") as caught:
        TensorRtEngine(plan, "focus.onnx")
    assert not isinstance(caught.value, StalePlan) and not fake.cuda.memory and not fake.cuda.handles
    fake.cuda.free = 1 << 30
    engine = TensorRtEngine(plan, "focus.onnx")
    fake.run_error = "[virtualMemoryBuffer.cpp::resizePhysical] Error Code 2: OutOfMemory (no further information)"
    with pytest.raises(EngineError, match="focus.onnx cannot be run by tensorrt 10.3.0: out of memory; close other"):
        engine.run(inputs(1))
    fake.run_error = ""
    check(engine, inputs(1))


@pytest.mark.parametrize(("status", "sentence"), [(35, "driver is missing or older"), (100, "no GPU is visible")])
def test_no_driver_or_gpu(plan: bytes, fake: Fake, status: int, sentence: str) -> None:
    fake.cuda.status = status
    with pytest.raises(EngineError, match=f"CUDA cannot be used: cudaError[a-zA-Z]+; .*{sentence}"):
        TensorRtEngine(plan, "focus.onnx")


def test_a_closed_or_forgotten_engine_frees_the_gpu(plan: bytes, fake: Fake) -> None:
    engine = TensorRtEngine(plan, "focus.onnx")
    for _ in range(3):
        engine.run(inputs(1))
    engine.close()
    engine.close()
    assert not fake.cuda.memory and not fake.cuda.handles
    with pytest.raises(EngineError, match="focus.onnx is closed"):
        engine.run(inputs(1))
    forgotten = TensorRtEngine(plan, "focus.onnx")
    assert fake.cuda.memory
    del forgotten
    gc.collect()
    assert not fake.cuda.memory and not fake.cuda.handles


def test_stages_are_timed(plan: bytes) -> None:
    stages = dict.fromkeys(("prepare", "upload", "compute", "download"), 0.5)
    assert TensorRtEngine(plan, "focus.onnx").stages_ms(inputs(2)) == stages


def frame(rows: int, columns: int) -> FrameInput:
    rgb = np.random.default_rng(rows).integers(0, 256, (rows, columns, 3), np.uint8)
    return FrameInput(rgb, Letterbox(columns, rows, InputSpec(WIDTH, HEIGHT, *STATISTICS)))


@pytest.mark.parametrize("integrated", [False, True])
def test_frames_are_prepared_by_the_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch, integrated: bool) -> None:
    fake = fake_tensorrt.install(monkeypatch, cuda=FakeCudart(integrated=integrated))
    driver = fake_kernels.install(monkeypatch)
    engine = TensorRtEngine(focus_plan(folder), "focus.onnx")
    assert engine.takes_frames and len(driver.launched) == 4, "it has proven itself"
    assert engine.frames_by == "the GPU"
    replays = []
    for size in ((42, 56), (50, 60), (84, 112), (84, 112)):
        given = frame(*size)
        boxes = inputs(2)["boxes"]
        outputs = engine.run({"image": frame_input(engine, Frame(given.rgb), given.letterbox), "boxes": boxes})
        expected = BoxEngine().run({"image": np.asarray(given), "boxes": boxes})
        np.testing.assert_allclose(outputs["depth"], expected["depth"], atol=0.02)
        np.testing.assert_allclose(outputs["mask_logits"], expected["mask_logits"], atol=1e-5)
        replays.append(engine.replays)
    assert replays == [False, True, True, True] and len(driver.launched) == 8
    check(engine, inputs(2))
    assert not engine.replays, "the graph of frames is not that of arrays"
    engine.close()
    assert not fake.cuda.memory and not fake.cuda.handles


def test_where_the_gpu_prepares_frames_wrongly_the_cpu_does(plan: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_kernels.install(monkeypatch).wrong = 0.2
    engine = TensorRtEngine(plan, "focus.onnx")
    assert not engine.takes_frames and engine.frames_by.startswith("the CPU: 27 x 21 pixels differ by")
    given = frame(50, 60)
    assert isinstance(frame_input(engine, Frame(given.rgb), given.letterbox), np.ndarray)
    boxes = inputs(1)["boxes"]
    outputs = engine.run({"image": given, "boxes": boxes})
    np.testing.assert_allclose(outputs["depth"], np.asarray(given).mean(axis=1), atol=1e-5)


def test_the_pipeline_gives_frames_to_engines_that_take_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch)
    driver = fake_kernels.install(monkeypatch)
    model, engine = ModelFolder.read(folder), TensorRtEngine(focus_plan(folder), "focus.onnx")
    launched, target, given = len(driver.launched), Target("t", (10, 10, 60, 50)), Frame(frame(100, 130).rgb)
    result = Pipeline(model, engine, BoxEngine()).process(given, [target])
    expected = Pipeline(model, BoxEngine(), BoxEngine()).process(given, [target])
    assert len(driver.launched) == launched + 1
    np.testing.assert_allclose(result.relative_depth, expected.relative_depth, atol=0.03)
    np.testing.assert_array_equal(result.targets[0].mask, expected.targets[0].mask)
