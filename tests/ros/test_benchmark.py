"""What the benchmark measures with, and how it counts; the processes themselves are not started."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from focusdepth_core.perception.frame import Frame, Intrinsics
from focusdepth_core.perception.target import Target
from focusdepth_ros.benchmark import command, fake_model, scene
from focusdepth_ros.benchmark.figures import figures
from focusdepth_ros.benchmark.listener import ANSWER, _stamp_ns
from focusdepth_ros.msg import FocusTarget3DArray
from focusdepth_ros.traffic import BIN_MS, BINS, Traffic


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_fake_network_sees_the_scene(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_model, "ENGINE_S", 0.0)
    k = Intrinsics(scene.FOCAL_PX, scene.FOCAL_PX, scene.WIDTH / 2, scene.HEIGHT / 2, scene.WIDTH, scene.HEIGHT)
    targets = [Target(str(place), tuple(map(float, box))) for place, box in enumerate(scene.BOXES[:count])]
    hint_m = scene.sensor_depth_mm() / np.float32(1000)
    result = fake_model.make_pipeline(None).process(Frame(scene.picture(), 1.0, k), targets, hint_m)
    truth = 1 / scene.disparity(scene.WIDTH, scene.HEIGHT)
    assert np.median(np.abs(result.depth_m() / truth - 1)) < 0.01
    assert 0.15 < np.mean(hint_m == 0) < 0.25
    for target, logit in zip(result.targets, scene.mask_logits(scene.WIDTH, scene.HEIGHT)):
        true = logit > 0
        assert np.count_nonzero(target.mask & true) > 0.95 * np.count_nonzero(target.mask | true)
        assert true.mean() == pytest.approx(np.pi / 4 * scene.SIDE**2 / true.size, rel=0.01)


def test_quantiles_of_the_overhead_since_the_restart() -> None:
    traffic = Traffic()
    assert np.isnan(traffic.overheads_ms((0.5,))).all()
    traffic.took(50.0)
    traffic.restart()
    for ms in np.random.default_rng(0).permutation(1000) / 100:
        traffic.took(float(ms))
    traffic.took(10 * BIN_MS * BINS)
    assert traffic.overheads_ms((0.5, 0.99)) == pytest.approx([5.0, 9.9], abs=2 * BIN_MS)
    assert traffic.overheads_ms((1.0,)) == pytest.approx([BIN_MS * BINS])


def test_cores_are_of_the_time_since_the_last_call() -> None:
    start, busy = time.monotonic(), time.process_time()
    traffic = Traffic()
    while np.sum(np.ones(1000)) and time.process_time() < busy + 0.2:
        pass
    assert traffic.rates().cores == pytest.approx(0.2 / (time.monotonic() - start), rel=0.2)
    time.sleep(0.1)
    assert traffic.rates().cores < 0.5


def status(memory: float, cores: float = 0.5) -> dict[str, str]:
    overheads = {f"overhead_{level}_ms": str(ms) for level, ms in (("p50", 4.0), ("p95", 6.0), ("p99", 9.0))}
    return {"memory_mb": str(memory), "cpu_cores": str(cores), "dropped": "1", **overheads}


def test_figures_of_a_run() -> None:
    stamps = [n * 10**9 // 30 for n in range(100)]
    answers = {stamp: stamp + 20_000_000 for stamp in stamps if stamp not in stamps[3:5]}
    listener = SimpleNamespace(
        sent=[*stamps, 10**12],
        heard={ANSWER: answers, "target_mask": {**answers, stamps[3]: 0}},
        statuses=[{"dropped": "0"}, status(90.0, 9.0), *(status(100.0 + 0.5 * n) for n in range(1, 20))],
    )
    found = figures(listener, 100)
    assert (found["lost"], found["lost_by_topic"]) == (2, {ANSWER: 2, "target_mask": 1})
    assert found["overhead_ms"] == {"p50": 4.0, "p95": 6.0, "p99": 9.0}
    assert found["latency_ms"] == {"p50": 20.0, "p95": 20.0, "p99": 20.0}
    assert found["transport_ms_p50"] == 20.0 - 4.0 - 1e3 * fake_model.ENGINE_S
    assert found["cpu_core"] == 0.5, "the first status is of the time before"
    assert found["rss_growth"] == pytest.approx(109.25 / 101.25 - 1, abs=1e-3)
    assert found["hz"] == pytest.approx(30, abs=0.1)


def test_the_stamp_of_a_serialized_message() -> None:
    message = FocusTarget3DArray(header=Header(frame_id="camera"))
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_000, 123_456_789
    assert _stamp_ns(serialize_message(message)) == 1_700_000_000_123_456_789


@pytest.mark.parametrize("words", [["--frames", "10"], ["--rate", "0"], ["--targets", "5"]])
def test_what_cannot_be_measured_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        command._parse(words)
