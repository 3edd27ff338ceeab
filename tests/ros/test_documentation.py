"""docs/NODE.md names every topic, parameter and key-value there is, and its examples are Python."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

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


@pytest.mark.parametrize(
    ("has_scale", "residual", "is_grasped"),
    [(True, 0.01, True), (True, 0.1, False), (True, math.nan, True), (False, math.nan, False)],
)
def test_the_example_grasps_by_good_metres(
    monkeypatch: pytest.MonkeyPatch, has_scale: bool, residual: float, is_grasped: bool
) -> None:
    monkeypatch.setitem(sys.modules, "sensor_msgs_py", SimpleNamespace(point_cloud2=None))
    (example,) = re.findall("```python\n(.*?)```", TEXT, re.DOTALL)
    grasped: list[str] = []
    names: dict[str, Any] = {"grasp": lambda target_id, *_: grasped.append(target_id)}
    exec(compile(example, "NODE.md", "exec"), names)
    target = FocusTarget3D(id="mug", found=True)
    names["on_targets"](FocusTarget3DArray(has_scale=has_scale, scale_residual=residual, targets=[target]))
    assert grasped == ["mug"] * is_grasped
