"""What the node hears besides plain images and boxes."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from geometry_msgs.msg import Point, PointStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header, String

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_ros.image_msgs import pixels
from focusdepth_ros.msg import FocusTarget, FocusTargetArray
from tests.ros.harness import Rig, camera_info, fake_pipeline, header, image, picture, roi
from tests.ros.test_bad_input import assert_recovers, heard_sentence


def test_compressed_images_get_the_same_answer(make_rig: Any) -> None:
    rig = make_rig(image_transport="compressed", pair_wait=0.0)
    rig.start()
    rig.send("image/compressed", CompressedImage(header=header(1), format="jpeg", data=b"nothing"))
    heard_sentence(rig, "compressed image of 7 bytes and format 'jpeg' is damaged, or no PNG, JPEG, PGM or PPM")
    _, data = cv2.imencode(".png", picture()[..., ::-1])
    rig.send("image/compressed", CompressedImage(header=header(2), format="png", data=data.tobytes()))
    answer = rig.answer(2)
    expected = fake_pipeline(rig.engine).process(Frame(picture()), [])
    np.testing.assert_array_equal(pixels(answer), expected.relative_depth)
    assert answer.header == header(2)
    rig.spin_until(lambda: rig.said().startswith("answering /image/compressed"), "all well again")


def test_a_text_is_refused_by_a_model_of_boxes_and_the_target_stays(rig: Rig) -> None:
    rig.focus(roi(10, 20, 30, 40))
    rig.send("target_text", String(data="red mug"))
    heard_sentence(
        rig, "target 'target_text' is given by the text 'red mug' alone, but model fake takes: box; the targets stay"
    )
    rig.send("image", image(1))
    assert [target.id for target in rig.answer(1, "targets_3d").targets] == ["target_box"]


@pytest.mark.parametrize(("text", "sentence"), [("", "empty text"), ("x" * 10_000, "has 10000 characters")])
def test_a_text_that_is_none_is_refused_and_a_good_one_taken(make_rig: Any, text: str, sentence: str) -> None:
    rig = make_rig(lambda _: fake_pipeline(rig.engine, ("box", "text")))
    rig.start("targets_3d")
    rig.send("target_text", String(data=text))
    heard_sentence(rig, sentence)
    rig.focus(String(data="красная кружка"))
    rig.send("image", image(1))
    assert [target.id for target in rig.answer(1, "targets_3d").targets] == ["target_text"]


def test_a_text_that_the_model_was_never_told_is_refused_and_the_target_stays(make_rig: Any) -> None:
    class Told:
        def features(self, text: str) -> None:
            raise ValueError(f"the model has not been told what '{text}' is")

    def pipeline(_: Any) -> Pipeline:
        fake = fake_pipeline(rig.engine, ("box", "text"))
        return Pipeline(fake.model, rig.engine, rig.engine, Told())

    rig = make_rig(pipeline)
    rig.start("targets_3d")
    rig.send("target_text", String(data="zebra"))
    heard_sentence(rig, "the model has not been told what 'zebra' is; the targets stay as they were")
    rig.send("image", image(1))
    assert rig.answer(1, "targets_3d").targets == []


def test_an_image_takes_the_targets_of_the_nearest_stamp(rig: Rig) -> None:
    rig.node.set_parameters([Parameter("max_target_age", value=10.0)])
    for seconds in (1, 5):
        target = FocusTarget(id=f"of {seconds}", roi=roi(10, 20, 30, 40), score=1.0)
        rig.focus(FocusTargetArray(header=header(seconds), targets=[target]))
    for seconds, expected in ((1, "of 1"), (2, "of 1"), (4, "of 5"), (9, "of 5"), (3, "of 5")):
        rig.send("image", image(seconds))
        assert [target.id for target in rig.answer(seconds, "targets_3d").targets] == [expected]
    rig.focus(FocusTargetArray(header=header(6)))
    rig.send("image", image(6))
    assert rig.answer(6, "targets_3d").targets == []


def test_of_500_targets_the_best_are_used_in_their_order(rig: Rig) -> None:
    targets = [FocusTarget(id=str(n), roi=roi(n % 80, 20, 30, 40), score=n % 250 / 250) for n in range(500)]
    rig.focus(FocusTargetArray(header=header(1), targets=targets))
    rig.node.set_parameters([Parameter("max_targets", value=4)])
    rig.send("image", image(1))
    assert [target.id for target in rig.answer(1, "targets_3d").targets] == ["248", "249", "498", "499"]
    heard_sentence(rig, "500 targets are given, and the 4 with the highest score are used (max_targets)")
    rig.focus(FocusTargetArray(header=header(2), targets=targets[:2]))
    assert_recovers(rig, 2)


def test_many_bad_targets_make_one_short_sentence(rig: Rig) -> None:
    rig.send("targets", FocusTargetArray(header=header(1), targets=[FocusTarget(id=f"t{n}") for n in range(500)]))
    heard_sentence(rig, "target 't2' has neither a box nor a text; and 497 more")


def test_a_clicked_point_becomes_the_target(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    click = PointStamped(header=header(1), point=Point(x=0.0, y=0.0, z=1.0))
    rig.send("clicked_point", click)
    heard_sentence(rig, "a point was clicked, but no camera_info has come")
    rig.send("camera_info", camera_info(1))
    rig.spin_until(lambda: rig.node._inputs._calibration.newest(), "camera_info")
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    rig.send("clicked_point", PointStamped(header=Header(frame_id="map"), point=click.point))
    heard_sentence(rig, "a change of frame needs tf2_ros, which is not installed")
    rig.node.set_parameters([Parameter("click_size", value=0.2)])
    rig.focus(click)
    rig.send("image", image(1))
    rows, columns = np.nonzero(pixels(rig.answer(1, "target_mask")))
    np.testing.assert_allclose([columns.min(), rows.min(), columns.max(), rows.max()], [46, 32, 65, 51], atol=1)


def test_detections_are_targets_with_their_ids(make_rig: Any) -> None:
    vision_msgs = pytest.importorskip("vision_msgs.msg", reason="vision_msgs comes with a ROS distribution")
    rig = make_rig(pair_wait=0.0)
    rig.start("targets_3d")
    publisher = rig.probe.create_publisher(vision_msgs.Detection2DArray, "detections", 10)
    rig.spin_until(publisher.get_subscription_count, "a matched subscription")
    detections = [vision_msgs.Detection2D(id=name) for name in ("mug", "nothing", "")]
    for place, detection in enumerate(detections[::2]):
        detection.bbox.center.position.x, detection.bbox.center.position.y = 30.0 + 40 * place, 40.0
        detection.bbox.size_x = detection.bbox.size_y = 20.0
    publisher.publish(vision_msgs.Detection2DArray(header=header(3), detections=detections))
    heard_sentence(rig, "detection 'nothing' has a box of 0 x 0 px")
    rig.send("image", image(3))
    assert [(target.id, target.found) for target in rig.answer(3, "targets_3d").targets] == [("mug", True), ("2", True)]
