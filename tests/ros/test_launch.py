"""The launch files, run by the launch tools of a ROS distribution."""

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
from rcl_interfaces.srv import GetParameters

import launch
from focusdepth_ros import qos

pytestmark = pytest.mark.ros_distro

TIMEOUT_S = 60.0
exit_codes: list[int] = []


def launched(file: str, **arguments: str) -> launch.LaunchDescription:
    path = os.path.join(get_package_share_directory("focusdepth_ros"), "launch", file)
    return launch.LaunchDescription(
        [
            IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=arguments.items()),
            RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: exit_codes.append(event.returncode))),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


def wait_for_status(node: str, message: str) -> None:
    statuses: list[DiagnosticStatus] = []
    # With rosout, destroying it crashed now and then while the launch tools' own node spun in its thread.
    probe = rclpy.create_node("probe", enable_rosout=False)
    probe.create_subscription(DiagnosticStatus, f"{node}/status", statuses.append, qos.latched())
    end = time.monotonic() + TIMEOUT_S
    while not any(message in status.message for status in statuses):
        assert time.monotonic() < end, f"not active; the status says: {[status.message for status in statuses]}"
        rclpy.spin_once(probe, timeout_sec=0.1)
    probe.destroy_node()


def is_rectified(node: str) -> bool:
    probe = rclpy.create_node("probe", enable_rosout=False)
    client = probe.create_client(GetParameters, f"{node}/get_parameters")
    assert client.wait_for_service(TIMEOUT_S)
    future = client.call_async(GetParameters.Request(names=["rectified"]))
    rclpy.spin_until_future_complete(probe, future, timeout_sec=TIMEOUT_S)
    probe.destroy_node()
    return bool(future.result().values[0].bool_value)


@launch_pytest.fixture
def focus() -> launch.LaunchDescription:
    exit_codes.clear()
    return launched("focus.launch.py", namespace="/robot", image="/camera/image_rect")


@pytest.mark.launch(fixture=focus)
def test_the_node_becomes_active_listens_where_it_was_told_and_ends_cleanly(ros: None) -> Iterator[None]:
    wait_for_status("/robot/focus_node", "waiting for images on /camera/image_rect")
    yield  # the launch file is shut down here, by SIGINT
    assert exit_codes == [0]


@launch_pytest.fixture
def camera() -> launch.LaunchDescription:
    return launched("camera.launch.py", camera="realsense", image_transport="compressed")


@pytest.mark.launch(fixture=camera)
def test_a_known_camera_needs_no_topics_and_takes_the_other_arguments(ros: None) -> None:
    wait_for_status("/focus_node", "waiting for images on /camera/camera/color/image_raw/compressed")


@launch_pytest.fixture
def raw_camera() -> launch.LaunchDescription:
    return launched("camera.launch.py", camera="oak_d")


@pytest.mark.launch(fixture=raw_camera)
def test_a_camera_that_rectifies_nothing_is_not_taken_for_a_rectified_one(ros: None) -> None:
    wait_for_status("/focus_node", "waiting for images on /oak/rgb/image_raw")
    assert not is_rectified("/focus_node")


@launch_pytest.fixture
def two_cameras() -> launch.LaunchDescription:
    return launched("two_cameras.launch.py", image="color/image_raw", rectified="false")


@pytest.mark.launch(fixture=two_cameras)
def test_two_cameras_live_in_two_namespaces_and_take_the_same_arguments(ros: None) -> None:
    for side in ("left", "right"):
        wait_for_status(f"/{side}/focus_node", f"waiting for images on /{side}/color/image_raw")
        assert not is_rectified(f"/{side}/focus_node")


@launch_pytest.fixture
def demo_sim() -> launch.LaunchDescription:
    return launched("demo_sim.launch.py", namespace="/robot")


@pytest.mark.launch(fixture=demo_sim)
def test_the_images_of_the_simulated_camera_arrive(ros: None) -> None:
    wait_for_status("/robot/focus_node", "idle: nobody subscribes to an output")
