"""The demo: its bookkeeping by hand, and once as a whole with a model that costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")
pytest.importorskip("rich", reason="needs the demo's packages")
pytest.importorskip("mujoco", reason="needs the simulator's packages")


from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_ros.cloud_msgs import to_cloud
from focusdepth_ros.demo.contact_sheet import chosen, contact_sheet
from focusdepth_ros.demo.processes import NodeDied, Nodes
from focusdepth_ros.demo.recording import DEPTH, Recording
from focusdepth_ros.demo.scores import figures, score
from focusdepth_ros.image_msgs import to_image
from focusdepth_ros.msg import FocusTarget, FocusTarget3DArray, FocusTargetArray
from tests.ros.harness import FakeEngine, camera_info, fake_pipeline, header, picture, roi
from tests.tiny_model import write_model_folder

TIMEOUT_S = 120.0
BOX = (30, 20, 40, 30)  # x, y, width, height
MASK = np.zeros((84, 112), np.uint16)
MASK[20:50, 30:70] = 3  # the target's id


def truth_m() -> np.ndarray:
    """Affine in disparity in the fake network's raw depth, except for the target, which is nearer."""
    depth = np.broadcast_to(1 / np.linspace(0.5, 1.0, 112, dtype=np.float32), (84, 112)).copy()
    depth[MASK == 3] *= 0.8
    return depth


def answered(recording: Recording, seconds: int, raw: np.ndarray, target_id: str | None = "3") -> None:
    """Adds an image with truth and an answer 50 ms later."""
    stamp = header(seconds)
    target = FocusTarget(id="3", roi=roi(*BOX), text="red mug", score=1.0)
    messages: dict[str, Any] = {
        "image": to_image(picture(), "rgb8", stamp),
        "camera_info": camera_info(seconds),
        "sim/depth": to_image(truth_m(), "32FC1", stamp),
        "sim/instances": to_image(MASK, "16UC1", stamp),
        "sim/targets": FocusTargetArray(header=stamp, targets=[target]),
        "target_mask": to_image((MASK > 0).astype(np.uint16), "16UC1", stamp),
        "target_points": to_cloud([np.ones((9, 3))], [np.full(9, 0xC8C8C8)], stamp),
        "targets_3d": FocusTarget3DArray(header=stamp),
    }
    for topic, msg in messages.items():
        recording.add(topic, msg, None)
    shot = recording.add(DEPTH, to_image(raw, "32FC1", stamp), seconds * 10**9 + 550_000_000)
    shot.target_id = target_id


def unanswered(recording: Recording, seconds: int) -> None:
    recording.add("image", to_image(picture(), "rgb8", header(seconds)), None)


@pytest.fixture
def pipeline() -> Pipeline:
    return fake_pipeline(FakeEngine())


def test_only_images_since_the_beginning_count_and_a_late_one_is_not_dropped() -> None:
    recording = Recording()
    raw = 1 / truth_m()
    answered(recording, 1, raw)
    assert recording.warm and not recording.answered
    recording.begin(2 * 10**9)
    answered(recording, 2, raw)
    unanswered(recording, 3)
    answered(recording, 4, raw)
    unanswered(recording, 5)
    assert [shot.stamp_ns // 10**9 for shot in recording.answered] == [2, 4]
    assert recording.dropped == 1
    assert recording.answered[0].latency_ms == 50


def test_figures_compare_both_nets_with_the_truth(pipeline: Pipeline) -> None:
    recording = Recording()
    recording.begin(0)
    for seconds in (1, 2, 3):
        answered(recording, seconds, 1 / truth_m(), target_id="3" if seconds < 3 else None)
    scored = score(recording.answered, pipeline, lambda count: None)
    assert len(scored) == 2  # the third image's target is not certain
    result = figures(recording, scored, {"seed": 7})
    assert (result["answered"], result["dropped"], result["fps"], result["seed"]) == (3, 0, 1.0, 7)
    assert result["latency_ms"] == {"p50": 50, "p95": 50, "p99": 50}
    assert result["absrel"]["focus"]["foreground"] < 1e-4  # the truth itself, up to scale and shift
    assert result["absrel"]["plain"]["foreground"] > 0.05
    assert set(result["absrel"]["plain"]) == {"foreground", "band", "global"}
    assert result["machine"] and result["versions"]["numpy"] == np.__version__
    json.dumps(result)


def test_the_contact_sheet_shows_each_target(pipeline: Pipeline) -> None:
    recording = Recording()
    recording.begin(0)
    for seconds in range(1, 8):
        answered(recording, seconds, 1 / truth_m())
    scored = score(recording.answered, pipeline, lambda count: None)
    assert [one.shot.stamp_ns // 10**9 for one in chosen(scored)] == [3, 5]
    one_row, two_rows = contact_sheet(scored[:1]), contact_sheet(scored)
    assert one_row.dtype == np.uint8 and one_row.shape[2] == 3
    assert two_rows.shape[0] > one_row.shape[0] > 200
    assert two_rows.std() > 30


def test_a_target_that_left_the_image_is_not_scored(pipeline: Pipeline) -> None:
    recording = Recording()
    recording.begin(0)
    answered(recording, 1, 1 / truth_m(), target_id="9")
    assert score(recording.answered, pipeline, lambda count: None) == []


def test_a_node_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    with Nodes(tmp_path) as nodes:
        nodes.start("focus_node", {"backend": "abacus"})
        end = time.monotonic() + TIMEOUT_S
        with pytest.raises(NodeDied, match="focus_node has ended with exit status 1: .*backend = 'abacus' is unknown"):
            while time.monotonic() < end:
                nodes.check()
                time.sleep(0.05)


def test_nodes_end_with_the_demo(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Nodes(tmp_path) as nodes:
        nodes.start("focus_node", {})
        process = nodes._processes["focus_node"]
        raise KeyboardInterrupt
    assert process.returncode is not None


def demo(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "focusdepth_ros.demo", *options]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=TIMEOUT_S)


def test_the_whole_demo(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="makes the tiny model")
    model, out = write_model_folder(tmp_path / "model"), tmp_path / "out"
    done = demo("--model-dir", str(model), "--out", str(out), "--frames", "8", "--rate", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "answered: 8 of 8" in done.stdout
    result = json.loads((out / "metrics.json").read_text())
    assert 8 <= result["answered"] <= 10
    assert result["latency_ms"]["p50"] > 0
    assert result["absrel"]["focus"]["foreground"] > 0
    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet.shape[0] > 400 and sheet.shape[1] > 1000


def test_a_demo_without_a_model_ends_in_one_sentence(tmp_path: Path) -> None:
    done = demo("--model-dir", str(tmp_path / "nowhere"), "--out", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "nowhere does not exist" in done.stderr
    assert not list(tmp_path.glob("*.json"))
