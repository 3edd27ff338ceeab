"""What ``~/status`` and ``/diagnostics`` say when several things are true at once, and when they are over."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from lifecycle_msgs.msg import Transition
from std_srvs.srv import SetBool

from focusdepth_ros import answering
from tests.ros.harness import Rig, camera_info, image

DISTORTED = "camera_info has lens distortion"


def test_a_lasting_complaint_does_not_hide_the_state(paired: Rig) -> None:
    info = camera_info(1)
    info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    paired.send("camera_info", info)
    paired.send("image", image(1))
    paired.spin_until(lambda: DISTORTED in paired.said() and "; relative depth only: " in paired.said(), "both")
    assert paired.call(SetBool, "enable", SetBool.Request(data=False)).success
    paired.send("image", image(2))
    paired.spin_until(lambda: DISTORTED in paired.said() and "; disabled by ~/enable" in paired.said(), "both")


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
