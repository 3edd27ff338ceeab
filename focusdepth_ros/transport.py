"""Settings of the middleware and the allocator that carry camera images between processes without loss."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

OLD_DISTRIBUTIONS = ("humble", "iron", "jazzy")
# Images come from the heap and stay there; else every message is fresh pages from the kernel. 32 MiB is glibc's limit.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864",
}


def allocator() -> dict[str, str]:
    """Environment of a process with these settings, where the user has set no others."""
    return {name: os.environ.get(name, value) for name, value in ALLOCATOR.items()}


def profile_variable() -> str:
    """Where Fast DDS of this distribution looks for a profile."""
    prefix = "FASTRTPS" if os.environ.get("ROS_DISTRO") in OLD_DISTRIBUTIONS else "FASTDDS"
    return f"{prefix}_DEFAULT_PROFILES_FILE"


def profile() -> str:
    """The one in force or else the one shipped, by shared memory."""
    shipped = Path(get_package_share_directory("focusdepth_ros")) / "config" / "fastdds_shm.xml"
    return os.environ.get(profile_variable(), str(shipped))
