"""docs/NODE.md names every topic, parameter and key-value there is, and its examples are Python."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from std_msgs.msg import Header

from focusdepth_ros.cloud_msgs import to_cloud
from focusdepth_ros.msg import FocusTarget3D, FocusTarget3DArray
from focusdepth_ros.outputs import OUTPUTS
from focusdepth_ros.parameter_store import ros_name
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.traffic import COUNTS
from tests.ros.harness import INPUT_TYPES, Rig, image

TEXT = (Path(__file__).parents[2] / "docs" / "NODE.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_parameter_and_no_other() -> None:
    rows = [line.split("|")[1] for line in section("Parameters").splitlines() if line.startswith("| `")]
    named = {name: "*" in row for row in rows for name in re.findall("`([^`]+)`", row)}
    assert named == {ros_name(s): s.metadata["settable"] == "unconfigured" for s in fields(Parameters)}


def test_every_topic() -> None:
    named = set(re.findall("`([^`]+)`", section("Topics")))
    assert {topic for topic, *_ in OUTPUTS} | set(INPUT_TYPES) <= named


def test_every_key_value(rig: Rig) -> None:
    rig.send("image", image(1))
    rig.answer(1)
    rig.spin_until(lambda: rig.value("latency_ms") and rig.value("memory_mb"), "the values")
    named = set(re.findall("`([^`]+)`", section("States").split("Key-values")[1]))
    assert named == {item.key for item in rig.statuses[-1].values} >= set(COUNTS)


CLOUD = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "u4"), ("label", "u4")])


@pytest.mark.parametrize(("residual", "grasped"), [(0.01, ["mug", "cup"]), (0.1, []), (math.nan, ["mug", "cup"])])
def test_the_example_hands_each_target_over_with_its_points(
    monkeypatch: pytest.MonkeyPatch, residual: float, grasped: list[str]
) -> None:
    reader = SimpleNamespace(read_points=lambda msg, field_names: np.frombuffer(msg.data, CLOUD)[[*field_names]])
    monkeypatch.setitem(sys.modules, "sensor_msgs_py", SimpleNamespace(point_cloud2=reader))
    monkeypatch.setitem(sys.modules, "message_filters", SimpleNamespace())
    (example,) = re.findall("```python\n(.*?)```", TEXT, re.DOTALL)
    handed: dict[str, Any] = {}
    names: dict[str, Any] = {"grasp": lambda target_id, points, *_: handed.update({target_id: points})}
    exec(compile(example, "NODE.md", "exec"), names)
    parts = [np.full((count, 3), count, np.float32) for count in (3, 2)]
    cloud = to_cloud(parts, [np.zeros(len(part), np.uint32) for part in parts], Header())
    targets = [FocusTarget3D(id=name, label=label, found=True) for label, name in enumerate(("mug", "cup"), start=1)]
    names["on_answer"](cloud, FocusTarget3DArray(has_scale=True, scale_residual=residual, targets=targets))
    assert list(handed) == grasped
    for target_id, count in zip(grasped, (3, 2)):
        np.testing.assert_array_equal(handed[target_id]["z"], [count] * count)
