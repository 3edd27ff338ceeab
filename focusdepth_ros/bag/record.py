"""Topics into a bag, as the bytes that come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer

from focusdepth_ros.bag.types import Definitions, message_class

SEARCH_S = 0.2  # between two looks for publishers
QUEUE = 100
VERSION = 8  # of rosbag2's metadata, which Humble reads, too


def record(bag: Path, topics: Sequence[str]) -> Counter[str]:
    """Until the context ends; returns the number of messages per topic. Raises ``FileExistsError``."""
    if bag.exists():
        raise FileExistsError(f"{bag} exists; give another folder")
    with Writer(bag, version=VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
        node = rclpy.create_node("focusdepth_bag_record")
        recorder = Recorder(node, writer, topics)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            executor.spin()
        except Exception:
            if rclpy.ok():  # else Ctrl-C has ended the context, and this is how what was being done found out
                raise
        finally:
            node.destroy_node()
    return recorder.counts


class Recorder:
    def __init__(self, node: Node, writer: Writer, topics: Sequence[str]) -> None:
        self._node = node
        self._writer = writer
        self._missing = {node.resolve_topic_name(topic): topic for topic in topics}
        self._definitions = Definitions()
        self.counts: Counter[str] = Counter()
        node.create_timer(SEARCH_S, self._search)

    def _search(self) -> None:
        for name, topic in list(self._missing.items()):
            publishers = self._node.get_publishers_info_by_topic(name)
            if publishers:
                del self._missing[name]
                self._subscribe(name, topic, publishers[0])

    def _subscribe(self, name: str, topic: str, publisher: Any) -> None:
        kind, offered = publisher.topic_type, publisher.qos_profile
        self._definitions.need(kind)
        connection = self._writer.add_connection(
            name, kind, typestore=self._definitions.store, offered_qos_profiles=[_offered(offered)]
        )

        def write(data: bytes) -> None:
            self._writer.write(connection, self._node.get_clock().now().nanoseconds, data)
            self.counts[topic] += 1

        profile = QoSProfile(depth=QUEUE, reliability=offered.reliability, durability=offered.durability)
        self._node.create_subscription(message_class(kind), name, write, profile, raw=True)
        self._node.get_logger().info(f"recording {name}")


def _offered(profile: QoSProfile) -> Qos:
    return Qos(
        QosHistory(int(profile.history)),
        profile.depth,
        QosReliability(int(profile.reliability)),
        QosDurability(int(profile.durability)),
        QosTime(*divmod(profile.deadline.nanoseconds, 1_000_000_000)),
        QosTime(*divmod(profile.lifespan.nanoseconds, 1_000_000_000)),
        QosLiveliness(int(profile.liveliness)),
        QosTime(*divmod(profile.liveliness_lease_duration.nanoseconds, 1_000_000_000)),
        profile.avoid_ros_namespace_conventions,
    )
