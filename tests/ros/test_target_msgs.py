from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from sensor_msgs.msg import RegionOfInterest

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_ros import inputs, target_msgs
from focusdepth_ros.msg import FocusTarget, FocusTargetArray
from focusdepth_ros.targets import TargetInput

K = Intrinsics(100.0, 200.0, 320.0, 240.0, 640, 480)


def detection(**changes: Any) -> Any:
    """With the fields of vision_msgs/Detection2D."""
    values = {"id": "", "x": 50.0, "y": 40.0, "size_x": 20.0, "size_y": 10.0, "theta": 0.0, "scores": [0.5], **changes}
    centre = SimpleNamespace(position=SimpleNamespace(x=values["x"], y=values["y"]), theta=values["theta"])
    return SimpleNamespace(
        id=values["id"],
        bbox=SimpleNamespace(center=centre, size_x=values["size_x"], size_y=values["size_y"]),
        results=[
            SimpleNamespace(hypothesis=SimpleNamespace(class_id=f"class {place}", score=score))
            for place, score in enumerate(values["scores"])
        ],
    )


def parse(*detections: Any) -> target_msgs.Parsed:
    return target_msgs.from_detections(SimpleNamespace(detections=detections))


def test_a_detection_becomes_a_box_with_its_id_and_likeliest_class() -> None:
    (target,), reasons = parse(detection(id="track 3", scores=[0.2, 0.7, math.nan]))
    assert (target.id, target.box, target.text, target.score) == ("track 3", (40, 35, 60, 45), None, 0.7)
    assert target.name == target.clipped(50, 50).name == "class 1"
    assert reasons == []


def test_a_rotated_detection_becomes_the_upright_box_around_it() -> None:
    (target,), _ = parse(detection(theta=-math.pi / 2))
    assert target.box == pytest.approx((45, 30, 55, 50))
    (target,), _ = parse(detection(size_y=20.0, theta=math.pi / 4))
    assert target.box == pytest.approx([50 - 200**0.5, 40 - 200**0.5, 50 + 200**0.5, 40 + 200**0.5])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"size_x": math.nan}, "detection '0' has a box of nan x 10 px"),
        ({"size_y": 0.0}, "detection '0' has a box of 20 x 0 px"),
        ({"size_y": -4.0}, "detection '0' has a box of 20 x -4 px"),
        ({"size_x": math.inf}, "of target '0' is not finite"),
        ({"x": math.nan}, "of target '0' is not finite"),
        ({"theta": math.nan}, "detection '0' has a box of 20 x 10 px turned by nan rad"),
        ({"theta": -math.inf}, "detection '0' has a box of 20 x 10 px turned by -inf rad"),
        ({"size_x": 1e-3}, "of target '0' has no area"),
    ],
)
def test_a_bad_detection_is_left_out(changes: dict[str, float], sentence: str) -> None:
    targets, (reason,) = parse(detection(**changes), detection(id="good"))
    assert [target.id for target in targets] == ["good"]
    assert sentence in reason


def test_without_ids_the_place_is_the_id_and_of_one_id_the_first_counts() -> None:
    targets, reasons = parse(detection(), detection(id="a"), detection(id="a", x=90.0), detection())
    assert [target.id for target in targets] == ["0", "a", "3"]
    assert targets[1].box == (40, 35, 60, 45)
    assert reasons == ["id 'a' is given to several targets, of which the first counts"]


def test_a_detection_without_results_is_taken_for_sure() -> None:
    (target,), _ = parse(detection(scores=[]))
    assert (target.score, target.name) == (1, "")


def test_items_of_an_array() -> None:
    roi = RegionOfInterest(x_offset=10, y_offset=20, width=30, height=40)
    items = [
        FocusTarget(id="both", roi=roi, text="red mug", score=math.nan),
        FocusTarget(text="блюдце", score=0.5),
        FocusTarget(id="both", text="again"),
        FocusTarget(id="long", text="x" * 10_000),
    ]
    targets, reasons = target_msgs.from_array(FocusTargetArray(targets=items))
    assert [(t.id, t.box, t.text, t.score) for t in targets] == [
        ("both", (10, 20, 40, 60), "red mug", 0),
        ("1", None, "блюдце", 0.5),
    ]
    assert reasons[0].startswith("id 'both' is given to several")
    assert reasons[1] == "the text of target 'long' has 10000 characters; give at most 256"


@pytest.mark.parametrize(("text", "sentence"), [("", "empty text"), (" \n", "empty text"), ("x" * 257, "257 charact")])
def test_a_bad_text_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        target_msgs.from_text(text)
    assert target_msgs.from_text("x" * 256).text == "x" * 256


def test_a_click_selects_what_is_around_the_point() -> None:
    assert target_msgs.from_click((0.2, -0.1, 2.0), K, 0.4).box == pytest.approx((320, 210, 340, 250))


def test_a_click_is_found_where_the_lens_shows_it() -> None:
    bent = Intrinsics(450, 455, 310, 245, 640, 480, (-0.28, 0.09, 1e-3, -7e-4, 0.0))
    x, y = (rays[0, 0] for rays in bent.rays(np.s_[400:401, 600:601]))
    x0, y0, x1, y1 = target_msgs.from_click((2 * x, 2 * y, 2.0), bent, 0.4).box
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((600, 400), abs=0.5)


@pytest.mark.parametrize("point", [(0, 0, -1), (0, 0, 0), (math.nan, 0, 1), (0, 0, math.inf)])
def test_a_click_that_the_camera_does_not_see_is_refused(point: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="is not in front of the camera"):
        target_msgs.from_click(point, K, 0.4)


def test_detections_are_heard_as_detections(make_rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(inputs, "Detection2DArray", FocusTargetArray)  # where vision_msgs is not installed
    monkeypatch.setattr(TargetInput, "on_detections", lambda _, msg: heard.append(msg))
    rig = make_rig()
    rig.start()
    publisher = rig.probe.create_publisher(FocusTargetArray, "detections", 10)
    rig.spin_until(publisher.get_subscription_count, "the node")
    rig.spin_until(lambda: publisher.publish(FocusTargetArray()) or heard, "the detections")
