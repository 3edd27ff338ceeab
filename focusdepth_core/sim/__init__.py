"""Simulated tabletops with exact truth, on MuJoCo; needs neither torch nor ROS."""

import os
import sys

if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is imported; its own default needs a screen
