"""Recording and replay over DDS, with the commands as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")
pytest.importorskip("rosbags", reason="needs rosbags")

from lifecycle_msgs.msg import Transition
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg
from sensor_msgs.msg import Image
from std_msgs.msg import String

from focusdepth_ros import qos
from focusdepth_ros.bag.play import Entry, _steps
from focusdepth_ros.bag.record import VERSION, Recorder
from focusdepth_ros.bag.types import Definitions
from focusdepth_ros.msg import FocusTarget, FocusTargetArray
from tests.ros.harness import OUTPUT_TYPES, TIMEOUT_S, Rig, camera_info, depth_hint, header, image, roi

INPUTS = ("/image", "/camera_info", "/depth_hint", "/targets", "/target_box")
SECONDS = range(1, 7)
STRING, UNKNOWN = "std_msgs/msg/String", "foreign_msgs/msg/Mounting"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "focusdepth_ros.bag", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, env=os.environ, text=True, **pipes))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def answers(rig: Rig) -> dict[str, list[str]]:
    """Everything that was answered, by topic, as text, in which NaN is like NaN; forgotten by the rig."""
    for seconds in SECONDS:
        for topic in OUTPUT_TYPES:
            rig.answer(seconds, topic)
    got = {
        topic: [str((msg, bytes(getattr(msg, "data", b"")))) for msg in rig.received[topic]] for topic in OUTPUT_TYPES
    }
    for topic in OUTPUT_TYPES:
        rig.received[topic].clear()
    return got


def record(rig: Rig, start: Start, bag: Path) -> None:
    process = start("record", bag, *INPUTS)
    rig.spin_until(lambda: all(rig.probe.count_subscribers(topic) >= 2 for topic in INPUTS), "the recorder")
    for seconds in SECONDS:
        target = FocusTarget(id="mug", roi=roi(5 * seconds, 20, 30, 40), score=1.0)
        if seconds < 5:
            rig.focus(FocusTargetArray(header=header(seconds), targets=[target]))
        elif seconds == 5:
            rig.focus(roi(60, 20, 30, 40))
        for topic, msg in {"camera_info": camera_info, "image": image, "depth_hint": depth_hint}.items():
            rig.send(topic, msg(seconds))
        rig.answer(seconds, "debug_image")
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors
    assert [line.split() for line in said.splitlines()] == [[n, t] for n, t in zip("66641", INPUTS)]


def test_the_same_bag_gives_the_same_answers(paired: Rig, start: Start, tmp_path: Path) -> None:
    record(paired, start, tmp_path / "drive")
    live = answers(paired)
    assert len(set(live["target_mask"])) == len(SECONDS)
    process = start("play", tmp_path / "drive", "--step", "/image", "/focus_node/targets_3d")
    assert answers(paired) == live
    paired.spin_until(lambda: process.poll() is not None, "the player's end")
    assert process.returncode == 0, process.stderr.read()


def test_a_bag_plays_in_its_own_time(make_rig: Any, start: Start, tmp_path: Path) -> None:
    rig = make_rig(pair_wait=10.0)
    rig.start()
    record(rig, start, tmp_path / "drive")
    answers(rig)
    assert rig.transition(Transition.TRANSITION_DEACTIVATE)
    heard: list[Image] = []
    rig.probe.create_subscription(Image, "image", heard.append, 10)
    process = start("play", tmp_path / "drive", "--rate", "10")
    rig.spin_until(lambda: process.poll() is not None, "the player's end")
    rig.spin_until(lambda: len(heard) == len(SECONDS), "all images")
    assert heard == [image(seconds) for seconds in SECONDS]


def test_a_latched_topic_is_latched_again(make_rig: Any, start: Start, tmp_path: Path) -> None:
    probe = (rig := make_rig()).probe
    publisher = probe.create_publisher(String, "/note", qos.latched())
    publisher.publish(String(data="said before"))
    with Writer(tmp_path / "drive", version=VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
        recorder = Recorder(probe, writer, ["/note"])
        rig.spin_until(lambda: recorder.counts["/note"], "the message in the bag")
    probe.destroy_publisher(publisher)
    probe.destroy_subscription(next(recording for recording in probe.subscriptions if recording.topic_name == "/note"))
    heard: list[String] = []
    probe.create_subscription(String, "/note", heard.append, qos.latched())
    start("play", tmp_path / "drive")
    rig.spin_until(lambda: heard, "the message")
    assert heard == [String(data="said before")]


def test_playing_waits_for_every_topic_that_is_heard(make_rig: Any, start: Start, tmp_path: Path) -> None:
    rig = make_rig()
    with Writer(tmp_path / "drive", version=VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic in ("/early", "/late"):
            connection = writer.add_connection(topic, "std_msgs/msg/String", typestore=Definitions().store)
            writer.write(connection, 0, serialize_message(String(data=topic)))
    heard: list[str] = []
    rig.probe.create_subscription(String, "/early", lambda msg: heard.append(msg.data), 10)
    unmatched = rig.probe.create_subscription(String, "/late", print, qos.latched())  # which the player does not offer
    start("play", tmp_path / "drive")
    rig.spin_until(lambda: rig.probe.count_publishers("/late"), "the player")
    for _ in range(20):
        rig._probe_executor.spin_once(timeout_sec=0.05)
    assert not heard
    rig.probe.create_subscription(String, "/late", lambda msg: heard.append(msg.data), 10)
    rig.probe.destroy_subscription(unmatched)
    rig.spin_until(lambda: sorted(heard) == ["/early", "/late"], "both messages")


def test_an_interrupt_ends_a_gap_in_the_bag(make_rig: Any, start: Start, tmp_path: Path) -> None:
    rig = make_rig()
    with Writer(tmp_path / "drive", version=VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/note", "std_msgs/msg/String", typestore=Definitions().store)
        for time_ns in (0, 600 * 10**9):
            writer.write(connection, time_ns, serialize_message(String(data="now")))
    heard: list[String] = []
    rig.probe.create_subscription(String, "/note", heard.append, 10)
    process = start("play", tmp_path / "drive")
    rig.spin_until(lambda: heard, "the first message")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, "Traceback" in errors) == (0, False), errors


def write(bag: Path, types: dict[str, str], count: int = 1) -> Path:
    """``count`` strings of 1 kB, a millisecond apart, on each topic, whatever its type says; returns the file."""
    store = Definitions().store
    store.register(get_types_from_msg("string data", UNKNOWN))
    with Writer(bag, version=VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = [writer.add_connection(topic, kind, typestore=store) for topic, kind in types.items()]
        for index in range(count):
            for connection in connections:
                writer.write(connection, index * 1_000_000, serialize_message(String(data="x" * 1000)))
    return next(bag.glob("*.mcap"))


def test_only_what_is_asked_for_and_of_a_known_type_is_played(make_rig: Any, start: Start, tmp_path: Path) -> None:
    rig = make_rig()
    write(tmp_path / "drive", {"/note": STRING, "/other": STRING, "/mounting": UNKNOWN}, count=5)
    heard: list[str] = []
    for topic in ("/note", "/other"):
        rig.probe.create_subscription(String, topic, lambda msg, topic=topic: heard.append(topic), 10)
    process = start("play", tmp_path / "drive", "--topics", "/note", "/mounting")
    rig.spin_until(lambda: process.poll() is not None, "the player's end")
    rig.spin_until(lambda: len(heard) == 5, "all messages")
    assert set(heard) == {"/note"}
    assert process.returncode == 0
    assert process.stderr.read().count(f"not installed here: /mounting ({UNKNOWN})") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--topics", "/mounting"), f"not played, as the types are not installed here: /mounting ({UNKNOWN})"),
        (("--topics", "/nothing"), "the bag has no /nothing, only /mounting, /note"),
        (("--step", "/mounting", "/answer"), "/mounting is not among what is played: /note"),
    ],
)
def test_a_bag_of_which_nothing_can_be_played(
    start: Start, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    write(tmp_path / "drive", {"/note": STRING, "/mounting": UNKNOWN})
    process = start("play", tmp_path / "drive", "--wait", "0.1", *arguments)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == sentence


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_recording_that_was_cut_short_is_named(start: Start, tmp_path: Path, share: float) -> None:
    file = write(tmp_path / "drive", {"/note": STRING}, count=200)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    process = start("play", tmp_path / "drive")
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert f"{tmp_path}/drive cannot be read as a bag: " in errors and "Traceback" not in errors


def test_damage_amid_the_messages_is_met_after_those_before_it(make_rig: Any, start: Start, tmp_path: Path) -> None:
    rig = make_rig()
    file = write(tmp_path / "drive", {"/note": STRING}, count=1200)  # in chunks of 1 MiB
    content = bytearray(file.read_bytes())
    content[1_100_000:1_110_000] = b"\xff" * 10_000
    file.write_bytes(content)
    heard: list[String] = []
    rig.probe.create_subscription(String, "/note", heard.append, 2000)
    process = start("play", tmp_path / "drive", "--rate", "10")
    rig.spin_until(lambda: process.poll() is not None, "the player's end")
    errors = process.stderr.read()
    played = int(errors.partition("is damaged after ")[2].split()[0])
    assert 900 < played < 1100 and errors.startswith(f"{tmp_path}/drive ") and "Traceback" not in errors
    assert process.returncode == 1
    rig.spin_until(lambda: len(heard) == played, "what was played")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("record", ".", "/image"), ". exists; give another folder"),
        (("record", "pyproject.toml/drive", "/image"), "Not a directory: 'pyproject.toml/drive'"),
        (("play", "nowhere"), "nowhere cannot be read as a bag"),
        (("play", "nowhere", "--rate", "0"), "--rate 0 is not above 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(start: Start, arguments: tuple[str, ...], sentence: str) -> None:
    process = start(*arguments)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert sentence in errors and "Traceback" not in errors


def test_a_step_sends_what_has_the_stamp_of_an_image_before_it() -> None:
    def entry(topic: str, time: int, stamp: int | None = None) -> Entry:
        return Entry(topic, time * 100_000_000, stamp, b"")

    box, late_box = entry("box", 0), entry("box", 2)
    first, second = entry("image", 1, 1), entry("image", 10, 2)
    hint, other_hint, last = entry("hint", 2, 1), entry("hint", 5, 7), entry("box", 11)
    steps = list(_steps(iter([box, first, late_box, hint, other_hint, second, last]), "image"))
    assert steps == [(first, [box, hint]), (second, [late_box, other_hint]), (None, [last])]
