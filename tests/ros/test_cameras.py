"""What the launch files name exists. They are read, not run: the launch tools come with a ROS distribution."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from focusdepth_ros.parameter_store import ros_name
from focusdepth_ros.parameters import Parameters
from tests.ros.harness import INPUT_TYPES

LAUNCH = Path(__file__).parents[2] / "launch"


def tables(file: str) -> dict[str, ast.Dict]:
    """The dictionaries of a launch file, by name."""
    body = ast.parse((LAUNCH / file).read_text(encoding="utf-8")).body
    return {node.targets[0].id: node.value for node in body if isinstance(getattr(node, "value", None), ast.Dict)}


def keys(table: ast.Dict) -> set[str]:
    return {key.value for key in table.keys if key is not None}


def test_focus_node_has_what_its_launch_file_remaps_and_sets() -> None:
    focus = tables("focus.launch.py")
    assert keys(focus["REMAPPED"]) <= {*INPUT_TYPES, "detections"}
    assert keys(focus["PARAMETERS"]) <= {ros_name(spec) for spec in fields(Parameters)} | {"use_sim_time"}


def test_each_camera_gives_arguments_of_focus_launch() -> None:
    focus, cameras = tables("focus.launch.py"), tables("camera.launch.py")
    known = keys(focus["REMAPPED"]) | keys(focus["PARAMETERS"]) | keys(focus["ARGUMENTS"])
    values: dict[str, Any] = {}
    for name in ("RAW", "SIMULATED", "CAMERAS"):
        values[name] = eval(compile(ast.Expression(cameras[name]), name, "eval"), values)
    for camera, given in values["CAMERAS"].items():
        assert {"image", "camera_info", "rectified"} <= set(given) <= known, camera
