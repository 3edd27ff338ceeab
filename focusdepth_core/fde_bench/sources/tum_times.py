"""Lists of time stamps of TUM RGB-D: which images belong together, and which are worth keeping."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from focusdepth_core.fde_bench.source import SourceError

MAX_GAP = 0.02  # s between what belongs together, as in the data set's associate.py
MIN_TIME = 1.0  # s
MIN_DISTANCE = 0.10  # m
MIN_ANGLE = math.radians(10)


def read_list(path: Path) -> list[tuple[float, str]]:
    """(time, rest of the line), by time. Raises ``OSError``, or ``SourceError`` for a line of another form."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    found = [_line(line, path) for line in lines if line and not line.startswith("#")]
    if not found:
        raise SourceError(f"{path} has no line 'timestamp ...'")
    return sorted(found)


def _line(line: str, path: Path) -> tuple[float, str]:
    time, _, rest = line.replace("\t", " ").partition(" ")
    try:
        seconds = float(time)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or not rest.strip():
        raise SourceError(f"{path} has the line '{line[:60]}'; expected 'timestamp ...'")
    return seconds, rest.strip()


def associate(first: list[float], second: list[float]) -> list[tuple[int, int]]:
    """Indices of what belongs together, by time: the closest pairs first, each index once. Both lists are sorted."""
    close = [
        (abs(time - second[j]), i, j)
        for i, time in enumerate(first)
        for j in range(bisect_left(second, time - MAX_GAP), bisect_right(second, time + MAX_GAP))
    ]
    of_first: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(close):
        if i not in of_first and j not in taken:
            of_first[i] = j
            taken.add(j)
    return sorted(of_first.items())


@dataclass(frozen=True)
class Trajectory:
    """The camera's poses: ``times`` in s, sorted; ``poses`` N,7: position in m and unit quaternion x, y, z, w."""

    times: list[float]
    poses: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Trajectory:
        """Empty without the file. Raises ``SourceError`` for a line that is no pose."""
        if not path.is_file():
            return cls([], np.empty((0, 7)))
        lines = read_list(path)
        return cls([time for time, _ in lines], np.stack([_pose(rest, path) for _, rest in lines]))

    def moved(self, start: float, end: float) -> bool:
        """Whether the camera is more than 10 cm or 10 degrees away; not if a pose is not known."""
        first, last = self._at(start), self._at(end)
        if first is None or last is None:
            return False
        angle = 2 * math.acos(min(1.0, abs(float(first[3:] @ last[3:]))))
        return float(np.linalg.norm(last[:3] - first[:3])) > MIN_DISTANCE or angle > MIN_ANGLE

    def _at(self, time: float) -> np.ndarray | None:
        around = range(bisect_left(self.times, time - MAX_GAP), bisect_right(self.times, time + MAX_GAP))
        closest = min(around, key=lambda i: abs(self.times[i] - time), default=None)
        return None if closest is None else self.poses[closest]


def _pose(text: str, path: Path) -> np.ndarray:
    try:
        pose = np.array([float(value) for value in text.split()])
        length = np.linalg.norm(pose[3:])
    except ValueError:
        pose, length = np.empty(0), 0.0
    if pose.shape != (7,) or not np.isfinite(pose).all() or not length > 0:
        raise SourceError(f"{path} has the pose '{text[:80]}'; expected 'tx ty tz qx qy qz qw'")
    pose[3:] /= length
    return pose


def spread_out(times: list[float], trajectory: Trajectory) -> list[int]:
    """Indices of the times to keep: each 1 s, 10 cm or 10 degrees from the one before."""
    kept = [0]
    for i, time in enumerate(times):
        if time - times[kept[-1]] >= MIN_TIME or trajectory.moved(times[kept[-1]], time):
            kept.append(i)
    return kept
