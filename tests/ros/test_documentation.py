"""docs/NODE.md names every topic, parameter and key-value there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

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
