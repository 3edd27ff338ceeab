"""A bag's messages back onto their topics, as the bytes they are."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rosbags.interfaces import Connection, QosDurability
from rosbags.rosbag2 import Reader

from focusdepth_ros import qos
from focusdepth_ros.bag.types import message_class
from focusdepth_ros.pairing import stamp_ns

COMPANIONS_NS = 200_000_000  # after its image a message of the same stamp is looked for at most this long
SETTLE_S = 0.05  # from the companions of an image to the image, so that the node has them first
QUEUE = 100
ACKED_S = 2.0  # the longest that a subscriber may take for the last messages
SLICE_S = 0.1  # of a gap in the bag, after which a Ctrl-C is seen


@dataclass(frozen=True)
class Entry:
    """``stamp_ns``: of its header, None for a type without one."""

    topic: str
    time_ns: int
    stamp_ns: Optional[int]
    data: bytes


def play(
    bag: Path, rate: float, wait_s: float, clock: bool, step: Optional[Sequence[str]], topics: Sequence[str]
) -> int:
    """Returns the number of images without an answer, 0 if not in steps. ``topics``: to be played; all if empty.

    Raises ``ValueError`` for a bag that cannot be read, an unknown topic, and without anybody who answers.
    """
    node = rclpy.create_node("focusdepth_bag_play")
    try:
        with closing(_opened(bag)) as reader:
            player = Player(node, reader, {node.resolve_topic_name(topic) for topic in topics}, clock, wait_s)
            if step is None:
                player.by_time(rate)
                return 0
            return player.by_step(*(node.resolve_topic_name(topic) for topic in step))
    finally:
        node.destroy_node()


class Player:
    def __init__(self, node: Node, reader: Reader, topics: Collection[str], clock: bool, wait_s: float) -> None:
        self._node = node
        self._reader = reader
        self._wait_s = wait_s
        self._sent = 0
        self._classes: dict[str, Any] = {}
        self._connections = self._playable(topics)
        profiles = _profiles(self._connections)
        self._publishers = {
            topic: node.create_publisher(kind, topic, profiles[topic]) for topic, kind in self._classes.items()
        }
        self._clock = node.create_publisher(message_class("rosgraph_msgs/msg/Clock"), "/clock", 1) if clock else None
        for _ in range(2):  # when the first topic was heard, others may not have been known yet
            if not self._until(self._is_heard):
                break
            time.sleep(SETTLE_S)

    def by_time(self, rate: float) -> None:
        start = time.monotonic()
        try:
            for entry in self._entries():
                due = start + (entry.time_ns - self._reader.start_time) / 1e9 / rate
                while (left_s := due - time.monotonic()) > 0 and self._node.context.ok():
                    time.sleep(min(left_s, SLICE_S))
                self._send(entry)
        finally:
            if self._node.context.ok():  # else Ctrl-C has ended the publishers
                for publisher in self._publishers.values():  # what is on its way would end with the process
                    publisher.wait_for_all_acked(Duration(seconds=ACKED_S))

    def by_step(self, image_topic: str, answer_topic: str) -> int:
        """Each image after all messages of its stamp; the next message when its answer has come."""
        if image_topic not in self._classes:
            raise ValueError(f"{image_topic} is not among what is played: {', '.join(sorted(self._classes))}")
        answered: set[int] = set()
        self._hear(answer_topic, answered)
        missed = 0
        for image, before in _steps(self._entries(), image_topic):
            for entry in before:
                self._send(entry)
            if image is not None:
                time.sleep(SETTLE_S)
                self._send(image)
                missed += not self._until(lambda stamp=image.stamp_ns: stamp in answered)
        return missed

    def _playable(self, topics: Collection[str]) -> list[Connection]:
        """Those of ``topics``, or all, whose types are installed here; the others are named."""
        recorded = {connection.topic for connection in self._reader.connections}
        if not recorded.issuperset(topics):
            absent = ", ".join(sorted(set(topics) - recorded))
            raise ValueError(f"the bag has no {absent}, only {', '.join(sorted(recorded))}")
        wanted = [connection for connection in self._reader.connections if connection.topic in (topics or recorded)]
        unknown = []
        for connection in wanted:
            try:
                self._classes[connection.topic] = message_class(connection.msgtype)
            except ValueError:
                unknown.append(f"{connection.topic} ({connection.msgtype})")
        if unknown:
            said = f"not played, as the types are not installed here: {', '.join(unknown)}"
            if not self._classes:
                raise ValueError(said)
            self._node.get_logger().warning(said)
        return [connection for connection in wanted if connection.topic in self._classes]

    def _is_heard(self) -> bool:
        """On some topic, and on every topic that has a subscriber anywhere."""
        heard = {topic: publisher.get_subscription_count() > 0 for topic, publisher in self._publishers.items()}
        return any(heard.values()) and all(heard[topic] or not self._node.count_subscribers(topic) for topic in heard)

    def _entries(self) -> Iterator[Entry]:
        try:
            for connection, time_ns, data in self._reader.messages(self._connections):
                if not self._node.context.ok():
                    return
                kind = self._classes[connection.topic]
                yield Entry(connection.topic, time_ns, _stamp_ns(kind, data), bytes(data))
        except Exception as error:  # of rosbags' many kinds
            raise ValueError(f"{self._reader.path} is damaged after {self._sent} messages played: {error}") from None

    def _hear(self, topic: str, answered: set[int]) -> None:
        """Adds the stamps of the messages on ``topic``, which must have a publisher."""
        infos: list[Any] = []
        if not self._until(lambda: infos.extend(self._node.get_publishers_info_by_topic(topic)) or infos):
            raise ValueError(f"nobody publishes {topic} within {self._wait_s:g} s")
        kind = message_class(infos[0].topic_type)
        self._node.create_subscription(
            kind, topic, lambda msg: answered.add(stamp_ns(msg.header.stamp)), qos.stream(QUEUE)
        )
        self._until(lambda: self._node.count_subscribers(topic))
        time.sleep(SETTLE_S)

    def _send(self, entry: Entry) -> None:
        if not self._node.context.ok():
            return
        if self._clock is not None:
            clock = self._clock.msg_type()
            clock.clock.sec, clock.clock.nanosec = divmod(entry.time_ns, 1_000_000_000)
            self._clock.publish(clock)
        self._publishers[entry.topic].publish(entry.data)
        self._sent += 1

    def _until(self, condition: Callable[[], Any]) -> bool:
        end = time.monotonic() + self._wait_s
        while not condition():
            if time.monotonic() > end or not self._node.context.ok():
                return False
            rclpy.spin_once(self._node, timeout_sec=0.02)
        return True


def _profiles(connections: Sequence[Connection]) -> dict[str, QoSProfile]:
    """By topic; reliable, and latched where the recorded publisher was."""
    profiles = {connection.topic: QoSProfile(depth=QUEUE) for connection in connections}
    for connection in connections:
        if any(offered.durability is QosDurability.TRANSIENT_LOCAL for offered in connection.ext.offered_qos_profiles):
            profiles[connection.topic].durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
    return profiles


def _opened(bag: Path) -> Reader:
    try:
        reader = Reader(bag)
        reader.open()
        return reader
    except Exception as error:  # of rosbags' many kinds
        raise ValueError(f"{bag} cannot be read as a bag: {error}") from None


def _steps(entries: Iterator[Entry], image_topic: str) -> Iterator[tuple[Optional[Entry], list[Entry]]]:
    """Images with what is to be sent before each; None at the end for what comes after the last one."""
    image: Optional[Entry] = None
    before: list[Entry] = []
    after: list[Entry] = []
    for entry in entries:
        if image is not None and (entry.topic == image_topic or entry.time_ns > image.time_ns + COMPANIONS_NS):
            yield image, before
            image, before, after = None, after, []
        if entry.topic == image_topic:
            image = entry
        elif image is None or entry.stamp_ns == image.stamp_ns:
            before.append(entry)
        else:
            after.append(entry)
    yield image, before
    if after:
        yield None, after


def _stamp_ns(kind: Any, data: bytes) -> Optional[int]:
    """From the first field of the CDR data, after the four bytes that tell its byte order."""
    if next(iter(kind.get_fields_and_field_types().values()), "") != "std_msgs/Header":
        return None
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds
