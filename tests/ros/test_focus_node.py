"""The node's life: transitions, services, quality of service, status, the end of the process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from focusdepth_core.engine.base import EngineError
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_ros import qos
from focusdepth_ros.focus_node import FocusNode
from focusdepth_ros.image_msgs import pixels
from tests.ros.harness import INPUT_TYPES, RELATIVE, TIMEOUT_S, FakeEngine, Rig, fake_pipeline, image, roi

CAMERA = ("image", "camera_info", "depth_hint")


def test_transitions_do_not_wait_for_an_inference(rig: Rig) -> None:
    rig.engine.gate.clear()
    rig.send("image", image(1))
    rig.spin_until(rig.engine.started.is_set, "the inference")
    before = time.monotonic()
    assert rig.transition(Transition.TRANSITION_DEACTIVATE)
    assert rig.transition(Transition.TRANSITION_CLEANUP)
    assert time.monotonic() - before < TIMEOUT_S / 2  # the gate is still closed
    rig.engine.gate.set()
    rig.start(RELATIVE)
    rig.send("image", image(2))
    rig.answer(2)
    assert 1 not in [msg.header.stamp.sec for msg in rig.received[RELATIVE]]


def test_deactivated_it_does_not_answer_and_keeps_its_target(rig: Rig) -> None:
    rig.focus(roi(10, 20, 30, 40))
    assert rig.transition(Transition.TRANSITION_DEACTIVATE)
    rig.spin_until(lambda: rig.said() == "inactive", "inactive")
    rig.spin_until(lambda: not rig.probe.count_subscribers("image"), "no subscription to image")
    assert rig.transition(Transition.TRANSITION_ACTIVATE)
    rig.spin_until(rig.inputs_matched, "matched inputs")
    rig.send("image", image(2))
    assert pixels(rig.answer(2, "target_mask")).max() == 1
    assert [msg.header.stamp.sec for msg in rig.received[RELATIVE]] == [2]


def test_an_image_from_before_a_pause_is_not_answered_after_it(rig: Rig) -> None:
    rig.engine.gate.clear()
    rig.send("image", image(1))
    rig.spin_until(rig.engine.started.is_set, "the inference")
    assert rig.transition(Transition.TRANSITION_DEACTIVATE)
    assert rig.transition(Transition.TRANSITION_ACTIVATE)
    rig.engine.gate.set()
    rig.spin_until(rig.inputs_matched, "matched inputs")
    rig.send("image", image(2))
    rig.answer(2)
    assert [msg.header.stamp.sec for msg in rig.received[RELATIVE]] == [2]


def test_an_answer_that_cannot_be_published_does_not_end_the_worker(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = rig.node._answering._outputs
    publish, failures = outputs.publish, [RuntimeError("no memory")]

    def fails_once(answer: object) -> None:
        if failures:
            raise failures.pop()
        publish(answer)

    monkeypatch.setattr(outputs, "publish", fails_once)
    rig.send("image", image(1))
    rig.spin_until(lambda: "RuntimeError while answering an image: no memory" in rig.said(), "the sentence")
    rig.send("image", image(2))
    rig.answer(2)


def test_cleanup_forgets_the_target(rig: Rig) -> None:
    rig.focus(roi(10, 20, 30, 40))
    assert rig.transition(Transition.TRANSITION_DEACTIVATE)
    assert rig.transition(Transition.TRANSITION_CLEANUP)
    rig.spin_until(lambda: rig.said() == "unconfigured", "unconfigured")
    rig.start("target_mask")
    rig.send("image", image(1))
    assert pixels(rig.answer(1, "target_mask")).max() == 0


def test_the_end_waits_for_an_inference_that_a_cleanup_has_left(ros: None) -> None:
    rig = Rig(pair_wait=0.0)
    rig.start(RELATIVE)
    rig.engine.gate = SimpleNamespace(wait=lambda timeout: time.sleep(2) or True, set=lambda: None)
    rig.send("image", image(1))
    assert rig.engine.started.wait(5)
    worker = rig.node._answering._worker
    assert rig.transition(Transition.TRANSITION_DEACTIVATE) and rig.transition(Transition.TRANSITION_CLEANUP)
    assert not worker.join(0)
    rig.close()
    assert worker.join(0)


def test_shutdown_from_active(rig: Rig) -> None:
    assert rig.transition(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    rig.spin_until(lambda: rig.said() == "shut down", "shut down")


def test_clear_targets(rig: Rig) -> None:
    rig.focus(roi(10, 20, 30, 40))
    assert rig.call(Trigger, "clear_targets", Trigger.Request()).success
    rig.send("image", image(1))
    assert pixels(rig.answer(1, "target_mask")).max() == 0


def test_enable(rig: Rig) -> None:
    assert rig.call(SetBool, "enable", SetBool.Request(data=False)).success
    rig.send("image", image(1))
    rig.spin_until(lambda: rig.said() == "disabled by ~/enable", "disabled")
    assert rig.call(SetBool, "enable", SetBool.Request(data=True)).success
    rig.send("image", image(2))
    rig.answer(2)
    assert [msg.header.stamp.sec for msg in rig.received[RELATIVE]] == [2]


def test_an_incompatible_subscriber_is_named_in_the_status(rig: Rig) -> None:
    asking = rig.probe.create_subscription(Image, f"focus_node/{RELATIVE}", print, qos.latched())
    sentence = (
        f"a subscriber of /focus_node/{RELATIVE} gets nothing: volatile publisher and transient local subscription; "
        f"set qos_overrides./focus_node/{RELATIVE}.publisher.*"
    )
    rig.spin_until(lambda: sentence in rig.said(), "the sentence")
    rig.probe.destroy_subscription(asking)
    rig.spin_until(lambda: sentence not in rig.said(), "no sentence once it is gone")


def test_an_incompatible_camera_is_named_in_the_status(make_rig: Any) -> None:
    rig = make_rig(qos__reliability="reliable")
    camera = rig.probe.create_publisher(Image, "image", qos.stream(1))
    rig.start()
    rig.spin_until(lambda: "nothing comes from a publisher of /image" in rig.said(), "the sentence")
    rig.probe.destroy_publisher(camera)
    rig.spin_until(lambda: "nothing comes from" not in rig.said(), "no sentence once it is gone")


def test_who_asks_for_reliable_outputs_hears_them(rig: Rig) -> None:
    got: list[Image] = []
    rig.probe.create_subscription(Image, f"focus_node/{RELATIVE}", got.append, 10)  # the default of most nodes
    rig.spin_until(lambda: rig.node.count_subscribers(f"/focus_node/{RELATIVE}") == 2, "the subscriber")
    rig.send("image", image(1))
    rig.spin_until(lambda: got, "an answer by reliable transport")


def reliability(rig: Rig, topic: str) -> str:
    """That the node asks of its input."""
    ends = rig.probe.get_subscriptions_info_by_topic(topic)
    return next((end.qos_profile.reliability.name for end in ends if end.node_name == "focus_node"), "").lower()


def test_an_input_is_reliable_while_all_its_publishers_are(rig: Rig) -> None:
    assert reliability(rig, "/image") == "reliable"
    unsure = rig.probe.create_publisher(Image, "image", qos.stream(1))
    rig.spin_until(lambda: reliability(rig, "/image") == "best_effort", "what all offer")
    rig.probe.destroy_publisher(unsure)
    rig.spin_until(lambda: reliability(rig, "/image") == "reliable", "what all offer again")
    rig.spin_until(rig.inputs_matched, "matched inputs")
    rig.send("image", image(1))
    rig.answer(1)


def test_reliability_can_be_told_per_topic_and_anew(make_rig: Any) -> None:
    rig = make_rig(**{"qos_overrides./depth_hint.subscription.reliability": "reliable"}, qos__reliability="best_effort")
    rig.start()
    assert (reliability(rig, "/depth_hint"), reliability(rig, "/image")) == ("reliable", "best_effort")
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        assert rig.transition(transition)
    rig.node.set_parameters([Parameter("qos.reliability", value="reliable")])
    rig.start()
    rig.spin_until(lambda: reliability(rig, "/image") == "reliable", "the new value")


def test_qos_can_be_overridden_per_topic(make_rig: Any) -> None:
    rig = make_rig(**{f"qos_overrides./focus_node/{RELATIVE}.publisher.reliability": "best_effort"})
    rig.start()
    ends = [rig.node.get_publishers_info_by_topic(f"/focus_node/{topic}")[0] for topic in (RELATIVE, "target_mask")]
    assert [end.qos_profile.reliability.name for end in ends] == ["BEST_EFFORT", "RELIABLE"]


def test_a_cleaned_up_node_keeps_no_model(make_rig: Any) -> None:
    pipelines: list[weakref.ref[Any]] = []

    def make_pipeline(parameters: Any) -> Any:
        pipeline = fake_pipeline(FakeEngine())
        pipelines.append(weakref.ref(pipeline))
        return pipeline

    rig = make_rig(make_pipeline)
    rig.start()
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        assert rig.transition(transition)
    rig.spin_until(lambda: gc.collect() >= 0 and pipelines[0]() is None, "the end of the pipeline")


@pytest.mark.parametrize(
    ("override", "sentence", "state", "made"),
    [
        ("/focus_node/depth/image_rect.publisher", "cannot be configured", "unconfigured", f"/focus_node/{RELATIVE}"),
        ("/image.subscription", "cannot be activated", "inactive", "/camera_info"),
    ],
)
def test_a_topic_that_cannot_be_made_is_named_and_none_is_left(
    make_rig: Any, override: str, sentence: str, state: str, made: str
) -> None:
    rig = make_rig(**{f"qos_overrides.{override}.reliability": "bestest"})
    assert rig.transition(Transition.TRANSITION_CONFIGURE) == (state == "inactive")
    if state == "inactive":
        assert not rig.transition(Transition.TRANSITION_ACTIVATE)
    rig.spin_until(lambda: f"{sentence}: " in rig.said() and rig.value("state") == state, "the sentence")
    assert "`bestest`" in rig.said() and rig.statuses[-1].level == DiagnosticStatus.ERROR
    assert rig.call(GetState, "get_state", GetState.Request()).current_state.label == state
    count = {"inactive": rig.node.count_subscribers, "unconfigured": rig.node.count_publishers}[state]
    rig.spin_until(lambda: not count(made), f"no {made}")


def test_status_and_diagnostics_tell_what_runs(rig: Rig) -> None:
    arrays: list[DiagnosticArray] = []
    rig.probe.create_subscription(DiagnosticArray, "/diagnostics", arrays.append, 10)
    rig.send("image", image(1))
    rig.answer(1)
    rig.spin_until(lambda: arrays and rig.value("answered") == "1", "the first count")
    assert rig.said() == (
        "answering /image; no target, so it is the plain depth; relative depth only: no usable camera_info"
    )
    assert (rig.value("model"), rig.value("license"), rig.value("backend")) == ("fake", "none", "numpy")
    assert (rig.value("dropped"), rig.value("refused"), rig.value("scale_source")) == ("0", "0", "none")
    assert float(rig.value("latency_ms")) > 0
    assert arrays[-1].status[0].name == "focus_node: depth"
    assert arrays[-1].header.stamp.sec > 0


def test_what_takes_long_to_open_and_what_stays_untrue_is_told(ros: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_open(model_dir: Path, backend: str, threads: int, report: Callable[[str], None], *_: Any) -> Pipeline:
        report("building engine focus.onnx: 40 %, about 2 min left")
        report("engine unverified: no reference")
        report("engine unverified: no reference")
        report("runs on TensorRT: chosen")
        return fake_pipeline(FakeEngine())

    monkeypatch.setattr(Pipeline, "open", fake_open)
    node, published = FocusNode(namespace="/opening"), []
    monkeypatch.setattr(node._status, "_publisher", SimpleNamespace(publish=published.append))
    node.trigger_configure()
    assert [status.message for status in published] == [
        "opening the model",
        "building engine focus.onnx: 40 %, about 2 min left",
        "building engine focus.onnx: 40 %, about 2 min left; engine unverified: no reference",
        "runs on TensorRT: chosen; engine unverified: no reference",
        "inactive; engine unverified: no reference",
    ]
    assert {item.key: item.value for item in published[-1].values}["engine"] == "runs on TensorRT: chosen"
    node.trigger_activate()
    node.trigger_deactivate()
    assert published[-1].message == "inactive; engine unverified: no reference"
    assert published[-1].level == DiagnosticStatus.WARN
    node.trigger_cleanup()
    assert (published[-1].message, published[-1].level) == ("unconfigured", DiagnosticStatus.OK)
    node.destroy_node()


def test_after_a_failure_to_open_only_the_reason_is_left(ros: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_open(model_dir: Path, backend: str, threads: int, report: Callable[[str], None], *_: Any) -> Pipeline:
        report("building engine focus.onnx: 40 %, about 2 min left")
        report("engine unverified: no reference")
        raise EngineError("out of memory")

    monkeypatch.setattr(Pipeline, "open", fake_open)
    node, published = FocusNode(namespace="/opening"), []
    monkeypatch.setattr(node._status, "_publisher", SimpleNamespace(publish=published.append))
    node.trigger_configure()
    assert published[-1].message == "cannot be configured: out of memory; unconfigured"
    assert {item.key: item.value for item in published[-1].values}["state"] == "unconfigured"
    node.destroy_node()


def test_no_images_are_missed_in_the_status(make_rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from focusdepth_ros import answering

    monkeypatch.setattr(answering, "QUIET_S", 0.5)
    rig = make_rig()
    rig.start()
    rig.spin_until(lambda: rig.said().startswith("no image has come on /image for 0.5 s or more"), "the sentence")
    rig.send("image", image(1))
    rig.answer(1)
    rig.spin_until(
        lambda: any(status.message.startswith("answering /image") for status in rig.statuses), "all well again"
    )


def test_the_status_tells_of_a_slow_model_and_of_a_slow_camera(rig: Rig) -> None:
    rig.node.set_parameters([Parameter("min_rate", value=2.0)])
    rig.engine.gate.clear()
    seconds = count(1)

    def is_slow_though_images_come() -> bool:
        rig.send("image", image(next(seconds)))
        return "the model is slow" in rig.said()

    rig.spin_until(is_slow_though_images_come, "the sentence about the model")
    rig.engine.gate.set()
    rig.spin_until(lambda: "the camera is slow" in rig.said(), "the sentence about the camera")
    rig.node.set_parameters([Parameter("min_rate", value=0.0)])

    def is_well_again() -> bool:
        rig.send("image", image(next(seconds)))  # else the camera is soon quiet
        return rig.said().startswith("answering /image")

    rig.spin_until(is_well_again, "all well again")
    assert int(rig.value("dropped")) > 0

    def is_each_image_accounted_for() -> bool:
        return int(rig.value("received")) == int(rig.value("dropped")) + int(rig.value("answered"))

    rig.spin_until(is_each_image_accounted_for, "received = dropped + answered")
    assert float(rig.value("memory_mb")) > 10


def test_old_images_are_dropped_and_counted(rig: Rig) -> None:
    rig.node.set_parameters([Parameter("max_image_age", value=60.0)])
    rig.send("image", image(1))
    rig.spin_until(lambda: "s old when they come, more than max_image_age = 60 s" in rig.said(), "the sentence")
    rig.spin_until(lambda: rig.value("too_old") == "1", "the count")
    fresh = image(2)
    fresh.header.stamp = rig.node.get_clock().now().to_msg()
    rig.send("image", fresh)
    rig.answer(fresh.header.stamp.sec)
    assert [msg.header.stamp for msg in rig.received[RELATIVE]] == [fresh.header.stamp]
    rig.spin_until(lambda: rig.said().startswith("answering /image"), "all well again")


def test_a_second_camera_on_the_topic_is_told(rig: Rig) -> None:
    second = [rig.probe.create_publisher(INPUT_TYPES[topic], topic, 10) for topic in CAMERA]
    for topic in CAMERA:
        rig.spin_until(lambda t=topic: f"2 nodes publish /{t}: what they send is taken in turn" in rig.said(), topic)
    for publisher in second:
        rig.probe.destroy_publisher(publisher)
    rig.spin_until(lambda: "nodes publish" not in rig.said(), "all well again")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_cleanly_on_a_signal(ros: None, stop: signal.Signals) -> None:
    command = [sys.executable, "-m", "focusdepth_ros.focus_node", "--ros-args", "-r", "__ns:=/alone"]
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
    probe = rclpy.create_node("probe")
    try:
        client = probe.create_client(GetState, "/alone/focus_node/get_state")
        assert client.wait_for_service(TIMEOUT_S)
        for _ in range(4):  # an answer that comes before its way back is discovered is lost
            future = client.call_async(GetState.Request())
            rclpy.spin_until_future_complete(probe, future, timeout_sec=TIMEOUT_S / 4)
            if future.done():
                break
        process.send_signal(stop)
        if stop == signal.SIGINT:
            process.send_signal(stop)  # ros2 launch passes on what the terminal has sent to all
        _, said = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        probe.destroy_node()
    assert future.result().current_state.label == "unconfigured"
    assert (process.returncode, said) == (0, "")


BUILDING = """
import time
from focusdepth_ros import focus_node

def build(model_dir, backend, threads, report, *_):
    while True:
        report("building engine focus.onnx: 40 %, about 2 min left")
        time.sleep(0.05)

focus_node.Pipeline.open = build
raise SystemExit(focus_node.main(["--ros-args", "-r", "__ns:=/building"]))
"""


def test_a_build_ends_with_the_process(ros: None) -> None:
    process = subprocess.Popen([sys.executable, "-c", BUILDING], env=os.environ, stderr=subprocess.PIPE, text=True)
    probe = rclpy.create_node("probe")
    said: list[str] = []
    probe.create_subscription(
        DiagnosticStatus, "/building/focus_node/status", lambda status: said.append(status.message), qos.latched()
    )
    client = probe.create_client(ChangeState, "/building/focus_node/change_state")
    try:
        assert client.wait_for_service(TIMEOUT_S)
        request = ChangeState.Request()
        request.transition.id = Transition.TRANSITION_CONFIGURE
        client.call_async(request)
        end = time.monotonic() + TIMEOUT_S
        while not any(sentence.startswith("building engine") for sentence in said):
            assert time.monotonic() < end, said
            rclpy.spin_once(probe, timeout_sec=0.1)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=TIMEOUT_S / 2)
    finally:
        process.kill()
        probe.destroy_node()
    assert process.returncode == 0 and "Traceback" not in log


def test_a_bad_parameter_at_the_start_ends_the_process_in_one_sentence() -> None:
    command = [sys.executable, "-m", "focusdepth_ros.focus_node", "--ros-args", "-p", "backend:=abacus"]
    process = subprocess.run(command, env=os.environ, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "backend = 'abacus' is unknown; use one of auto" in process.stderr
    assert "Traceback" not in process.stderr
