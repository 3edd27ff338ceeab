"""focus_node on the topics of a common camera, whose driver or simulator runs already.

ros2 launch focusdepth_ros camera.launch.py camera:=realsense rviz:=true

Every argument of focus.launch.py is taken, too.
"""

from __future__ import annotations

import os

from ament_index_python.packages import get_package_share_directory
from launch.action import Action
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchDescription

FOCUS = os.path.join(get_package_share_directory("focusdepth_ros"), "launch", "focus.launch.py")
RAW = {"rectified": "false"}  # drivers and simulators publish colour as the lens gives it, and depth registered to that
SIMULATED = {**RAW, "use_sim_time": "true"}
CAMERAS = {
    # ros2 launch realsense2_camera rs_launch.py align_depth.enable:=true enable_sync:=true
    "realsense": {
        "image": "/camera/camera/color/image_raw",
        "camera_info": "/camera/camera/color/camera_info",
        "depth_hint": "/camera/camera/aligned_depth_to_color/image_raw",
        "fixed_frame": "camera_color_optical_frame",
        **RAW,
    },
    # ros2 launch depthai_ros_driver camera.launch.py
    "oak_d": {
        "image": "/oak/rgb/image_raw",
        "camera_info": "/oak/rgb/camera_info",
        "depth_hint": "/oak/stereo/image_raw",
        "fixed_frame": "oak_rgb_camera_optical_frame",
        **RAW,
    },
    # ros2 run usb_cam usb_cam_node_exe, and ros2 run image_proc rectify_node --ros-args -r image:=image_raw
    "usb_cam": {"image": "/image_rect", "camera_info": "/camera_info", "fixed_frame": "default_cam"},
    # An rgbd_camera of Gazebo whose topic is "camera", through ros_gz_bridge
    "gazebo": {
        "image": "/camera/image",
        "camera_info": "/camera/camera_info",
        "depth_hint": "/camera/depth_image",
        **SIMULATED,
    },
    # The camera helpers of Isaac Sim's ROS 2 bridge with the topics of its tutorials
    "isaac_sim": {"image": "/rgb", "camera_info": "/camera_info", "depth_hint": "/depth", **SIMULATED},
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("camera", choices=list(CAMERAS), description="Whose topics to take."),
            OpaqueFunction(function=_focus),
        ]
    )


def _focus(context: LaunchContext) -> list[Action]:
    """What is given on the command line comes before the camera's."""
    topics = CAMERAS[LaunchConfiguration("camera").perform(context)]
    arguments = {name: context.launch_configurations.get(name, value) for name, value in topics.items()}
    return [IncludeLaunchDescription(PythonLaunchDescriptionSource(FOCUS), launch_arguments=arguments.items())]
