"""A node as a process of its own."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from typing import Optional

import cv2
import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node


def run(make_node: Callable[[], Node], args: Optional[list[str]] = None) -> int:
    """Spins the node until SIGINT or SIGTERM; the exit status: 0, or 1 for a parameter that the node does not take."""
    # A terminal sends SIGINT to every process, and ros2 launch passes it on: the second one finds the node ending. So
    # rclpy's own handler, which ends the context, is all that it does.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    cv2.setNumThreads(1)  # to share out work on one camera's images takes longer than the work
    gc.freeze()  # what is imported stays; else each full collection looks through it, for 30 ms
    rclpy.init(args=args)
    node: Optional[Node] = None
    try:
        executor = SingleThreadedExecutor()
        try:
            node = make_node()
        except (ParameterException, ValueError) as error:
            get_logger("focusdepth_ros").fatal(str(error))
            return 1
        executor.add_node(node)
        executor.spin()
    except Exception:
        if rclpy.ok():  # else a signal has ended the context, and this is how what was being done found out
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python would restore the default on its way out
    return 0
