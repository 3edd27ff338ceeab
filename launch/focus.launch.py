"""focus_node with its parameters and, unless told otherwise, brought to active.

ros2 launch focusdepth_ros focus.launch.py image:=/camera/image_rect camera_info:=/camera/camera_info
"""

from __future__ import annotations

import os

from ament_index_python.packages import get_package_share_directory
from launch.action import Action
from launch.actions import DeclareLaunchArgument, EmitEvent, RegisterEventHandler, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from focusdepth_ros import transport
from launch import LaunchDescription

CONFIG = os.path.join(get_package_share_directory("focusdepth_ros"), "config")
REMAPPED = {
    "image": "Topic of the rectified camera image.",
    "camera_info": "Topic of its camera_info.",
    "depth_hint": "Topic of sensor depth registered to the image; it makes the depth metric.",
}
ARGUMENTS = {
    "namespace": ("", "Namespace of the node."),
    "model_dir": ("", "Folder of the model; empty: the one shipped with the package."),
    "params_file": (os.path.join(CONFIG, "focus.yaml"), "Parameters of the node."),
    "autostart": ("true", "Whether to configure and activate the node."),
    "transport_profile": (
        transport.profile(),
        "Fast DDS profile; the one shipped carries large images by shared memory if the camera's process has it too.",
    ),
}


def generate_launch_description() -> LaunchDescription:
    arguments = {**{topic: (topic, meaning) for topic, meaning in REMAPPED.items()}, **ARGUMENTS}
    node = LifecycleNode(
        package="focusdepth_ros",
        executable="focus_node",
        name="focus_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            {"model_dir": ParameterValue(LaunchConfiguration("model_dir"), value_type=str)},
        ],
        remappings=[(topic, LaunchConfiguration(topic)) for topic in REMAPPED],
        additional_env=transport.allocator(),
    )
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=v, description=text) for name, (v, text) in arguments.items()),
            SetEnvironmentVariable(transport.profile_variable(), LaunchConfiguration("transport_profile")),
            *autostart(node),
            node,
        ]
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
