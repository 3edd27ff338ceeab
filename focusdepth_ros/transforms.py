"""TF, where tf2_ros is installed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time as RclTime

BACK = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)


@dataclass(frozen=True)
class Placement:
    """Where points are told: ``rotation`` 3,3 and ``translation`` 3, in metres, from the frame they are measured in."""

    frame_id: str
    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def unmoved(cls, frame_id: str) -> Placement:
        return cls(frame_id, np.eye(3), np.zeros(3))

    def apply(self, points: np.ndarray) -> np.ndarray:
        """N,3 -> N,3 of the same type; the points themselves where they stay."""
        if np.array_equal(self.rotation, np.eye(3)) and not self.translation.any():
            return points
        return (points @ self.rotation.T + self.translation).astype(points.dtype)


class Transforms:
    """Knows what came since ``listen``, which costs time per message of /tf."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._tf: Any = None  # the module
        self._buffer: Any = None

    def find(self, target_frame: str, source_frame: str, stamp: Time, timeout_s: float) -> Placement:
        """At ``stamp``; 0 is the newest. Raises ``ValueError`` that says what is missing.

        A wait is not for the executor's thread.
        """
        if target_frame == source_frame:
            return Placement.unmoved(target_frame)
        self.listen()
        if self._buffer is None:
            raise ValueError("a change of frame needs tf2_ros, which is not installed")
        try:
            found = self._buffer.lookup_transform(
                target_frame, source_frame, RclTime.from_msg(stamp), Duration(seconds=timeout_s)
            ).transform
        except self._tf.TransformException as error:
            raise ValueError(f"no transform from '{source_frame}' to '{target_frame}': {error}") from None
        translation = np.array([found.translation.x, found.translation.y, found.translation.z])
        return Placement(target_frame, rotation(found.rotation), translation)

    def listen(self) -> None:
        """From now on, where tf2_ros is installed."""
        with self._lock:
            if self._buffer is not None:
                return
            try:
                import tf2_ros
            except ImportError:
                return
            self._tf = tf2_ros
            # Without the node, on whose clock's jumps Jazzy's first Buffers raise and Humble's keep what lies ahead.
            self._buffer = buffer = tf2_ros.Buffer()
            self._listener = tf2_ros.TransformListener(buffer, self._node)
            self._jumps = self._node.get_clock().create_jump_callback(BACK, post_callback=lambda jump: buffer.clear())


def rotation(q: Quaternion) -> np.ndarray:
    """3,3 of a unit quaternion."""
    axis = np.array([q.x, q.y, q.z])
    cross = np.cross(np.eye(3), axis)  # the matrix of axis x
    return np.eye(3) + 2 * q.w * cross + 2 * cross @ cross
