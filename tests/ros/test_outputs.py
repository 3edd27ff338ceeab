"""What the node answers: one message per topic and image, by the contract of docs and message definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from rclpy.parameter import Parameter

from focusdepth_ros.image_msgs import pixels, to_image
from focusdepth_ros.msg import FocusTarget, FocusTargetArray
from tests.ros.harness import (
    FRAME_ID,
    HEIGHT_PX,
    OUTPUT_TYPES,
    RELATIVE,
    WIDTH_PX,
    Rig,
    camera_info,
    depth_hint,
    fake_pipeline,
    header,
    image,
    picture,
    roi,
)

METRIC = ("depth/image_rect", "depth/camera_info", "target_points", "detections_3d")
CLOUD = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "u4"), ("label", "u4")])


def two_targets(seconds: int) -> FocusTargetArray:
    left = FocusTarget(id="left", roi=roi(10, 20, 30, 40), score=1.0)
    right = FocusTarget(id="right", roi=roi(60, 20, 40, 40), text="red mug", score=0.5)
    return FocusTargetArray(header=header(seconds), targets=[left, right])


def send_frame(rig: Rig, seconds: int, **size: int) -> None:
    rig.send("camera_info", camera_info(seconds, **size))
    rig.send("depth_hint", depth_hint(seconds, **size))
    rig.send("image", image(seconds, **size))


def answers(rig: Rig, seconds: int) -> dict[str, Any]:
    return {topic: rig.answer(seconds, topic) for topic in OUTPUT_TYPES}


def test_one_output_per_image_with_its_header(paired: Rig) -> None:
    paired.focus(two_targets(3))
    for seconds in (3, 4, 5):
        send_frame(paired, seconds)
        for topic, msg in answers(paired, seconds).items():
            assert msg.header == header(seconds), topic
    for topic in OUTPUT_TYPES:
        assert [msg.header.stamp.sec for msg in paired.received[topic]] == [3, 4, 5], topic
    assert paired.received[RELATIVE][0].header.frame_id == FRAME_ID


def test_encodings_sizes_and_steps(paired: Rig) -> None:
    send_frame(paired, 1)
    got = answers(paired, 1)
    layouts = {
        RELATIVE: ("32FC1", WIDTH_PX, 4),
        "depth/image_rect": ("32FC1", WIDTH_PX, 4),
        "target_mask": ("16UC1", WIDTH_PX, 2),
        "debug_image": ("rgb8", 2 * WIDTH_PX, 3),
    }
    for topic, (encoding, width, pixel_bytes) in layouts.items():
        msg = got[topic]
        assert (msg.encoding, msg.width, msg.height, msg.step) == (encoding, width, HEIGHT_PX, width * pixel_bytes)
        assert len(msg.data) == msg.step * msg.height
        assert not msg.is_bigendian


def test_metric_outputs_agree_with_the_hint_and_camera_info(paired: Rig) -> None:
    paired.focus(two_targets(1))
    send_frame(paired, 1)
    got = answers(paired, 1)
    hint = pixels(depth_hint(1))
    depth = pixels(got["depth/image_rect"])
    assert np.median(np.abs(depth / hint - 1)) < 0.02
    expected_info = camera_info(1)
    assert got["depth/camera_info"] == expected_info
    cloud = np.frombuffer(got["target_points"].data, CLOUD)
    u = np.rint(cloud["x"] / cloud["z"] * expected_info.k[0] + expected_info.k[2]).astype(int)
    v = np.rint(cloud["y"] / cloud["z"] * expected_info.k[4] + expected_info.k[5]).astype(int)
    np.testing.assert_allclose(depth[v, u], cloud["z"], rtol=1e-5)
    np.testing.assert_array_equal(pixels(got["target_mask"])[v, u], cloud["label"])
    np.testing.assert_array_equal(cloud["rgb"] & 255, picture()[v, u, 2])


def test_targets_keep_their_order_in_labels_and_answers(paired: Rig) -> None:
    paired.focus(two_targets(1))
    send_frame(paired, 1)
    got = answers(paired, 1)
    mask = pixels(got["target_mask"])
    assert (mask[40, 25], mask[40, 80], mask[5, 5]) == (1, 2, 0)
    left, right = got["targets_3d"].targets
    assert (left.id, left.label, left.found, right.id, right.label, right.found) == ("left", 1, True, "right", 2, True)
    depth = pixels(got["depth/image_rect"])
    np.testing.assert_allclose(left.depth_quantiles, np.quantile(depth[mask == 1], [0.05, 0.5, 0.95]), rtol=1e-3)
    assert left.depth_quantiles[0] <= left.depth_quantiles[1] <= left.depth_quantiles[2]
    assert left.centroid.z == pytest.approx(left.depth_quantiles[1], rel=0.05)
    assert left.centroid.x < 0 < right.centroid.x
    cloud = np.frombuffer(got["target_points"].data, CLOUD)
    low, high = np.quantile(cloud["x"][cloud["label"] == 1], [0.05, 0.95])
    assert left.extent.x == pytest.approx(high - low)
    assert got["targets_3d"].has_scale and got["targets_3d"].scale_source == "depth_hint"


def test_detections_3d_say_what_targets_3d_say(paired: Rig) -> None:
    if "detections_3d" not in OUTPUT_TYPES:
        pytest.skip("vision_msgs comes with a ROS distribution")
    paired.focus(two_targets(1))
    send_frame(paired, 1)
    targets = paired.answer(1, "targets_3d").targets
    detections = paired.answer(1, "detections_3d").detections
    assert [found.id for found in detections] == ["left", "right"]
    assert [found.results[0].hypothesis.class_id for found in detections] == ["", "red mug"]
    for target, found in zip(targets, detections):
        assert found.header == header(1)
        assert found.results[0].hypothesis.score == pytest.approx(target.confidence)
        assert found.results[0].pose.pose.position == target.centroid
        assert found.bbox.size == target.extent
        assert abs(found.bbox.center.position.z - target.centroid.z) < target.extent.z
        assert found.bbox.center.orientation.w == 1


def test_a_target_that_is_not_found_is_lost_after_a_while(make_rig: Any) -> None:
    rig = make_rig(lambda _: fake_pipeline(rig.engine, ("box", "text")), pair_wait=0.0, target__lost_after=2.0)
    rig.start("targets_3d")
    box, words = FocusTarget(id="box", roi=roi(10, 20, 30, 40)), FocusTarget(id="words", text="red mug")
    rig.node.set_parameters([Parameter("max_target_age", value=10.0)])
    rig.focus(FocusTargetArray(header=header(3), targets=[box, words]))
    for seconds, expected in ((1, (0.0, False)), (2, (1.0, False)), (3, (2.0, True))):
        rig.send("image", image(seconds))
        box_3d, words_3d = rig.answer(seconds, "targets_3d").targets
        assert (box_3d.found, box_3d.presence, box_3d.age, box_3d.lost) == (True, 1.0, 0.0, False)
        assert (words_3d.found, words_3d.presence) == (False, 0.0)
        assert (words_3d.age, words_3d.lost) == expected
    rig.spin_until(
        lambda: rig.said().startswith("not found for 2 s or more: target 'words'; answering"), "the sentence"
    )
    rig.focus(roi(10, 20, 30, 40))
    rig.send("image", image(4))
    rig.spin_until(lambda: rig.said().startswith("answering"), "all well again")


def test_a_fixed_scale_makes_metres_without_a_hint(rig: Rig) -> None:
    scale = {"scale.fixed_scale": 0.5, "scale.fixed_shift": 1.5}
    rig.node.set_parameters([Parameter(name, value=value) for name, value in scale.items()])
    rig.send("camera_info", camera_info(1))
    rig.spin_until(lambda: rig.node._inputs._calibration.newest(), "camera_info")
    rig.focus(roi(10, 20, 30, 40))
    rig.send("image", image(1))
    got = {topic: rig.answer(1, topic) for topic in (RELATIVE, "depth/image_rect", "targets_3d")}
    raw, depth = pixels(got[RELATIVE]), pixels(got["depth/image_rect"])
    np.testing.assert_allclose(depth, np.where(0.5 * raw + 1.5 > 0, 1 / (0.5 * raw + 1.5), np.nan), rtol=1e-5)
    told = got["targets_3d"]
    assert (told.has_scale, told.scale, told.shift, told.scale_source) == (True, 0.5, 1.5, "parameter")
    assert np.isnan([told.scale_residual, told.scale_inliers]).all()
    rig.spin_until(lambda: (rig.value("scale_source"), rig.value("metric")) == ("parameter", "yes"), "the status")
    rig.node.set_parameters([Parameter("scale.fixed_scale", value=0.0)])
    rig.send("image", image(2))
    assert not rig.answer(2, "targets_3d").has_scale
    assert len(rig.received["depth/image_rect"]) == 1


@pytest.mark.parametrize("lacking", ["depth_hint", "camera_info"])
def test_no_metres_without_scale_or_camera(make_rig: Any, lacking: str) -> None:
    rig = make_rig(pair_wait=0.05)
    rig.start()
    rig.focus(roi(10, 20, 30, 40))
    for seconds in (1, 2):
        for topic, msg in {"camera_info": camera_info(seconds), "depth_hint": depth_hint(seconds)}.items():
            if topic != lacking:
                rig.send(topic, msg)
        rig.send("image", image(seconds))
        rig.answer(seconds, "debug_image")  # the last one to be published
        target = rig.answer(seconds, "targets_3d").targets[0]
        assert target.found and target.label == 1
        assert np.isnan([*target.depth_quantiles, target.centroid.z, target.extent.x]).all()
        assert np.isfinite(target.raw_quantiles).all()
    assert not any(rig.received[topic] for topic in METRIC)
    rig.spin_until(lambda: lacking in rig.value("metric"), "the reason")


def test_the_scale_of_a_hint_is_used_until_it_is_out_of_date(make_rig: Any) -> None:
    rig = make_rig(pair_wait=0.5, scale__max_age=2.0)
    rig.start("depth/image_rect", "targets_3d", "debug_image")
    send_frame(rig, 1)
    for seconds, age in ((1, 0), (3, 2), (4, None)):
        if seconds > 1:
            rig.send("image", image(seconds))
        told = rig.answer(seconds, "targets_3d")
        assert told.has_scale == (age is not None)
        assert told.scale_age == age or not told.has_scale
        rig.answer(seconds, "debug_image")
    assert [msg.header.stamp.sec for msg in rig.received["depth/image_rect"]] == [1, 3]
    rig.spin_until(lambda: "older than scale.max_age = 2 s" in rig.said(), "the reason")


def test_a_second_image_size_in_mid_stream(paired: Rig) -> None:
    for seconds, (width, height) in enumerate([(112, 84), (160, 90), (112, 84)], start=1):
        send_frame(paired, seconds, width=width, height=height)
        for topic in (RELATIVE, "depth/image_rect", "target_mask", "depth/camera_info"):
            msg = paired.answer(seconds, topic)
            assert (msg.width, msg.height) == (width, height), topic
        info = paired.answer(seconds, "depth/camera_info")
        assert (info.k[2], info.k[5]) == (width / 2, height / 2)


@pytest.mark.parametrize("encoding", ["bgr8", "rgba8", "bgra8", "mono8"])
def test_every_encoding_of_one_picture_gets_one_answer(rig: Rig, encoding: str) -> None:
    channels = {"mono8": picture()[..., 0]}.get(encoding, np.dstack([picture(), picture()[..., :1]]))
    rig.send("image", image(1))
    expected = pixels(rig.answer(1))
    rig.send("image", to_image(channels[..., :3] if encoding == "bgr8" else channels, encoding, header(2)))
    np.testing.assert_array_equal(pixels(rig.answer(2)), expected)


def test_the_newest_frame_wins_and_the_dropped_are_counted(rig: Rig) -> None:
    rig.engine.gate.clear()
    rig.send("image", image(1))
    rig.spin_until(rig.engine.started.is_set, "the first inference")
    for seconds in (2, 3, 4):
        rig.send("image", image(seconds))
        rig.spin_until(lambda s=seconds: rig.waiting_second() == s, f"image {seconds} in the slot")
    rig.engine.gate.set()
    rig.answer(4)
    assert [msg.header.stamp.sec for msg in rig.received[RELATIVE]] == [1, 4]
    rig.spin_until(lambda: (rig.value("answered"), rig.value("dropped")) == ("2", "2"), "the counts")


def test_nothing_is_computed_that_nobody_hears(make_rig: Any) -> None:
    rig = make_rig()
    rig.start("target_mask")
    rig.send("image", image(1))
    rig.answer(1, "target_mask")
    runs = rig.engine.runs
    rig.probe.destroy_subscription(rig._subscriptions.pop())
    rig.spin_until(lambda: not rig.node.count_subscribers("/focus_node/target_mask"), "nobody hears")
    rig.send("image", image(2))
    rig.spin_until(lambda: rig.said().startswith("idle: nobody subscribes"), "idle")
    assert rig.engine.runs == runs


def test_what_is_beyond_the_range_gives_no_points(paired: Rig) -> None:
    paired.focus(roi(10, 20, 90, 40))
    deepest = []
    for seconds, range_max in enumerate((0.0, 1.5), start=1):
        paired.node.set_parameters([Parameter("target_points.range_max", value=range_max)])
        send_frame(paired, seconds)
        points = np.frombuffer(paired.answer(seconds, "target_points").data, CLOUD)
        deepest.append(points["z"].max())
    assert deepest[0] > 1.6 and 1.4 < deepest[1] <= 1.5


def test_the_rim_of_a_mask_gives_no_points(paired: Rig) -> None:
    paired.focus(roi(10, 20, 30, 40))
    widths = []
    for seconds, rim_px in enumerate((0, 3), start=1):
        paired.node.set_parameters([Parameter("target_points.drop_edge_px", value=rim_px)])
        send_frame(paired, seconds)
        info, cloud = camera_info(seconds), paired.answer(seconds, "target_points")
        points = np.frombuffer(cloud.data, CLOUD)
        u = points["x"] / points["z"] * info.k[0] + info.k[2]
        widths.append(round(float(np.ptp(u))) + 1)
    assert widths[0] - widths[1] == 2 * 3
