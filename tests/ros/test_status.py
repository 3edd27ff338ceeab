"""What ``~/status`` and ``/diagnostics`` say when several things are true at once, and when they are over."""

from __future__ import annotations

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from std_srvs.srv import SetBool

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
