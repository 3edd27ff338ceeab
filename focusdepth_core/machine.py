"""What a measurement ran on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path


def machine() -> str:
    """Processor and number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of Python and of what is installed among ``packages``."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed by pip"
    return found


def commit() -> str:
    """Of the checkout that this file is in, with + if files differ from it; empty outside of one."""
    where = str(Path(__file__).parent)
    return _said("git", "-C", where, "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*")


def gpu() -> str:
    """Name, driver and memory, or on Jetson the computer's name and its power mode; empty where there is none."""
    if Path("/etc/nv_tegra_release").exists():
        model = Path("/proc/device-tree/model").read_text().strip("\0\n")
        mode = _said("nvpmodel", "-q").replace("\n", " ")
        return f"{model}, {mode or 'power mode unknown'}"
    return _said("nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader")


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
