"""The engine commands as a user types them, on a TensorRT that computes on the host."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.engine import __main__ as command
from focusdepth_core.engine import verify
from focusdepth_core.engine.cache import cache_folder
from focusdepth_core.engine.console import progress
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.tensorrt_backend import TensorRtEngine
from focusdepth_core.engine.timing import SETTLE, TIMED, WARM_UP, interleaved, quantiles, timed
from tests.engine import fake_tensorrt
from tests.engine.fake_tensorrt import Fake
from tests.engine.provable import write_provable
from tests.tiny_model import write_model_folder

pytest.importorskip("onnxruntime")
pytest.importorskip("rich")

DAY_S = 86400


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setenv("FOCUSDEPTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return fake_tensorrt.install(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_provable(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*arguments: object) -> str:
        """What it prints."""
        monkeypatch.setattr(sys, "argv", ["engine", *map(str, arguments)])
        command.main()
        return capsys.readouterr().out

    return run


def engines() -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in cache_folder().glob("*.engine"))


@pytest.mark.parametrize("name", command.COMMANDS)
def test_help_teaches(call, capsys: pytest.CaptureFixture[str], name: str) -> None:
    if name in ("export", "bench"):
        pytest.importorskip("torch", reason="needs focusdepth_core[train]")
    with pytest.raises(SystemExit) as end:
        call(name, "--help")
    said = capsys.readouterr().out
    assert end.value.code == 0 and f"python -m focusdepth_core.engine {name}" in said


def test_build_shows_the_verdict_and_the_node_starts_at_once(call, fake: Fake, model: Path) -> None:
    said = call("build", model)
    assert said.count("passed") == 2 and said.count("fp16") >= 2
    assert engines() == ["focus-fp16", "plain-fp16"]
    call("build", model)
    assert len(fake.builds) == 2


def test_build_writes_what_it_is_told_to_where_the_node_reads_it(call, fake: Fake, model: Path) -> None:
    call("build", model, "--precision", "fp32", "--max-targets", 6)
    settings = ModelFolder.read(model).engine
    assert (settings.precision, settings.max_targets) == ("fp32", 6) and settings.inputs
    assert engines() == ["focus-fp32", "plain-fp32"]
    with pytest.raises(SystemExit, match="--max-targets 0; give a number from 1 on"):
        call("build", model, "--max-targets", 0)


@pytest.mark.parametrize(("status", "sentence"), [(35, "driver"), (100, "GPU")])
def test_build_without_a_gpu_is_one_sentence(call, fake: Fake, model: Path, status: int, sentence: str) -> None:
    fake.cuda.status = status
    with pytest.raises(SystemExit, match=sentence) as end:
        call("build", model)
    assert "\n" not in str(end.value)


def test_verify_judges_every_backend_and_precision_anew(call, fake: Fake, model: Path) -> None:
    said = call("verify", model)
    assert "onnxruntime, CPU" in said and "tensorrt 10.3.0, NVIDIA Fake" in said
    assert said.count("passed") == 12 and said.count("plain mixed") == 2
    fake.outputs_of = lambda name, value: 1.5 * value if name == "depth" else value
    with pytest.raises(SystemExit) as end:
        call("verify", model)
    assert end.value.code == 1


def test_verify_goes_on_after_what_cannot_be_built(call, capsys, fake: Fake, model: Path) -> None:
    def refuse() -> None:
        fake.build_error = "no implementation for node 7" if fake.builds[-1] == "focus.fp16.onnx" else ""

    fake.while_building = refuse
    with pytest.raises(SystemExit) as end:
        call("verify", model)
    shown = capsys.readouterr()
    assert end.value.code == 1 and shown.out.count("passed") == 11 and "deviation inf is above 0.05" in shown.out
    assert "tensorrt: focus in fp16: tensorrt 10.3.0 cannot build focus.fp16.onnx: no implementation" in shown.err


def test_verify_with_nothing_to_judge_is_no_success(call, fake: Fake, model: Path, monkeypatch) -> None:
    monkeypatch.setattr(verify, "find_spec", lambda name: None)
    fake.cuda.status = 35
    with pytest.raises(SystemExit, match="there is no backend to judge; install onnxruntime or TensorRT"):
        call("verify", model)


def test_on_a_terminal_what_is_said_stays_and_progress_replaces_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress() as report:
        for sentence in ("without torch: no", "building: 5 %", "building: 15 %", "fp16 does not pass"):
            report(sentence)
    lines = sys.stderr.getvalue().split("\n")  # type: ignore[attr-defined]
    assert [line.rpartition("\033[K")[2] for line in lines] == [
        "without torch: no",
        "building: 15 %",
        "fp16 does not pass",
        "",
    ]


def test_verify_needs_samples(call, fake: Fake, tmp_path: Path) -> None:
    write_model_folder(tmp_path / "bare")
    with pytest.raises(SystemExit, match="has no samples for the self-check; export the model again"):
        call("verify", tmp_path / "bare")


def test_inspect_shows_a_model_its_engines_and_one_of_them(call, fake: Fake, model: Path) -> None:
    assert "focus-fp16" not in call("inspect", model)
    call("build", model)
    said = call("inspect", model)
    assert "boxes targetsx4" in said and "judged by self_check.npz" in said
    assert "focus-fp16" in said and "NVIDIA Fake" in said and "depth differs by 0.0" in said
    path = next(cache_folder().glob("focus-*.engine"))
    assert json.loads(call("inspect", path))["key"]["tensorrt"] == "10.3.0"
    path.with_suffix(".json").write_text("{")
    assert "its manifest is damaged" in call("inspect")
    with pytest.raises(SystemExit, match="Expecting property name"):
        call("inspect", path)


def test_clean_removes_what_nothing_can_use(call, fake: Fake, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("build", model)
    assert call("clean").startswith("0.0 MB freed") and len(engines()) == 2
    with (model / "focus.fp16.onnx").open("ab") as file:
        file.write(b"\x3a\x00")
    assert "focus.fp16.onnx has changed" in call("clean") and engines() == ["plain-fp16"]
    fake_tensorrt.install(monkeypatch, "10.13.0.35")
    assert "it is of tensorrt 10.3.0 NVIDIA Fake" in call("clean")
    assert list(cache_folder().iterdir()) == []


def test_clean_removes_what_another_version_of_the_package_built(call, fake: Fake, model: Path) -> None:
    call("build", model)
    path = next(cache_folder().glob("focus-*.json"))
    manifest = json.loads(path.read_text())
    manifest["key"]["schema"] += 1
    path.write_text(json.dumps(manifest))
    assert "it is of another version of this package" in call("clean") and engines() == ["plain-fp16"]


def test_clean_by_age_or_all(call, fake: Fake, model: Path) -> None:
    call("build", model)
    old = next(cache_folder().glob("focus-*.engine"))
    os.utime(old, (old.stat().st_mtime - 10 * DAY_S,) * 2)
    assert "it was built 10 days ago" in call("clean", "--older-than", 9) and engines() == ["plain-fp16"]
    (model / "plain.fp16.onnx").unlink()
    assert "plain.fp16.onnx is gone" in call("clean")
    call("build", model, "--precision", "mixed")
    assert call("clean", "--all").count("all were asked for") == 2 and engines() == []


def test_clean_removes_what_a_killed_process_left(call, fake: Fake) -> None:
    cache_folder().mkdir(parents=True)
    old, new = (cache_folder() / f".focus.engine.{process}.part" for process in (1, 2))
    for path in (old, new):
        path.write_bytes(bytes(2_000_000))
    os.utime(old, (old.stat().st_mtime - 2 * 3600,) * 2)
    said = call("clean")
    assert "a process was killed while it wrote it" in said and "2.0 MB freed" in said
    assert list(cache_folder().iterdir()) == [new]


def test_bench_times_every_backend_beside_the_plain_network(call, fake: Fake, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "engine_fake.json"
    backends = ("--backends", "tensorrt", "onnxruntime", "torch")
    said = call("bench", model, *backends, "--turns", 1, "--targets", 1, 3, "--frame", "160x90", "--out", out)
    assert "focus, 3 targets" in said and "without torch: " in said
    values = json.loads(out.read_text())
    assert {"method", "date", "machine", "gpu", "versions"} < values.keys()
    (result,) = values["results"]
    assert result["input"] == [56, 42] and result["absent"].keys() == {"torch"}
    for backend in ("tensorrt", "onnxruntime"):
        found = result["backends"][backend]
        assert found["networks"].keys() == {"plain", "focus, 1 target", "focus, 3 targets"}
        assert found["networks"]["plain"]["ratio_to_plain"] == 1
        for row in (*found["networks"].values(), *found["stages"].values()):
            assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert {"preprocess", "inference", "postprocess", "frame"} < found["stages"].keys()
        assert found["self_check"].keys() == {"focus", "plain"} and found["self_check"]["focus"]["mask_iou"] == 1
    assert "gpu compute" in result["backends"]["tensorrt"]["stages"]


@pytest.mark.parametrize("fails", ["at once", "later"])
def test_bench_goes_on_without_a_backend_that_fails(
    call, fake: Fake, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def run(self: TensorRtEngine, inputs: object) -> dict[str, np.ndarray]:
        if fails == "at once" or fake.cuda.launched > 10:
            raise RuntimeError("CUDA out of memory\nof 80 GB")
        return own(self, inputs)  # type: ignore[arg-type]

    call("build", model)
    own, out = TensorRtEngine.run, tmp_path / "engine_fake.json"
    monkeypatch.setattr(TensorRtEngine, "run", run)
    arguments = ("--backends", "tensorrt", "onnxruntime", "--turns", 2, "--targets", 1, "--frame", "160x90")
    assert "without tensorrt: failed: RuntimeError: CUDA out of memory\n" in call(
        "bench", model, *arguments, "--out", out
    )
    (result,) = json.loads(out.read_text())["results"]
    assert result["backends"].keys() == {"onnxruntime"} and result["absent"].keys() == {"tensorrt"}
    with pytest.raises(SystemExit, match="tensorrt: failed: RuntimeError: CUDA out of memory"):
        call("bench", model, *arguments[:2], *arguments[3:])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--turns", 0), "--turns: 0 is given"),
        (("--targets", 0), "--targets: 0 is given"),
        (("--sizes", "28x28"), "is exported for one size; give a recipe"),
        (("--backends", "torch"), "torch: model tiny cannot be loaded by torch"),
    ],
)
def test_bench_says_what_it_cannot_do(call, model: Path, arguments: tuple[object, ...], sentence: str) -> None:
    pytest.importorskip("torch", reason="needs focusdepth_core[train]")
    with pytest.raises(SystemExit, match=sentence):
        call("bench", model, *arguments)


def test_calls_take_turns() -> None:
    order: list[str] = []
    times = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert "".join(order) == ("a" * (SETTLE + TIMED) + "b" * (SETTLE + TIMED)) * (3 + WARM_UP)
    assert [len(values) for values in times.values()] == [3 * TIMED, 3 * TIMED]
    assert timed(range(2 * (SETTLE + TIMED))) == list(range(2 * SETTLE + TIMED, 2 * (SETTLE + TIMED)))
    assert quantiles(np.arange(101)) == {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}


def test_an_engine_is_timed_by_its_graph(call, fake: Fake, model: Path) -> None:
    """As in the node, where the number of targets seldom changes."""
    call("bench", model, "--backends", "tensorrt", "--turns", 2, "--targets", 1, 2, "--frame", "160x90")
    assert fake.cuda.launched >= 2 * 2 * TIMED
