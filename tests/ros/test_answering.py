"""What a worker says whose session has ended while it was at work."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition

from tests.ros.harness import TIMEOUT_S, Rig, camera_info, image


def assert_silent_after_cleanup(rig: Rig) -> None:
    worker = rig.node._answering._worker
    assert rig.transition(Transition.TRANSITION_DEACTIVATE) and rig.transition(Transition.TRANSITION_CLEANUP)
    assert worker.join(TIMEOUT_S)
    rig.statuses.clear()
    rig.spin_until(lambda: rig.statuses, "the next status")
    assert (rig.said(), rig.statuses[-1].level) == ("unconfigured", DiagnosticStatus.OK)


@pytest.mark.parametrize("failure", [None, RuntimeError("no memory")])
def test_an_answer_at_the_end_of_a_session_leaves_no_word(
    rig: Rig, failure: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.engine.failure = failure
    traffic, begun = rig.node._answering._traffic, threading.Event()
    count = traffic.count

    def slow_count(what: str) -> None:
        count(what)
        if what != "received":
            begun.set()
            time.sleep(1)

    monkeypatch.setattr(traffic, "count", slow_count)
    rig.send("image", image(1))
    rig.spin_until(begun.is_set, "the end of the inference")
    assert_silent_after_cleanup(rig)


def test_an_image_of_an_ended_session_leaves_no_complaint(make_rig: Any) -> None:
    rig = make_rig(pair_wait=1.0)
    rig.start()
    rig.send("camera_info", camera_info(1, width=640, height=480))
    rig.spin_until(lambda: rig.node._inputs._calibration.newest(), "camera_info")
    rig.send("image", image(2))  # waits for another one
    rig.spin_until(lambda: rig.node._answering._traffic.counts["received"], "the image")
    assert_silent_after_cleanup(rig)
