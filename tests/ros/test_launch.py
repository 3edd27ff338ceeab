"""The launch file, run by the launch tools of a ROS distribution."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("launch_pytest", reason="the launch tools come with a ROS distribution")
pytest.importorskip("launch_ros", reason="the launch tools come with a ROS distribution")

import launch_pytest
import rclpy
from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticStatus
from launch.actions import IncludeLaunchDescription, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource

import launch
from focusdepth_ros import qos

pytestmark = pytest.mark.ros_distro

TIMEOUT_S = 60.0
exit_codes: list[int] = []


@launch_pytest.fixture
def focus() -> launch.LaunchDescription:
    path = os.path.join(get_package_share_directory("focusdepth_ros"), "launch", "focus.launch.py")
    arguments = {"namespace": "/robot", "image": "/camera/image_rect"}.items()
    return launch.LaunchDescription(
        [
            IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=arguments),
            RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: exit_codes.append(event.returncode))),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


@pytest.mark.launch(fixture=focus)
def test_the_node_becomes_active_listens_where_it_was_told_and_ends_cleanly(ros: None) -> Iterator[None]:
    statuses: list[DiagnosticStatus] = []
    probe = rclpy.create_node("probe")
    probe.create_subscription(DiagnosticStatus, "/robot/focus_node/status", statuses.append, qos.latched())
    end = time.monotonic() + TIMEOUT_S
    while not any(status.message == "waiting for images on /camera/image_rect" for status in statuses):
        assert time.monotonic() < end, f"not active; the status says: {[status.message for status in statuses]}"
        rclpy.spin_once(probe, timeout_sec=0.1)
    probe.destroy_node()
    yield  # the launch file is shut down here, by SIGINT
    assert exit_codes == [0]
