"""A demonstration pickled as RLBench does it: stand-in classes under the real module names."""

import pickle
import sys
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np


class Demo:
    def __init__(self, observations: list) -> None:
        self._observations = observations
        self.random_seed = None
        self.variation_number = 2


class Observation:
    def __init__(self, misc: dict[str, Any]) -> None:
        self.front_rgb = None  # the images are saved as files, and taken out before pickling
        self.gripper_open = 1.0
        self.joint_positions = np.linspace(0, 1, 7)
        self.ignore_collisions = np.array(1.0)
        self.misc = misc


def misc(camera: str = "front", near: float = 0.01, far: float = 4.5, size: tuple[int, int] = (16, 24)) -> dict:
    """What one observation says about a camera; ``size``: H,W."""
    height, width = size
    k = np.array([[-175.84, 0, width / 2], [0, -175.84, height / 2], [0, 0, 1]])
    return {
        f"{camera}_camera_extrinsics": np.eye(4),
        f"{camera}_camera_intrinsics": k,
        f"{camera}_camera_near": near,
        f"{camera}_camera_far": far,
    }


def pickled(steps: list[dict], protocol: int = 4) -> bytes:
    modules = {
        "rlbench": [],
        "rlbench.backend": [],
        "rlbench.demo": [Demo],
        "rlbench.backend.observation": [Observation],
    }
    stand_ins = {}
    for name, classes in modules.items():
        stand_ins[name] = ModuleType(name)
        for each in classes:
            each.__module__ = name
            setattr(stand_ins[name], each.__name__, each)
    with patch.dict(sys.modules, stand_ins):
        return pickle.dumps(Demo([Observation(step) for step in steps]), protocol)
