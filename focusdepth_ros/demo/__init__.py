"""The main job in one command: a simulated camera, the focus node, and someone who tells it where to look."""

from focusdepth_ros.demo.command import main

__all__ = ["main"]
