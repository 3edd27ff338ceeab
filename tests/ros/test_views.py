"""The configurations of RViz and Foxglove name topics that the node has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image, PointCloud2

from focusdepth_ros.msg import FocusTarget3D, FocusTarget3DArray
from focusdepth_ros.outputs import OUTPUTS

CONFIG = Path(__file__).parents[2] / "config"
KNOWN = {topic.replace("~", "/focus_node") for topic, *_ in OUTPUTS} | {"/focus_node/status", "/clicked_point"}
TYPES = {topic.replace("~", "/focus_node"): kind for topic, kind, *_ in OUTPUTS}
RVIZ_SHOWS = {"rviz_default_plugins/Image": Image, "rviz_default_plugins/PointCloud2": PointCloud2}
SHOWN = {f"/focus_node/{topic}" for topic in ("debug_image", "depth/image_rect", "target_mask", "target_points")}


@pytest.mark.parametrize("name", ["focus.rviz", "focus.foxglove.json"])
def test_the_view_shows_what_the_node_publishes(name: str) -> None:
    text = (CONFIG / name).read_text()
    named = set(re.findall(r"/(?:focus_node|clicked)[a-z0-9_/]*", text))
    assert SHOWN | {"/clicked_point"} <= named <= KNOWN


def test_rviz_asks_for_no_more_than_is_offered() -> None:
    manager = yaml.safe_load((CONFIG / "focus.rviz").read_text())["Visualization Manager"]
    topics = [display["Topic"] for display in manager["Displays"] if "Topic" in display]
    assert {topic["Value"] for topic in topics} == SHOWN
    assert {topic["Reliability Policy"] for topic in topics} == {"Best Effort"}


def test_each_display_of_rviz_shows_its_type() -> None:
    manager = yaml.safe_load((CONFIG / "focus.rviz").read_text())["Visualization Manager"]
    for display in manager["Displays"]:
        if "Topic" in display:
            assert TYPES[display["Topic"]["Value"]] is RVIZ_SHOWS[display["Class"]]


def test_each_panel_of_foxglove_shows_its_type() -> None:
    panels = json.loads((CONFIG / "focus.foxglove.json").read_text())["configById"]
    images = [panel["imageMode"]["imageTopic"] for name, panel in panels.items() if name.startswith("Image!")]
    assert len(images) == 3 and all(TYPES[topic] is Image for topic in images)
    assert [TYPES[topic] for topic in panels["3D!points"]["topics"]] == [PointCloud2]
    topic, field = panels["RawMessages!status"]["topicPath"].split(".")
    assert topic == "/focus_node/status" and hasattr(DiagnosticStatus(), field)
    (path,) = panels["Plot!depth"]["paths"]
    topic, targets, quantiles = path["value"].split(".")
    assert TYPES[topic] is FocusTarget3DArray and hasattr(FocusTarget3DArray(), targets.removesuffix("[:]"))
    assert len(getattr(FocusTarget3D(), quantiles.removesuffix("[1]"))) == 3


def test_every_panel_of_the_layout_is_configured() -> None:
    layout = json.loads((CONFIG / "focus.foxglove.json").read_text())

    def panels(node: str | dict) -> set[str]:
        return {node} if isinstance(node, str) else panels(node["first"]) | panels(node["second"])

    assert panels(layout["layout"]) == set(layout["configById"])
