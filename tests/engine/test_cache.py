"""Engines on disk: what is there is used only for what it was made from, and nothing is ever half there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from focusdepth_core.engine import engine_key
from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cache import Cached, Entry, Manifest, cache_folder, cached
from focusdepth_core.engine.engine_key import EngineKey, external_files, network_sha256
from focusdepth_core.engine.model_folder import WEIGHTS, default_model_dir
from focusdepth_core.engine.tensorrt_backend import StalePlan
from focusdepth_core.engine.tensorrt_build import Runtime

ROOT = Path(__file__).parents[2]
RUNTIME = Runtime("tensorrt", "10.3.0", "Orin", "8.7", "12.6", "540.4", 15_700)
PROFILES = {"boxes": ((1, 4), (1, 4), (16, 4))}


class Maker:
    """Plans are numbered; those that end with "stale" do not load."""

    def __init__(self) -> None:
        self.made = 0
        self.said: list[str] = []

    def __call__(self) -> bytes:
        self.made += 1
        return b"plan %d" % self.made

    def load(self, plan: bytes) -> bytes:
        if plan.endswith(b"stale"):
            raise StalePlan("the version tag does not match")
        return plan

    def cached(self, entry: Entry) -> Cached[bytes]:
        return cached(entry, self, self.load, RUNTIME.driver, self.said.append)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOCUSDEPTH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "focus.fp16.onnx").write_bytes(b"a graph")
    return tmp_path / "focus.fp16.onnx"


@pytest.fixture
def small_files() -> Iterator[None]:
    """The system refuses to write files of more than 3 kB, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def entry(network: Path, runtime: Runtime = RUNTIME, precision: str = "fp16") -> Entry:
    return Entry(network, EngineKey.of(network, runtime, precision, PROFILES, 1024))


def test_an_engine_is_built_once_and_described(network: Path) -> None:
    maker = Maker()
    assert [maker.cached(entry(network)).engine for _ in range(2)] == [b"plan 1", b"plan 1"]
    assert maker.said == ["building the engine of focus.fp16.onnx: there is none for this network, GPU and TensorRT"]
    files = sorted(path.suffix for path in cache_folder().iterdir())
    assert files == [".engine", ".json", ".lock"]
    values = json.loads(entry(network).path.read_text())
    assert values["key"]["shapes"] == {"boxes": "1x4 1x4 16x4"} and values["key"]["gpu"] == "Orin"
    assert values["network"] == str(network) and values["driver"] == "540.4"


@pytest.mark.parametrize(
    "changes",
    [{"version": "10.7.0"}, {"flavour": "tensorrt_rtx"}, {"gpu": "Thor"}, {"compute_capability": "11.0"}]
    + [{"cuda": "13.0"}],
)
def test_whatever_an_engine_depends_on_asks_for_another(network: Path, changes: dict[str, str]) -> None:
    maker = Maker()
    maker.cached(entry(network))
    assert maker.cached(entry(network, replace(RUNTIME, **changes))).engine == b"plan 2"
    assert maker.cached(entry(network)).engine == b"plan 1", "both are kept"


@pytest.mark.parametrize(
    "changes", [{"precision": "fp32"}, {"profiles": {"boxes": ((1, 4),) * 3}}, {"workspace_mb": 1}]
)
def test_so_does_how_it_is_built(network: Path, changes: dict[str, Any]) -> None:
    asked = {"precision": "fp16", "profiles": PROFILES, "workspace_mb": 1024, **changes}
    assert EngineKey.of(network, RUNTIME, **asked).digest != entry(network).key.digest


def test_what_does_not_matter_asks_for_none(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker()
    maker.cached(entry(network))
    for changes in ({"driver": "550.1"}, {"cuda": "12.8"}, {"memory_mb": 7_500}):
        assert maker.cached(entry(network, replace(RUNTIME, **changes))).engine == b"plan 1"
    monkeypatch.setattr(engine_key, "JETSON", ROOT)  # there memory counts
    maker.cached(entry(network))
    assert maker.cached(entry(network, replace(RUNTIME, memory_mb=7_500))).engine == b"plan 3"


def with_weights_in(path: Path, *places: str) -> None:
    """Writes a network with a constant in each of the files ``places``."""
    onnx = pytest.importorskip("onnx")
    data = pytest.importorskip("onnx.external_data_helper")
    graph = onnx.helper.make_graph([], "graph", [], [])
    for place in places:
        tensor = graph.initializer.add(name=place, data_type=onnx.TensorProto.FLOAT, dims=[3], raw_data=b"some weights")
        data.set_external_data(tensor, place, 0, 12)
        tensor.ClearField("raw_data")
        (path.parent / place).parent.mkdir(exist_ok=True)
        (path.parent / place).write_bytes(b"some weights")
    noise = b"j\x17\x0a\x08location\x12\x7fno.bin"  # as if it were in some weights
    graph.initializer.add(name="own", data_type=onnx.TensorProto.FLOAT, dims=[7], raw_data=noise.ljust(28))
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())


LONG, BELOW = f"{'long_' * 40}.data", "weights/of_all"


@pytest.mark.parametrize("name", ["focus.fp16.onnx", WEIGHTS, "model.onnx_data", LONG, BELOW])
def test_an_edited_network_is_another(network: Path, name: str) -> None:
    with_weights_in(network, WEIGHTS, "model.onnx_data", LONG, BELOW)
    maker = Maker()
    maker.cached(entry(network))
    assert maker.cached(entry(network)).engine == b"plan 1"
    (network.parent / name).write_bytes((network.parent / name).read_bytes() + b"!")
    assert maker.cached(entry(network)).engine == b"plan 2"


def test_the_shipped_networks_name_their_weights() -> None:
    networks = list(default_model_dir().glob("*.onnx"))
    assert networks
    for path in networks:
        assert external_files(path.read_bytes()) == [WEIGHTS]


def test_a_network_that_cannot_be_read_is_named(network: Path) -> None:
    with_weights_in(network, WEIGHTS)
    network.with_name(WEIGHTS).unlink()
    with pytest.raises(EngineError, match=f"focus.fp16.onnx cannot be read: .*{WEIGHTS}"):
        network_sha256(network)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda e: e.plan.write_bytes(e.plan.read_bytes()[:-1]), "is not what was written there"),
        (lambda e: e.plan.write_bytes(b""), "is not what was written there"),
        (lambda e: e.plan.write_bytes(b"from elsewhere"), "is not what was written there"),
        (lambda e: e.plan.unlink(), "there is none"),
        (lambda e: e.path.unlink(), "cannot be read"),
        (lambda e: e.path.write_text("{"), "cannot be read"),
        (lambda e: e.path.write_text("{}"), "cannot be read .*is no manifest of an engine: 'key'"),
        (lambda e: e.path.write_text('{"key": {"schema": 0}}'), "cannot be read .*is no manifest"),
        (lambda e: e.path.write_text(e.path.read_text().replace("Orin", "Thor")), "has the manifest of another"),
    ],
)
def test_what_is_damaged_or_foreign_is_built_again(network: Path, damage, reason: str) -> None:
    maker, place = Maker(), entry(network)
    maker.cached(place)
    damage(place)
    assert maker.cached(place).engine == b"plan 2"
    assert len(maker.said) == 2
    assert re.search(reason, maker.said[1])
    assert maker.cached(place).engine == b"plan 2" and maker.made == 2


def test_a_plan_that_does_not_load_is_built_again(network: Path) -> None:
    maker, place = Maker(), entry(network)
    manifest = maker.cached(place).manifest
    plan = b"of an older TensorRT, stale"
    place.store(plan, replace(manifest, plan_sha256=hashlib.sha256(plan).hexdigest()))
    assert maker.cached(place).engine == b"plan 2"
    assert maker.said[-1] == "building the engine of focus.fp16.onnx: the version tag does not match"


def test_a_new_plan_that_does_not_load_is_not_kept(network: Path) -> None:
    maker, place = Maker(), entry(network)
    with pytest.raises(StalePlan):
        cached(place, lambda: b"stale", maker.load, "", maker.said.append)
    assert not place.plan.exists() and not place.path.exists()


def test_a_build_that_fails_leaves_nothing(network: Path) -> None:
    def out_of_memory() -> bytes:
        raise EngineError("out of memory")

    with pytest.raises(EngineError, match="out of memory"):
        cached(entry(network), out_of_memory, bytes, "", print)
    assert [path.suffix for path in cache_folder().iterdir()] == [".lock"]


@pytest.mark.parametrize("name", ["is a file", "x" * 300])  # before Python 3.12 even to look into the second fails
def test_a_folder_that_cannot_be_written_is_told(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "is a file").touch()
    monkeypatch.setenv("FOCUSDEPTH_CACHE", str(tmp_path / name))
    maker = Maker()
    made = maker.cached(entry(network))
    assert made.engine == b"plan 1" and made.entry is None
    (said,) = maker.said
    assert said.startswith(f"the engine of focus.fp16.onnx cannot be kept and will be built at each start: {tmp_path}")
    assert "make it writable, or name another folder in FOCUSDEPTH_CACHE" in said
    made.remember({"figures": {}})
    assert made.manifest.verdict == {"figures": {}}


@pytest.mark.parametrize("kilobytes", [2, 5])
def test_a_full_disk_is_told_and_nothing_is_half_written(network: Path, small_files: None, kilobytes: int) -> None:
    """Of 2 kB the plan fits, and with a long name of the network its manifest does not."""
    maker, place = Maker(), entry(network)
    made = cached(place, lambda: bytes(1000 * kilobytes), bytes, "x" * 4000, maker.said.append)
    assert made.engine == bytes(1000 * kilobytes) and made.entry is None
    assert "cannot be written (File too large); make room there" in maker.said[-1]
    assert [path.suffix for path in cache_folder().iterdir()] == [".lock"]


def test_a_verdict_is_kept(network: Path) -> None:
    maker, place = Maker(), entry(network)
    maker.cached(place).remember({"driver": "540.4"})
    assert maker.cached(place).manifest.verdict == {"driver": "540.4"}
    assert Manifest.read(place.path).verdict == {"driver": "540.4"}


BUILD = """
import sys, time
from functools import partial
from pathlib import Path
from focusdepth_core.engine.cache import cached
from tests.engine.test_cache import entry
network, done = map(Path, sys.argv[1:])
def make():
    print("builds", flush=True)
    while not done.exists():
        time.sleep(0.01)
    return b"plan"
cached(entry(network), make, bytes, "", partial(print, flush=True))
"""


def test_of_two_processes_one_builds_and_the_other_waits(network: Path, tmp_path: Path) -> None:
    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", BUILD, str(network), str(tmp_path / "done")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    def said(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    first = start()
    assert "there is none" in said(first) and said(first) == "builds"
    second = start()
    assert said(second) == "waiting for another process that builds the engine of focus.fp16.onnx"
    (tmp_path / "done").touch()
    assert [process.communicate(timeout=60)[0] for process in (first, second)] == ["", ""], "the second built, too"
    assert first.returncode == second.returncode == 0
    assert Manifest.read(entry(network).path).plan_sha256 == hashlib.sha256(b"plan").hexdigest()


def test_the_folder_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/robot")
    for name, folder in (
        (None, "/home/robot/.cache/focusdepth/engines"),
        ("XDG_CACHE_HOME", "/data/focusdepth/engines"),
        ("FOCUSDEPTH_CACHE", "/data/engines"),
    ):
        for one in ("XDG_CACHE_HOME", "FOCUSDEPTH_CACHE"):
            monkeypatch.delenv(one, raising=False)
        if name:
            monkeypatch.setenv(name, "/data")
        assert cache_folder() == Path(folder)


def test_without_a_home_the_folder_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("XDG_CACHE_HOME", "FOCUSDEPTH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(EngineError, match="name a folder in FOCUSDEPTH_CACHE"):
        cache_folder()
    monkeypatch.setenv("FOCUSDEPTH_CACHE", "/data")
    assert cache_folder() == Path("/data/engines")
