"""focus_node on the topics of a common camera, whose driver or simulator runs already.

ros2 launch focusdepth_ros camera.launch.py camera:=realsense rviz:=true

Every argument of focus.launch.py is taken, too. Large images come through shared memory if the camera's process has the
Fast DDS profile of this package, as focus_node has here; before the camera's command, which is shown with each below:

export FASTRTPS_DEFAULT_PROFILES_FILE=$(ros2 pkg prefix --share focusdepth_ros)/config/fastdds_shm.xml

FASTDDS_DEFAULT_PROFILES_FILE from Kilted on.
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
    # ros2 launch depthai_ros_driver camera.launch.py pointcloud.enable:=true
    # It sets pipeline_gen.i_enable_sync, rgb.i_synced and stereo.i_synced, without which the stamps of colour and depth
    # differ. The driver's version 3 (depthai_ros_driver_v3; in Kilted without _v3) has driver.launch.py instead, and
    # takes the three from a params_file.
    "oak_d": {
        "image": "/oak/rgb/image_raw",
        "camera_info": "/oak/rgb/camera_info",
        "depth_hint": "/oak/stereo/image_raw",
        "fixed_frame": "oak_rgb_camera_optical_frame",
        **RAW,
    },
    # ros2 run usb_cam usb_cam_node_exe --ros-args -p camera_info_url:=file:///home/me/calibration.yaml
    "usb_cam": {"image": "/image_raw", "camera_info": "/camera_info", "fixed_frame": "default_cam", **RAW},
    # An rgbd_camera of Gazebo whose topic is "camera", through ros_gz_bridge. It must name its optical frame, by
    # <optical_frame_id> in <camera>, from Jetty on by <frame_id> in <sensor>; the frame of its link looks along x, and
    # points told in another frame would be turned by 90 degrees.
    "gazebo": {
        "image": "/camera/image",
        "camera_info": "/camera/camera_info",
        "depth_hint": "/camera/depth_image",
        **SIMULATED,
    },
    # The camera helpers of Isaac Sim's ROS 2 bridge with the topics of its tutorials
    "isaac_sim": {
        "image": "/rgb",
        "camera_info": "/camera_info",
        "depth_hint": "/depth",
        "fixed_frame": "sim_camera",
        **SIMULATED,
    },
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
