"""TensorRT from model folder to networks: each fault ends in a rebuild, an announced fallback or one clear error."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.engine import tensorrt_build
from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cache import cache_folder
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.open import open_engine, open_model
from tests.engine import fake_tensorrt
from tests.engine.fake_tensorrt import Fake
from tests.engine.provable import INPUTS, write_provable
from tests.tiny_model import HEIGHT, WIDTH, BoxEngine, write_model_folder

pytest.importorskip("onnxruntime")

GIVEN = {"image": np.random.default_rng(0).normal(size=(1, 3, HEIGHT, WIDTH)).astype(np.float32)}
GIVEN["boxes"] = np.array([[0.5, 0.5, 0.4, 0.4], [0.3, 0.3, 0.2, 0.2]], np.float32)


class Room:
    """A model folder, a cache, a TensorRT, and what was reported."""

    def __init__(self, folder: Path, fake: Fake) -> None:
        self.fake, self.said = fake, list[str]()
        self.model = write_provable(folder)

    def open(self, backend: str = "auto"):
        """Returns the networks; ``said`` and ``fake.builds`` are of this time alone."""
        self.said.clear()
        self.fake.builds.clear()
        return open_model(self.model, backend, 1, self.said.append)

    def change(self, **engine: object) -> None:
        path = self.model.path / "config.json"
        values = json.loads(path.read_text())
        values["engine"].update(engine)
        path.write_text(json.dumps(values))
        self.model = ModelFolder.read(self.model.path)

    def wrong_in(self, *precisions: str) -> None:
        """The newest engine answers noise if it is of one of these."""

        def outputs(name: str, value: np.ndarray) -> np.ndarray:
            built = self.fake.builds[-1].split(".")
            precision = built[1] if len(built) == 3 else "fp32"
            return -value if precision in precisions and name == "depth" else value

        self.fake.outputs_of = outputs


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setenv("FOCUSDEPTH_CACHE", str(tmp_path / "cache"))
    return Room(tmp_path / "model", fake_tensorrt.install(monkeypatch))


def engines() -> list[Path]:
    return sorted(cache_folder().glob("*.engine"))


def test_auto_builds_once_and_says_what_runs_and_why(room: Room) -> None:
    networks = room.open()
    assert room.fake.builds == ["focus.fp16.onnx", "plain.fp16.onnx"]
    assert networks.focus.name == "tensorrt 10.3.0, NVIDIA Fake"
    assert room.said[-1] == f"runs on {networks.focus.name}: {networks.why}"
    assert "focus in fp16, plain in fp16; frames are prepared by the CPU: " in networks.why
    outputs, expected = networks.focus.run(GIVEN), BoxEngine().run(GIVEN)
    for name, want in expected.items():
        np.testing.assert_allclose(outputs[name], want, atol=1e-5)
    room.open()
    assert room.fake.builds == [] and len(room.said) == 1


def test_progress_and_the_time_left_are_told(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_build, "REPORT_EVERY_S", 0.01)
    room.fake.while_building = lambda: time.sleep(0.1)
    room.open()
    assert any(re.fullmatch(r"building engine focus.fp16.onnx: 50 %, about \d s left", s) for s in room.said), room.said


def test_a_tensorrt_that_tells_no_progress_is_told_to_be_busy(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_build, "REPORT_EVERY_S", 0.01)
    room.fake = fake_tensorrt.install(monkeypatch, "8.6.1")
    room.fake.while_building = lambda: time.sleep(0.1)
    room.open()
    assert "building engine focus.fp16.onnx: for 0 s" in room.said


@pytest.mark.parametrize(
    "damage", [lambda plan: plan[:-10], lambda plan: b"", lambda plan: b"not an engine", lambda plan: plan[::-1]]
)
def test_a_damaged_engine_is_built_again(room: Room, damage) -> None:
    room.open()
    for path in engines():
        path.write_bytes(damage(path.read_bytes()))
    networks = room.open()
    assert room.fake.builds == ["focus.fp16.onnx", "plain.fp16.onnx"] and "tensorrt" in networks.focus.name
    assert any("the one in the cache is not what was written there" in sentence for sentence in room.said)
    room.open()
    assert room.fake.builds == []


def test_an_engine_of_an_older_tensorrt_is_built_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.open()
    room.fake = fake_tensorrt.install(monkeypatch, "10.13.0.35")
    assert "tensorrt 10.13" in room.open().focus.name
    assert len(room.fake.builds) == 2 and len(engines()) == 4


def test_an_engine_of_another_gpu_in_place_of_ours_is_built_again(room: Room) -> None:
    """As if somebody had copied the cache and given the files our names."""
    room.open()
    ours = engines()
    room.fake.cuda.compute_capability = (8, 7)
    room.open()
    theirs = [path for path in engines() if path not in ours]
    for one, other in zip(ours, theirs):
        one.write_bytes(other.read_bytes())
        manifest = json.loads(one.with_suffix(".json").read_text())
        manifest["plan_sha256"] = json.loads(other.with_suffix(".json").read_text())["plan_sha256"]
        one.with_suffix(".json").write_text(json.dumps(manifest))
    room.fake.cuda.compute_capability = (9, 0)
    room.open()
    assert len(room.fake.builds) == 2
    assert any("incompatible device" in sentence for sentence in room.said)


def test_an_edited_network_is_built_again(room: Room) -> None:
    room.open()
    path = room.model.path / "focus.fp16.onnx"
    path.write_bytes(path.read_bytes() + b"\x3a\x00")  # an empty graph, which is merged into the first
    room.open()
    assert room.fake.builds == ["focus.fp16.onnx"]


def test_more_targets_need_another_engine(room: Room) -> None:
    networks = room.open()
    many = {**GIVEN, "boxes": np.tile(GIVEN["boxes"], (3, 1))}
    with pytest.raises(EngineError, match=r"was built for 'boxes' from \[1, 4\] to \[4, 4\].*given \[6, 4\]"):
        networks.focus.run(many)
    room.change(max_targets=6)
    assert room.open().focus.run(many)["mask_logits"].shape[0] == 6
    assert room.fake.builds == ["focus.fp16.onnx"], "the other network has no targets"


def test_an_engine_for_fewer_targets_than_the_samples_have_is_judged_all_the_same(room: Room) -> None:
    room.change(max_targets=1)
    assert "focus in fp16" in room.open("tensorrt").why


@pytest.mark.parametrize(
    "damage",
    [
        lambda verdict: "passed",
        lambda verdict: {**verdict, "figures": None},
        lambda verdict: {**verdict, "figures": {"deviation": 0.0}},
        lambda verdict: {**verdict, "figures": {**verdict["figures"], "deviation": "small"}},
    ],
)
def test_a_verdict_that_is_damaged_or_of_other_figures_is_found_anew(room: Room, damage) -> None:
    room.open()
    (path,) = cache_folder().glob("focus-*.json")
    good, runs = json.loads(path.read_text()), room.fake.runs
    path.write_text(json.dumps({**good, "verdict": damage(good["verdict"])}))
    room.open("tensorrt")
    assert json.loads(path.read_text()) == good and room.fake.runs == runs + 2 and room.fake.builds == []


@pytest.mark.parametrize(("status", "reason"), [(35, "driver"), (100, "GPU")])
def test_without_a_driver_or_a_gpu_another_backend_runs_and_says_why(room: Room, status: int, reason: str) -> None:
    room.fake.cuda.status = status
    networks = room.open()
    assert networks.focus.name == "onnxruntime, CPU" and reason in networks.why
    assert room.said == [f"runs on onnxruntime, CPU: {networks.why}"]
    with pytest.raises(EngineError, match=reason):
        room.open("tensorrt")


def test_without_tensorrt_another_backend_runs_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    networks = open_model(write_provable(tmp_path))
    assert networks.focus.name.startswith("onnxruntime, ") and "TensorRT cannot be imported" in networks.why


def test_out_of_memory_while_building_is_told_and_another_backend_runs(room: Room) -> None:
    room.fake.build_error = "Error Code 2: OutOfMemory (Requested size was 123 bytes.)"
    networks = room.open()
    assert networks.focus.name == "onnxruntime, CPU" and engines() == []
    assert any(s.startswith("TensorRT is not used: ") and "out of memory; close other programs" in s for s in room.said)
    assert room.fake.builds == ["focus.fp16.onnx"], "more precision takes more memory"
    with pytest.raises(EngineError, match="out of memory"):
        room.open("tensorrt")


def test_out_of_memory_while_loading_does_not_build_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.open()
    room.fake.cuda.free = 1000
    with pytest.raises(EngineError, match="memory"):
        room.open("tensorrt")
    room.fake.cuda.free = 1 << 30
    monkeypatch.setattr(fake_tensorrt, "_fault", lambda fake, plan: "Error Code 1: Cuda Runtime (out of memory)")
    with pytest.raises(EngineError, match="cannot be loaded by tensorrt 10.3.0: out of memory; close other programs"):
        room.open("tensorrt")
    assert room.fake.builds == [] and len(engines()) == 2


def test_out_of_memory_while_running_is_one_error(room: Room) -> None:
    networks = room.open()
    room.fake.run_error = "Error Code 1: Cuda Runtime (out of memory)"
    with pytest.raises(EngineError, match="focus.fp16.onnx cannot be run by tensorrt 10.3.0: out of memory"):
        networks.focus.run(GIVEN)


@pytest.mark.parametrize(
    ("wrong", "used", "builds"),
    [(("fp16",), "mixed", 2), (("fp16", "mixed"), "fp32", 3)],
)
def test_what_fails_the_self_check_is_computed_more_precisely(room: Room, wrong, used: str, builds: int) -> None:
    room.wrong_in(*wrong)
    networks = room.open("tensorrt")
    assert f"focus in {used}, plain in {used}" in networks.why and len(room.fake.builds) == 2 * builds
    sentence = "the engine of focus is not used in fp16: it does not pass its self-check: deviation 2"
    assert sentence in " ".join(room.said)
    room.open("tensorrt")
    assert room.fake.builds == [], "what was found is remembered"
    assert sentence in " ".join(room.said)


@pytest.mark.parametrize(
    ("failing", "used"), [(("fp16",), "mixed"), (("fp16", "mixed"), "fp32"), (("fp16", "mixed", "onnx"), "")]
)
def test_what_cannot_be_built_is_built_more_precisely(room: Room, failing: tuple[str, ...], used: str) -> None:
    def refuse() -> None:
        is_refused = room.fake.builds[-1].split(".")[1] in failing  # focus.onnx is in fp32
        room.fake.build_error = "Error Code 10: no implementation for node 7" if is_refused else ""

    room.fake.while_building = refuse
    sentence = (
        "focus is not used in fp16: tensorrt 10.3.0 cannot build focus.fp16.onnx: Error Code 10: no implementation"
    )
    if used:
        assert f"focus in {used}, plain in {used}" in room.open("tensorrt").why
    else:
        with pytest.raises(EngineError, match="in no precision .fp16: .*node 7; mixed: .*node 7; fp32: .*node 7"):
            room.open("tensorrt")
    assert sentence in " ".join(room.said)


def test_what_cannot_be_run_is_computed_more_precisely(room: Room) -> None:
    def answers(name: str, value: np.ndarray) -> np.ndarray:
        if room.fake.builds[-1] == "focus.fp16.onnx":
            raise EngineError("an illegal memory access was encountered")
        return value

    room.fake.outputs_of = answers
    assert "focus in mixed, plain in fp16" in room.open("tensorrt").why
    assert "the engine of focus is not used in fp16: an illegal memory access was encountered" in room.said


def test_what_fails_in_every_precision_is_refused_with_the_figures(room: Room) -> None:
    room.wrong_in("fp16", "mixed", "fp32")
    with pytest.raises(EngineError, match="focus of model tiny rightly in no precision .fp16: it .* fp32: it"):
        room.open("tensorrt")
    networks = room.open()
    assert networks.focus.name == "onnxruntime, CPU"
    assert any(s.startswith("TensorRT is not used: tensorrt 10.3.0 on NVIDIA Fake computes") for s in room.said)


def test_the_verdict_is_kept_with_driver_and_figures_and_is_found_anew_for_another_driver(room: Room) -> None:
    room.open()
    (path,) = cache_folder().glob("focus-*.json")
    verdict = json.loads(path.read_text())["verdict"]
    assert verdict["gpu"] == "NVIDIA Fake" and verdict["driver"] and verdict["figures"]["mask_iou"] == 1
    runs = room.fake.runs
    room.open()
    assert room.fake.runs == runs, "nothing is checked twice"
    others = {"driver": "470.1", "check": 0, "samples_sha256": "of others", "engines": ["of an older vision stage"]}
    for checks, (name, value) in enumerate(others.items(), 1):
        values = json.loads(path.read_text())
        values["verdict"][name] = value
        path.write_text(json.dumps(values))
        room.open()
        assert room.fake.runs == runs + 2 * checks and room.fake.builds == []


def test_other_limits_judge_what_was_found(room: Room) -> None:
    room.open()
    room.change(thresholds={"deviation": 0.0})
    with pytest.raises(EngineError, match="deviation .* is above 0"):
        room.open("tensorrt")


def test_without_samples_the_engine_is_unverified(room: Room) -> None:
    write_model_folder(room.model.path, engine={"inputs": INPUTS})
    room.model = ModelFolder.read(room.model.path)
    assert "tensorrt" in room.open().focus.name
    assert any(sentence.startswith("engine unverified: ") for sentence in room.said)


def test_a_folder_of_an_older_export_says_how_to_renew_it(room: Room) -> None:
    write_model_folder(room.model.path)
    room.model = ModelFolder.read(room.model.path)
    with pytest.raises(EngineError, match="lacks networks with engine.inputs .*focusdepth_core.engine export"):
        room.open("tensorrt")


def test_what_the_folder_lacks_is_passed_over(room: Room) -> None:
    (room.model.path / "focus.fp16.onnx").unlink()
    assert "focus in mixed, plain in fp16" in room.open().why


def test_one_file_is_no_model_folder(room: Room) -> None:
    with pytest.raises(EngineError, match="focus.onnx is an ONNX file; tensorrt runs whole model folders"):
        open_engine(room.model.path / "focus.onnx", "tensorrt")
