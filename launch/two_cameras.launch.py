"""Two cameras, each with a focus_node in a namespace of its own: /left/focus_node and /right/focus_node.

ros2 launch focusdepth_ros two_cameras.launch.py image:=camera/color/image_raw rectified:=false

Each takes image, camera_info, depth_hint and targets of its namespace, and /clicked_point, which reaches both. Every
argument of focus.launch.py but the namespace is taken and goes to both, so that topics must be relative. Cameras whose
drivers are in other namespaces take camera.launch.py twice, with another namespace and other topics each.
"""

from __future__ import annotations

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchDescription

FOCUS = os.path.join(get_package_share_directory("focusdepth_ros"), "launch", "focus.launch.py")
NAMESPACES = ("left", "right")


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            GroupAction(  # which keeps what the launch file sets to itself
                [
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource(FOCUS), launch_arguments={"namespace": namespace}.items()
                    )
                ]
            )
            for namespace in NAMESPACES
        ]
    )
