"""Prompt-conditioned depth: simulator, model, engines and the pipeline that ROS, demo and evaluation share.

Nothing is imported here, so that ``focusdepth_core.perception`` costs a robot numpy and OpenCV only.
"""

__version__ = "0.1.0"
