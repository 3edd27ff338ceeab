"""A simulated camera and focus_node in one namespace, to be looked at in RViz and told where to look on /target_box.

ros2 launch focusdepth_ros demo_sim.launch.py rviz:=true
"""

from __future__ import annotations

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

LAUNCH = os.path.join(get_package_share_directory("focusdepth_ros"), "launch")


def generate_launch_description() -> LaunchDescription:
    focus = IncludeLaunchDescription(PythonLaunchDescriptionSource(os.path.join(LAUNCH, "focus.launch.py")))
    camera = Node(
        package="focusdepth_ros",
        executable="sim_camera_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            {
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
            }
        ],
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("seed", default_value="950009", description="Scene to show, 0 to 999999."),
            DeclareLaunchArgument("rate", default_value="4.0", description="Images per second."),
            focus,
            camera,
        ]
    )
