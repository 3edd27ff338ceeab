"""A ROS domain of the tests' own, before any middleware starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)  # up to 101 no port lies in Linux's range of short-lived ones
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"  # Iron and newer
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"


@pytest.fixture(scope="session")
def ros() -> Iterator[None]:
    import rclpy

    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def make_rig(ros: None) -> Iterator[Callable[..., Any]]:
    """Rigs that end with the test; see ``harness.Rig``."""
    from tests.ros.harness import Rig

    rigs: list[Rig] = []

    def make(*args: Any, **kwargs: Any) -> Rig:
        rigs.append(Rig(*args, **kwargs))
        return rigs[-1]

    yield make
    while rigs:
        rigs.pop().close()


@pytest.fixture
def rig(make_rig: Callable[..., Any]) -> Any:
    """An active node whose outputs are all heard; it takes each image as it comes."""
    rig = make_rig(pair_wait=0.0)
    rig.start()
    return rig


@pytest.fixture
def paired(make_rig: Callable[..., Any]) -> Any:
    """The same, but an image surely waits for its camera_info and depth_hint."""
    rig = make_rig(pair_wait=10.0)
    rig.start()
    return rig
