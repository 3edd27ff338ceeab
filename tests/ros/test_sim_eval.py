"""The closed loop: its figures by hand, and once as a whole with a model that costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")
pytest.importorskip("rich", reason="needs the demo's packages")
pytest.importorskip("mujoco", reason="needs the simulator's packages")

from std_msgs.msg import Header

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.sim.task import Task
from focusdepth_core.sim.view import SimFrame, SimTarget
from focusdepth_ros.focus_client import FocusFailed
from focusdepth_ros.image_msgs import pixels
from focusdepth_ros.sim_eval.figures import figures
from focusdepth_ros.sim_eval.others import SENSOR, without_the_node
from focusdepth_ros.sim_eval.robot import INPUTS, SENT, Robot
from focusdepth_ros.sim_eval.trial import SENSORS, Answer, Trial, questions
from tests.ros.harness import FakeEngine, fake_pipeline
from tests.tiny_model import write_model_folder

TIMEOUT_S = 120.0
WIDTH, HEIGHT = 64, 48
TARGET = SimTarget(3, "mug", "red", (20, 10, 40, 30), 0.9, 400)


def task() -> Task:
    """A target at 0.8 m before a wall that leans from 1 to 2 m."""
    instances = np.zeros((HEIGHT, WIDTH), np.uint16)
    instances[10:30, 20:40] = TARGET.id
    wall = np.repeat(np.linspace(2, 1, HEIGHT, dtype=np.float32)[:, None], WIDTH, axis=1)
    depth_m = np.where(instances > 0, np.float32(0.8), wall)
    image = np.repeat((200 / depth_m).astype(np.uint8)[..., None], 3, axis=2)
    return Task(7, SimFrame(image, depth_m, instances, (TARGET,), Intrinsics(80, 80, 30, 20, WIDTH, HEIGHT)), TARGET)


def trials(error_m: float) -> list[Trial]:
    """The node's points are beside the truth by ``error_m`` in depth."""
    made = []
    for question in questions(task(), 5000):
        answer = Answer(np.zeros(3), question.task.mask, 0.01, "answering")
        trial = Trial(question, answer, {SENSOR: np.full(3, np.nan)})
        made.append(replace(trial, answer=replace(answer, point=trial.truth + [0, 0, error_m])))
    return made


def test_each_sensor_gets_its_question_and_a_stamp_before_the_last_one() -> None:
    some, hole = questions(task(), 5000)
    measured = [(question.depth_hint > 0) & task().mask for question in (some, hole)]
    assert measured[0].sum() == pytest.approx(0.3 * 400, abs=12)
    assert not measured[1].any()
    assert (some.stamp, hole.stamp) == (5000, 4000)
    assert some.box == hole.box
    again = questions(task(), 5000)[0]
    assert np.array_equal(again.depth_hint, some.depth_hint)


def test_an_object_without_a_point_is_infinitely_far() -> None:
    lost = [replace(trial, answer=replace(trial.answer, point=np.full(3, np.nan))) for trial in trials(0.0)]
    result = figures([*trials(0.01), *trials(0.02), *trials(0.04), *lost], {"model": "fake"})
    assert result["success"] == 0.5
    assert result["position_error_m"] == {"p50": 0.02, "p50_interval": [0.01, None], "p95": None}
    some = result["depth_hint"][next(iter(SENSORS))]
    assert (some["with_a_point"], some["across_m"], some["along_m"]) == (0.75, 0.0, 0.02)
    assert (some["mask_iou"], some["if_depth_were_true"]["success"]) == (1.0, 1.0)
    assert some["without the node"][SENSOR]["position_error_m"]["p50"] is None
    assert result["model"] == "fake" and result["machine"] and result["versions"]["numpy"] == np.__version__


def test_without_the_node_the_inner_box_is_measured() -> None:
    some, hole = (without_the_node(question, fake_pipeline(FakeEngine())) for question in questions(task(), 5000))
    assert some[SENSOR][2] == pytest.approx(0.8, rel=0.03)
    assert np.isnan(hole[SENSOR]).all()


@pytest.mark.parametrize(("by_text", "text", "width"), [(False, "", 20), (True, "red mug", 0)])
def test_an_object_is_named_by_its_box_or_by_words(ros: None, by_text: bool, text: str, width: int) -> None:
    robot = Robot(lambda: None, by_text)
    question = questions(task(), 5000)[0]
    messages = robot._messages(question, Header())
    (target,) = messages["targets"].targets
    assert (target.id, target.text, target.roi.width) == ("3", text, pytest.approx(width, abs=3))
    assert np.array_equal(pixels(messages["depth_hint"]), question.depth_hint)
    assert (messages["camera_info"].width, messages["camera_info"].p[2]) == (WIDTH, 30)
    robot.close()


def test_what_is_not_answered_is_asked_again_as_a_whole(ros: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("focusdepth_ros.sim_eval.robot.ANSWER_S", 0.1)
    robot, heard = Robot(lambda: None, by_text=False), {topic: [] for topic in INPUTS}
    for topic, kind in INPUTS.items():
        robot.node.create_subscription(kind, topic, heard[topic].append, 10)
    robot.spin_until(
        lambda: all(publisher.get_subscription_count() for publisher in robot._publishers.values()),
        time.monotonic() + 10,
        "its own topics",
    )
    with pytest.raises(FocusFailed, match="gave no answer"):
        robot.ask(questions(task(), 5000)[0])
    asked = dict.fromkeys(INPUTS, SENT)
    robot.spin_until(lambda: {topic: len(heard[topic]) for topic in heard} == asked, time.monotonic() + 10, "all of it")
    robot.close()


def sim_eval(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "focusdepth_ros.sim_eval", *options]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=TIMEOUT_S)


def test_the_whole_loop(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="makes the tiny model")
    pytest.importorskip("matplotlib", reason="draws the picture")
    model, out, picture = write_model_folder(tmp_path / "model"), tmp_path / "s.json", tmp_path / "s.png"
    options = ("--model-dir", str(model), "--scenes", "2", "--out", str(out), "--picture", str(picture))
    done = sim_eval(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "objects asked for: 2 of 2" in done.stdout
    result = json.loads(out.read_text())
    assert (result["seeds"], result["scenes"], result["prompt"]) == ([950000, 950001], 2, "box")
    assert all(values["mask_iou"] > 0.3 for values in result["depth_hint"].values())  # the tiny net's mask is the box
    assert result["depth_hint"][next(iter(SENSORS))]["without the node"][SENSOR]["position_error_m"]["p50"] < 0.1
    assert min(cv2.imread(str(picture)).shape[:2]) > 600


def test_a_prompt_that_the_model_does_not_take_ends_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="makes the tiny model")
    done = sim_eval("--prompt", "text", "--model-dir", str(write_model_folder(tmp_path / "model")))
    assert done.returncode == 1
    assert done.stderr == "sim_eval: --prompt text: model tiny takes box\n"


def test_seeds_that_were_trained_on_are_refused() -> None:
    done = sim_eval("--first", "949999")
    assert done.returncode == 2
    assert "the held-out seeds are 950000 to 999999" in done.stderr
