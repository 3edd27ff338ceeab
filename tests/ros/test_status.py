"""What ``~/status`` and ``/diagnostics`` say when several things are true at once, and when they are over."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from focusdepth_ros import answering
from focusdepth_ros import status as status_module
from focusdepth_ros.focus_node import FocusNode
from tests.ros.harness import RELATIVE, Rig, camera_info, depth_hint, fake_pipeline, image

DISTORTED = "camera_info has lens distortion"


def test_a_lasting_complaint_does_not_hide_the_state(rig: Rig) -> None:
    info = camera_info(1)
    info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    rig.send("camera_info", info)
    rig.send("image", image(1))
    rig.spin_until(lambda: DISTORTED in rig.said() and "; relative depth only: " in rig.said(), "both")
    assert rig.call(SetBool, "enable", SetBool.Request(data=False)).success
    rig.send("image", image(2))
    rig.spin_until(lambda: DISTORTED in rig.said() and "; disabled by ~/enable" in rig.said(), "both")


def test_what_is_true_of_an_answer_ends_with_the_images(make_rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "QUIET_S", 1.5)
    rig = make_rig()
    rig.start()
    rig.send("image", image(1))
    rig.spin_until(lambda: rig.value("metric") and rig.value("image_rate"), "an answer's values")
    rig.spin_until(lambda: "no image has come" in rig.said() and "; waiting for images" in rig.said(), "the sentence")
    rig.spin_until(lambda: (rig.value("metric"), rig.value("latency_ms"), rig.value("image_rate")) == ("", "", "0.0"))
    rig.send("image", image(2))
    rig.spin_until(lambda: rig.value("metric") and rig.value("image_rate"), "the values again")
    assert rig.transition(Transition.TRANSITION_DEACTIVATE)
    rig.spin_until(lambda: rig.value("state") == "inactive", "inactive")
    assert (rig.value("metric"), rig.value("image_rate"), rig.value("answered")) == ("", "", "2")


def test_what_is_true_of_an_answer_ends_when_no_image_can_be_used(
    make_rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "QUIET_S", 1.0)
    rig = make_rig()
    rig.start(RELATIVE)
    rig.send("image", image(1))
    rig.answer(1)
    bad = image(2)
    bad.encoding = "rgb9"
    silence = "'rgb9'", "no image of /image has been answered for 1 s or more"
    rig.spin_until(lambda: rig.send("image", bad) or all(said in rig.said() for said in silence), "the sentences")
    assert not rig.value("metric")
    rig.send("image", image(3))
    rig.answer(3)
    rig.spin_until(lambda: rig.value("metric") and "answering /image" in rig.said(), "an answer's values")


def test_what_comes_and_goes_with_every_image_is_logged_now_and_then(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(rig.node.get_logger(), "warning", logged.append)
    status = rig.node._status
    for number in range(5):
        status.complain("depth_hint", f"{number} px are missing")
        status.settle("depth_hint")
    assert logged == ["0 px are missing"]
    monkeypatch.setattr(status_module, "LOG_AGAIN_S", 0.0)
    status.complain("depth_hint", "5 px are missing")
    status.complain("depth_hint", "6 px are missing")
    assert logged == ["0 px are missing", "5 px are missing"]


def test_the_status_says_why_no_depth_hint_is_used(make_rig: Any) -> None:
    rig = make_rig(pair_wait=10.0)
    rig.start("targets_3d")
    for topic, msg in {"camera_info": camera_info(1), "depth_hint": depth_hint(1, 20, 10), "image": image(1)}.items():
        rig.send(topic, msg)
    rig.spin_until(lambda: "depth_hint is 20 x 10" in rig.said(), "a hint that does not fit")
    late = depth_hint(2)
    late.header.stamp.nanosec += 17_000_000
    rig.send("depth_hint", late)
    rig.send("image", image(2))
    rig.spin_until(
        lambda: all(
            said in rig.said()
            for said in (
                "; relative depth only: no depth_hint has the image's stamp, the nearest one is 0.017 s off: ",
                "synchronise depth and colour",
                "raise pair_wait",
                "pair_tolerance",
            )
        ),
        "the distance and its cures",
    )
    rig.probe.destroy_publisher(rig._publishers.pop("depth_hint"))
    rig.spin_until(lambda: not rig.node.count_publishers("/depth_hint"), "no publisher")
    rig.send("image", image(3))
    rig.spin_until(lambda: rig.said().endswith("relative depth only: nobody publishes /depth_hint"), "the reason")
    assert "depth_hint is 20 x 10" not in rig.said()


def test_the_status_says_that_no_depth_hint_has_come(make_rig: Any) -> None:
    rig = make_rig(pair_wait=0.1)
    rig.start("targets_3d")
    rig.send("camera_info", camera_info(1))
    rig.send("image", image(1))
    rig.spin_until(lambda: rig.said().endswith("relative depth only: nothing has come on /depth_hint"), "the reason")


@pytest.mark.parametrize(
    ("service", "request_"), [("clear_targets", Trigger.Request()), ("enable", SetBool.Request(data=False))]
)
def test_a_target_that_is_no_longer_looked_for_is_not_lost(make_rig: Any, service: str, request_: Any) -> None:
    rig = make_rig(lambda _: fake_pipeline(rig.engine, ("box", "text")), target__lost_after=1.0)
    rig.start("targets_3d")
    rig.focus(String(data="red mug"))
    for seconds in (1, 2):
        rig.send("image", image(seconds))
        rig.answer(seconds, "targets_3d")
    rig.spin_until(lambda: "not found for 1 s or more" in rig.said(), "a lost target")
    kind = Trigger if service == "clear_targets" else SetBool
    assert rig.call(kind, service, request_).success
    if service == "enable":
        rig.send("image", image(3))
    rig.spin_until(lambda: "not found for" not in rig.said(), "no complaint")


def test_diagnostics_go_on_while_a_model_is_opened(ros: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "PERIOD_S", 0.2)
    node, arrays = FocusNode(namespace="/opening"), list[DiagnosticArray]()
    monkeypatch.setattr(node._status, "_diagnostics", SimpleNamespace(publish=arrays.append))
    for percent in (10, 20):  # no executor serves the node
        time.sleep(0.3)
        node._status.state(f"building engine: {percent} %")
    assert [array.status[0].message for array in arrays] == ["building engine: 10 %", "building engine: 20 %"]
    node.destroy_node()
