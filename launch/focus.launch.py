"""focus_node with its parameters and, unless told otherwise, brought to active.

ros2 launch focusdepth_ros focus.launch.py image:=/camera/image_rect camera_info:=/camera/camera_info rviz:=true
"""

from __future__ import annotations

import os

from ament_index_python.packages import get_package_share_directory
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from focusdepth_ros import transport
from launch import LaunchDescription

CONFIG = os.path.join(get_package_share_directory("focusdepth_ros"), "config")
REMAPPED = {
    "image": "Topic of the camera image; of one that is not rectified, with rectified:=false.",
    "camera_info": "Topic of its camera_info.",
    "depth_hint": "Topic of sensor depth registered to the image; it makes the depth metric.",
    "detections": "Topic of a detector's vision_msgs/Detection2DArray, whose boxes become the targets.",
    "clicked_point": "Topic of RViz's Publish Point.",
}
DEFAULTS = {"clicked_point": "/clicked_point"}  # where it is not the name itself
PARAMETERS = {  # that differ from robot to robot; those not given are as in params_file
    "model_dir": (str, "Folder of the model."),
    "backend": (str, "What runs the networks."),
    "image_transport": (str, "raw, or compressed for JPEG and PNG on the image topic's /compressed."),
    "rectified": (bool, "false if the image is not rectified: its points are placed by K and D of camera_info."),
    "target_frame": (str, "Frame of the points by TF."),
    "use_sim_time": (bool, "true if the clock is that of a simulator or a bag."),
}
SHOWN = ("debug_image", "depth/image_rect", "target_mask", "target_points")  # by config/focus.rviz
ARGUMENTS = {
    "namespace": ("", "Namespace of the node."),
    "params_file": (os.path.join(CONFIG, "focus.yaml"), "Parameters of the node."),
    "autostart": ("true", "Whether to configure and activate the node."),
    "rviz": ("false", "Whether to open RViz with image, depth, mask and points; a clicked point becomes the target."),
    "fixed_frame": ("camera_optical_frame", "Frame of RViz's view: the camera's optical frame, or target_frame."),
    "transport_profile": (
        transport.profile(),
        "Fast DDS profile; the one shipped carries large images by shared memory if the camera's process has it too.",
    ),
}


def generate_launch_description() -> LaunchDescription:
    arguments = {
        **{topic: (DEFAULTS.get(topic, topic), meaning) for topic, meaning in REMAPPED.items()},
        **{name: ("", f"{meaning} Empty: as in params_file.") for name, (_, meaning) in PARAMETERS.items()},
        **ARGUMENTS,
    }
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=v, description=text) for name, (v, text) in arguments.items()),
            SetEnvironmentVariable(transport.profile_variable(), LaunchConfiguration("transport_profile")),
            OpaqueFunction(function=focus),
            rviz(),
        ]
    )


def focus(context: LaunchContext) -> list[Action]:
    values = {name: (LaunchConfiguration(name), kind) for name, (kind, _) in PARAMETERS.items()}
    given = {name: ParameterValue(v, value_type=kind) for name, (v, kind) in values.items() if v.perform(context)}
    node = LifecycleNode(
        package="focusdepth_ros",
        executable="focus_node",
        name="focus_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[LaunchConfiguration("params_file"), *([given] if given else [])],
        remappings=[(topic, LaunchConfiguration(topic)) for topic in REMAPPED],
        additional_env=transport.allocator(),
    )
    return [*autostart(node), node]


def rviz() -> Node:
    """Its topics are those of a node without namespace, and move to where the node's are."""
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", os.path.join(CONFIG, "focus.rviz"), "-f", LaunchConfiguration("fixed_frame")],
        remappings=[(f"/focus_node/{topic}", f"focus_node/{topic}") for topic in SHOWN],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )


def autostart(node: LifecycleNode) -> list[Action]:
    """configure once the process is there, activate once the node is configured."""

    def transition(transition_id: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition_id))

    handlers = [
        OnProcessStart(target_action=node, on_start=[transition(Transition.TRANSITION_CONFIGURE)]),
        OnStateTransition(
            target_lifecycle_node=node,
            start_state="configuring",
            goal_state="inactive",
            entities=[transition(Transition.TRANSITION_ACTIVATE)],
        ),
    ]
    wanted = LaunchConfiguration("autostart")
    return [RegisterEventHandler(handler, condition=IfCondition(wanted)) for handler in handlers]
