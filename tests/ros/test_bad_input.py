"""Each bad input gets one clear sentence, and the next good frame is answered."""

from __future__ import annotations

import array
import json
import math
import re
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Point, PointStamped
from lifecycle_msgs.msg import Transition
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import String

from focusdepth_core.engine.base import EngineError
from focusdepth_ros.depth_hint import SKIPPED
from focusdepth_ros.focus_node import open_pipeline
from focusdepth_ros.image_msgs import pixels, to_image
from focusdepth_ros.msg import FocusTarget, FocusTargetArray
from focusdepth_ros.parameter_store import ros_name
from focusdepth_ros.parameters import Parameters
from tests.ros.harness import FRAME_ID, RELATIVE, Rig, camera_info, depth_hint, header, image, roi
from tests.tiny_model import config

METRIC = ("depth/image_rect", "depth/camera_info", "target_points")


def changed_image(**changes: Any) -> Image:
    msg = image(1)
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def assert_recovers(rig: Rig, seconds: int) -> None:
    rig.send("image", image(seconds))
    rig.answer(seconds)
    rig.spin_until(lambda: rig.statuses[-1].level == DiagnosticStatus.OK, "all well again")


def heard_sentence(rig: Rig, sentence: str, level: bytes = DiagnosticStatus.WARN) -> None:
    rig.spin_until(
        lambda: any(sentence in status.message and status.level == level for status in rig.statuses), sentence
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"encoding": "rgb9"}, "image encoding 'rgb9'"),
        ({"encoding": "32FC1", "width": 28}, "image encoding '32FC1' has no colour"),
        ({"step": 3}, "image step 3 is too small"),
        ({"step": 112 * 3 + 1}, "bytes of data; step 337"),
        ({"width": 0, "height": 0, "step": 0, "data": array.array("B")}, "image is empty: 0 x 0"),
        ({"data": array.array("B")}, "image is empty: 112 x 84 with 0 bytes"),
    ],
)
def test_bad_image(rig: Rig, changes: dict[str, Any], sentence: str) -> None:
    rig.send("image", changed_image(**changes))
    heard_sentence(rig, sentence)
    assert_recovers(rig, 2)
    assert [msg.header.stamp.sec for msg in rig.received[RELATIVE]] == [2]


@pytest.mark.parametrize(
    ("focal", "said"),
    [(0.0, "fx = 0"), (math.nan, "fx = nan"), (-5.0, "fx = -5"), (1.0, "fx = 1, fy = 1 px for 112 x 84")],
)
def test_bad_focal_length_leaves_relative_depth_alone(paired: Rig, focal: float, said: str) -> None:
    paired.send("camera_info", camera_info(1, focal=focal))
    paired.send("depth_hint", depth_hint(1))
    paired.send("image", image(1))
    paired.answer(1)
    heard_sentence(paired, f"camera_info has focal lengths {said}")
    for topic, msg in {"camera_info": camera_info(2), "depth_hint": depth_hint(2), "image": image(2)}.items():
        paired.send(topic, msg)
    for topic in METRIC:
        paired.answer(2, topic)
        assert [msg.header.stamp.sec for msg in paired.received[topic]] == [2]
    paired.spin_until(lambda: paired.statuses[-1].level == DiagnosticStatus.OK, "all well again")


def test_camera_info_of_another_size_leaves_relative_depth_alone(rig: Rig) -> None:
    rig.send("camera_info", camera_info(1, width=640, height=480))
    rig.spin_until(lambda: rig.node._inputs._calibration._infos.newest(), "camera_info")
    rig.send("image", image(1))
    rig.answer(1)
    heard_sentence(rig, "camera_info is for 640 x 480, the image is 112 x 84")


def test_distortion_on_an_unrectified_topic_is_warned_of(paired: Rig) -> None:
    info = camera_info(1)
    info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    for topic, msg in {"camera_info": info, "depth_hint": depth_hint(1), "image": image(1)}.items():
        paired.send(topic, msg)
    paired.answer(1, "target_points")
    heard_sentence(paired, "camera_info has lens distortion and /image is not named as rectified")


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        (roi(10, 10, 0, 20), "box (10, 10, 10, 30) of target 'target_box' has no area"),
        (RegionOfInterest(), "box (0, 0, 0, 0) of target 'target_box' has no area"),
    ],
)
def test_box_of_no_area_leaves_the_target_as_it_was(rig: Rig, box: RegionOfInterest, sentence: str) -> None:
    rig.focus(roi(10, 20, 30, 40))
    rig.send("target_box", box)
    heard_sentence(rig, sentence)
    rig.send("image", image(1))
    assert pixels(rig.answer(1, "target_mask")).max() == 1
    rig.focus(roi(20, 20, 30, 40))
    assert_recovers(rig, 2)


def test_box_outside_the_image_is_left_out(rig: Rig) -> None:
    rig.focus(roi(500, 20, 30, 40))
    rig.send("image", image(1))
    assert pixels(rig.answer(1, "target_mask")).max() == 0
    heard_sentence(rig, "box (500, 20, 530, 60) of target 'target_box' lies outside the 112 x 84 image")
    rig.focus(roi(20, 20, 30, 40))
    assert_recovers(rig, 2)


def test_one_bad_target_of_several_is_left_out(rig: Rig) -> None:
    targets = [
        FocusTarget(id="words", text="red mug"),
        FocusTarget(id="nothing"),
        FocusTarget(id="flat", roi=roi(1, 1, 5, 0)),
        FocusTarget(id="good", roi=roi(10, 20, 30, 40)),
    ]
    rig.focus(FocusTargetArray(header=header(1), targets=targets))
    rig.send("image", image(1))
    (answered,) = rig.answer(1, "targets_3d").targets
    assert (answered.id, answered.label) == ("good", 1)
    heard_sentence(rig, "target 'nothing' has neither a box nor a text")
    heard_sentence(rig, "of target 'flat' has no area")
    heard_sentence(rig, "target 'words' is given by the text 'red mug' alone, but model fake takes: box")


@pytest.mark.parametrize(("found_at", "word"), [(1, "older"), (9, "newer")])
def test_targets_of_another_time_are_refused(rig: Rig, found_at: int, word: str) -> None:
    good = FocusTarget(id="mug", roi=roi(10, 20, 30, 40))
    rig.focus(FocusTargetArray(header=header(found_at), targets=[good]))
    rig.send("image", image(5))
    assert rig.answer(5, "targets_3d").targets == []
    heard_sentence(rig, f"targets are 4.00 s {word} than the image, more than max_target_age = 1 s")
    rig.focus(FocusTargetArray(header=header(6), targets=[good]))
    assert_recovers(rig, 6)
    assert len(rig.answer(6, "targets_3d").targets) == 1


def test_a_box_has_no_stamp_and_stays(rig: Rig) -> None:
    rig.focus(roi(10, 20, 30, 40))
    for seconds in (1, 1000):
        rig.send("image", image(seconds))
        assert len(rig.answer(seconds, "targets_3d").targets) == 1


@pytest.mark.parametrize(
    ("hint", "sentence"),
    [
        (depth_hint(1, width=20, height=10), "depth_hint is 20 x 10, the image 112 x 84"),
        (image(1), "depth_hint has encoding 'rgb8'"),
        (to_image(np.zeros((84, 112), np.float32), "32FC1", header(1)), "depth_hint has no pixel above 0"),
        (to_image(np.full((84, 112), np.nan, np.float32), "32FC1", header(1)), "depth_hint has no pixel above 0"),
        (to_image(np.full((84, 112), 800, np.float32), "32FC1", header(1)), "depth_hint has a median of 800 m"),
        (to_image(np.full((84, 112), 2, np.uint16), "16UC1", header(1)), "depth_hint has a median of 0.002 m"),
    ],
)
def test_bad_depth_hint_leaves_relative_depth_alone(paired: Rig, hint: Image, sentence: str) -> None:
    for topic, msg in {"camera_info": camera_info(1), "depth_hint": hint, "image": image(1)}.items():
        paired.send(topic, msg)
    paired.answer(1)
    heard_sentence(paired, sentence)
    for topic, msg in {"camera_info": camera_info(2), "depth_hint": depth_hint(2), "image": image(2)}.items():
        paired.send(topic, msg)
    paired.answer(2, "depth/image_rect")
    assert len(paired.received["depth/image_rect"]) == 1


def test_one_gross_error_does_not_speak_for_a_whole_hint(paired: Rig) -> None:
    hint = pixels(depth_hint(1)).copy()
    hint[::SKIPPED] = 0
    hint[SKIPPED, 5] = 900
    for topic, msg in {"camera_info": camera_info(1), "depth_hint": to_image(hint, "32FC1", header(1))}.items():
        paired.send(topic, msg)
    paired.send("image", image(1))
    assert paired.answer(1, "targets_3d").has_scale


NO_FIT = "relative depth only: depth_hint and image do not fit together", DiagnosticStatus.OK
ROUGH = "depth_hint and image may not belong together", DiagnosticStatus.WARN


@pytest.mark.parametrize(("most", "said", "metric"), [(0.25, NO_FIT, False), (0.5, ROUGH, True)])
def test_a_hint_that_does_not_fit_its_image_is_told(
    make_rig: Any, most: float, said: tuple[str, bytes], metric: bool
) -> None:
    rig = make_rig(pair_wait=10.0, scale__max_residual=most)
    rig.start("targets_3d")
    upright = np.linspace(0.6, 4, 84, dtype=np.float32)[:, None] * np.linspace(1, 0.9, 112, dtype=np.float32)
    noise = np.random.default_rng(3).uniform(0.5, 3, (84, 112)).astype(np.float32)
    for seconds, hint in enumerate((upright,) if metric else (upright, noise), start=1):
        rig.send("camera_info", camera_info(seconds))
        rig.send("depth_hint", to_image(hint, "32FC1", header(seconds)))
        rig.send("image", image(seconds))
        assert rig.answer(seconds, "targets_3d").has_scale == metric
        heard_sentence(rig, *said)


def test_a_hint_of_long_ago_is_not_taken_for_an_image_of_the_same_stamp(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("focusdepth_ros.depth_hint.EARLY_S", 0.3)
    rig.send("camera_info", camera_info(1))
    rig.send("depth_hint", depth_hint(1))
    rig.spin_until(lambda: rig.node._inputs._hint._hints.newest(), "the hint")
    rig.send("image", image(1))
    assert rig.answer(1, "targets_3d").has_scale
    time.sleep(0.4)
    rig.forget()
    rig.send("image", image(1))
    assert not rig.answer(1, "targets_3d").has_scale
    heard_sentence(rig, "the depth_hint of the image's stamp came more than 0.3 s before it", DiagnosticStatus.OK)


def test_a_hint_that_comes_after_its_image_was_answered_is_said_to(rig: Rig) -> None:
    rig.send("depth_hint", depth_hint(1))
    rig.spin_until(lambda: rig.node._inputs._hint._hints.newest(), "the hint")
    rig.send("camera_info", camera_info(2))
    rig.send("image", image(2))
    heard_sentence(rig, "raise pair_wait if the hint comes later than its image", DiagnosticStatus.OK)


def test_a_camera_info_of_another_frame_leaves_relative_depth_alone(rig: Rig) -> None:
    info = camera_info(1)
    info.header.frame_id = "left"
    rig.send("camera_info", info)
    rig.spin_until(lambda: rig.node._inputs._calibration.newest(), "camera_info")
    rig.send("image", image(1))
    rig.answer(1)
    heard_sentence(rig, f"camera_info is of frame 'left', the image of '{FRAME_ID}'; take both from one camera")
    assert not rig.received["depth/camera_info"]
    info.header.frame_id = f"/{FRAME_ID}"
    rig.send("camera_info", info)
    assert_recovers(rig, 2)


def test_a_hint_of_another_frame_is_used_and_complained_of(paired: Rig) -> None:
    hint = depth_hint(1)
    hint.header.frame_id = "camera_depth_optical_frame"
    for topic, msg in {"camera_info": camera_info(1), "depth_hint": hint, "image": image(1)}.items():
        paired.send(topic, msg)
    assert paired.answer(1, "targets_3d").has_scale
    heard_sentence(paired, "depth_hint is of frame 'camera_depth_optical_frame', the image of 'camera_optical_frame'")
    for topic, msg in {"camera_info": camera_info(2), "depth_hint": depth_hint(2)}.items():
        paired.send(topic, msg)
    assert_recovers(paired, 2)


def test_16UC1_hint_is_in_millimetres(paired: Rig) -> None:
    millimetres = (pixels(depth_hint(1)) * 1000).astype(np.uint16)
    for topic, msg in {"camera_info": camera_info(1), "image": image(1)}.items():
        paired.send(topic, msg)
    paired.send("depth_hint", to_image(millimetres, "16UC1", header(1)))
    depth = pixels(paired.answer(1, "depth/image_rect"))
    assert np.median(np.abs(depth * 1000 / millimetres - 1)) < 0.02


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (EngineError("input 'image' does not fit"), "input 'image' does not fit"),
        (MemoryError("no room"), "MemoryError while answering an image: no room"),
    ],
)
def test_a_failing_network_is_an_error_until_the_next_answer(rig: Rig, failure: Exception, sentence: str) -> None:
    rig.engine.failure = failure
    rig.send("image", image(1))
    heard_sentence(rig, sentence, DiagnosticStatus.ERROR)
    assert_recovers(rig, 2)


def test_a_sentence_is_logged_once_while_it_lasts(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    for seconds in (5, 6, 7):
        rig.focus(FocusTargetArray(header=header(1), targets=[FocusTarget(id="mug", roi=roi(10, 20, 30, 40))]))
        rig.send("image", image(seconds))
        rig.answer(seconds)
    heard_sentence(rig, "targets are 6.00 s older")
    assert capfd.readouterr().err.count("s older than the image") == 1


def test_stamps_that_go_back_are_answered(paired: Rig) -> None:
    for seconds in (9, 3, 4):
        for topic, msg in {"camera_info": camera_info, "depth_hint": depth_hint, "image": image}.items():
            paired.send(topic, msg(seconds))
        assert paired.answer(seconds, "targets_3d").has_scale
    assert [msg.header.stamp.sec for msg in paired.received["depth/image_rect"]] == [9, 3, 4]


def test_after_stamps_went_back_an_image_waits_for_its_hint(paired: Rig) -> None:
    for seconds in (90, 5, 3):
        paired.send("camera_info", camera_info(seconds))
        paired.send("image", image(seconds))
        paired.spin_until(lambda: paired.value("received"), "the image")
        for _ in range(3):
            paired._probe_executor.spin_once(timeout_sec=0.05)
        paired.send("depth_hint", depth_hint(seconds))
        assert paired.answer(seconds, "targets_3d").has_scale


def test_a_camera_info_that_changes_is_that_of_its_image(paired: Rig) -> None:
    for seconds, focal in ((1, 100.0), (2, 200.0), (3, 0.0), (4, 100.0)):
        paired.send("camera_info", camera_info(seconds, focal=focal))
        paired.send("depth_hint", depth_hint(seconds))
        paired.send("image", image(seconds))
        paired.answer(seconds)
        if focal:
            assert paired.answer(seconds, "depth/camera_info").k[0] == focal
    assert [msg.header.stamp.sec for msg in paired.received["depth/camera_info"]] == [1, 2, 4]


def test_a_camera_that_dies_and_returns(rig: Rig) -> None:
    rig.send("image", image(1))
    rig.answer(1)
    rig.probe.destroy_publisher(rig._publishers.pop("image"))
    heard_sentence(rig, "no image has come on /image for 3 s or more")
    rig._publishers["image"] = rig.probe.create_publisher(Image, "image", 10)
    rig.spin_until(rig.inputs_matched, "the new camera")
    assert_recovers(rig, 2)


def test_a_flood_of_images_is_dropped_and_the_last_answered(rig: Rig) -> None:
    for seconds in range(1, 301):
        rig.send("image", image(seconds))
    rig.answer(300)
    rig.spin_until(lambda: rig.value("refused") == "0", "the counts")
    stamps = [msg.header.stamp.sec for msg in rig.received[RELATIVE]]
    assert stamps == sorted(stamps)


def test_a_flood_on_every_other_topic_does_not_keep_an_image_waiting(rig: Rig) -> None:
    for seconds in range(1, 101):
        many = [FocusTarget(id=str(n), roi=roi(10, 20, 30, 40)) for n in range(20)]
        rig.send("targets", FocusTargetArray(header=header(seconds), targets=many))
        rig.send("camera_info", camera_info(seconds))
        rig.send("depth_hint", depth_hint(seconds, width=20, height=10))
        rig.send("target_text", String(data="мак" * 4000))
        rig.send("clicked_point", PointStamped(header=header(seconds)))
    rig.send("image", image(100))
    rig.answer(100)
    rig.focus(roi(10, 20, 30, 40))
    rig.send("depth_hint", depth_hint(101))  # what was said of the last one holds until a better one comes
    assert_recovers(rig, 101)


NUMBERS = (0.0, -1.0, 1e-30, 1e30, 3.5, 200.0, math.nan, math.inf, -math.inf)
COUNTS = (0, 1, 2, 56, 84, 112, 255, 2**16, 2**32 - 1)
ENCODINGS = ("rgb8", "bgra8", "mono8", "mono16", "16UC1", "32FC1", "bayer_rggb8", "yuv422", "yuv422_yuy2", "", "ж")


def any_image(rng: np.random.Generator, seconds: int) -> Image:
    width, height = (int(rng.choice(COUNTS[:6])) for _ in range(2))
    encoding, size = str(rng.choice(ENCODINGS)), int(rng.choice([0, 1, width * height, 4 * width * height]))
    step = int(rng.choice([0, 1, width, 2 * width, 3 * width, 4 * width, 2**31]))
    data = array.array("B", rng.integers(0, 256, size, np.uint8).tobytes())
    msg = Image(header=header(seconds), width=width, height=height, encoding=encoding, step=step, data=data)
    msg.is_bigendian = int(rng.integers(2))
    return msg


def any_camera_info(rng: np.random.Generator, seconds: int) -> Any:
    msg = camera_info(seconds, *(int(rng.choice(COUNTS)) for _ in range(2)))
    msg.k, msg.p, msg.d = (rng.choice(NUMBERS, count).tolist() for count in (9, 12, 5))
    msg.binning_x, msg.roi.width = (int(rng.choice(COUNTS)) for _ in range(2))
    return msg


def any_region(rng: np.random.Generator) -> RegionOfInterest:
    return roi(*(int(rng.choice(COUNTS)) for _ in range(4)))


def any_targets(rng: np.random.Generator, seconds: int) -> FocusTargetArray:
    def target() -> FocusTarget:
        names, text = ("", "a", "ж" * 300), str(rng.choice(["", " ", "мак", "x" * 300]))
        return FocusTarget(id=str(rng.choice(names)), roi=any_region(rng), text=text, score=float(rng.choice(NUMBERS)))

    return FocusTargetArray(header=header(seconds), targets=[target() for _ in range(rng.integers(0, 5))])


def any_click(rng: np.random.Generator, seconds: int) -> PointStamped:
    x, y, z = rng.choice(NUMBERS, 3).tolist()
    return PointStamped(header=header(seconds), point=Point(x=x, y=y, z=z))


def test_whatever_comes_the_node_says_why_it_is_no_use_and_goes_on(rig: Rig) -> None:
    rng = np.random.default_rng(0)
    for round_ in range(200):
        seconds = int(rng.integers(1, 5))
        rig.send("camera_info", any_camera_info(rng, seconds) if rng.random() < 0.7 else camera_info(seconds))
        rig.send("depth_hint", any_image(rng, seconds) if rng.random() < 0.7 else depth_hint(seconds))
        rig.send("targets", any_targets(rng, seconds))
        rig.send("target_box", any_region(rng))
        rig.send("clicked_point", any_click(rng, seconds))
        rig.send("image", any_image(rng, seconds) if rng.random() < 0.5 else image(100 + round_))
        rig._probe_executor.spin_once(timeout_sec=0.005)
    rig.focus(roi(10, 20, 30, 40))
    rig.send("image", image(1000))
    rig.answer(1000)
    unforeseen = re.compile(
        "while answering an image|broadcast|reshape|out of bounds|unpack|axis|dtype|NoneType|buffer"
    )
    assert not [status.message for status in rig.statuses if unforeseen.search(status.message)]


def test_two_cameras_of_different_size_on_one_topic_are_answered_in_turn(rig: Rig) -> None:
    for seconds in range(1, 7):
        width, height = ((112, 84), (56, 42))[seconds % 2]
        rig.send("image", image(seconds, width, height))
        answer = rig.answer(seconds)
        assert (answer.width, answer.height) == (width, height)


def clock_at(rig: Rig, seconds: int) -> None:
    publisher = rig.probe.create_publisher(Clock, "/clock", 1)
    rig.spin_until(publisher.get_subscription_count, "a node that hears /clock")
    publisher.publish(Clock(clock=header(seconds).stamp))
    rig.spin_until(lambda: rig.node.get_clock().now().nanoseconds // 10**9 == seconds, "the clock")
    rig.probe.destroy_publisher(publisher)


def test_a_simulated_clock_that_jumps(make_rig: Any) -> None:
    rig = make_rig(pair_wait=10.0, use_sim_time=True, max_image_age=5.0)
    rig.start()
    heard_sentence(rig, "use_sim_time is set, but nothing has come on /clock")
    for seconds in (100, 3):
        clock_at(rig, seconds)
        for topic, msg in {"camera_info": camera_info, "depth_hint": depth_hint, "image": image}.items():
            rig.send(topic, msg(seconds))
        answer = rig.answer(seconds, "targets_3d")
        assert (answer.has_scale, answer.scale_age) == (True, 0.0)
        rig.spin_until(lambda: rig.statuses[-1].level == DiagnosticStatus.OK, "all well")
    clock_at(rig, 60)
    rig.send("image", image(4))
    heard_sentence(rig, "images are 56.0 s old when they come, more than max_image_age = 5 s")


@pytest.mark.parametrize("place", [0, 1])
def test_at_the_limits_of_all_parameters_images_are_answered(rig: Rig, place: int) -> None:
    now_s = rig.node.get_clock().now().nanoseconds // 10**9
    rig.focus(roi(10, 20, 30, 40))
    for seconds, spec in enumerate(fields(Parameters), start=now_s):
        limits = spec.metadata["limits"]
        if limits is not None and spec.metadata["settable"] == "always" and spec.name != "pair_wait":
            (result,) = rig.node.set_parameters([Parameter(ros_name(spec), value=type(spec.default)(limits[place]))])
            assert result.successful, result.reason
            rig.send("camera_info", camera_info(seconds))
            rig.send("depth_hint", depth_hint(seconds))
            rig.send("image", image(seconds))
            rig.answer(seconds)
    assert rig.value("refused") in ("0", "")


def lacking_model(folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps(config()))
    (folder / "focus.onnx").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lacking_model, "files.plain names plain.onnx, which is not in the folder"),
        (lambda folder: folder, "has no config.json"),
        (lambda folder: folder / "nowhere", "nowhere does not exist"),
    ],
)
def test_a_bad_model_folder_fails_to_configure_in_one_sentence(
    make_rig: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Any, sentence: str
) -> None:
    rig = make_rig(open_pipeline, model_dir=str(make(tmp_path)))
    assert not rig.transition(Transition.TRANSITION_CONFIGURE)
    heard_sentence(rig, sentence, DiagnosticStatus.ERROR)
    logged = capfd.readouterr().err
    assert logged.count(sentence) == 1
    assert "Traceback" not in logged


def test_after_a_failure_another_model_can_be_configured(make_rig: Any) -> None:
    from tests.ros.harness import fake_pipeline

    def make_pipeline(parameters: Any) -> Any:
        if parameters.model_dir != "good":
            raise ValueError(f"no model {parameters.model_dir}")
        return fake_pipeline(rig.engine)

    rig = make_rig(make_pipeline, model_dir="bad")
    assert not rig.transition(Transition.TRANSITION_CONFIGURE)
    rig.node.set_parameters([Parameter("model_dir", value="good")])
    rig.start()
    assert_recovers(rig, 1)
