"""What the demo heard, put together per image by stamp."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np

from focusdepth_ros.image_msgs import pixels
from focusdepth_ros.msg import FocusTarget
from focusdepth_ros.pairing import stamp_ns

TRUTH = ("image", "camera_info", "sim/depth", "sim/instances", "sim/targets")
ANSWER = ("relative_depth/image", "target_mask", "target_points", "targets_3d")
DEPTH = ANSWER[0]  # its publication is the answer whose latency counts


@dataclass
class Shot:
    """One image of the camera. Times in ns since the epoch; ``answered_ns``: when the depth was published."""

    stamp_ns: int
    messages: dict[str, Any] = field(default_factory=dict)
    answered_ns: Optional[int] = None
    target_id: Optional[str] = None  # of the target that the answer is about, where that is certain

    @property
    def latency_ms(self) -> float:
        assert self.answered_ns is not None
        return (self.answered_ns - self.stamp_ns) / 1e6

    @property
    def is_whole(self) -> bool:
        """Whether there is truth and an answer about a known target."""
        return self.target_id is not None and all(topic in self.messages for topic in TRUTH + ANSWER[:2])

    @property
    def image(self) -> np.ndarray:
        return pixels(self.messages["image"])

    @property
    def truth_m(self) -> np.ndarray:
        return pixels(self.messages["sim/depth"])

    @property
    def relative_depth(self) -> np.ndarray:
        return pixels(self.messages[DEPTH])

    @property
    def true_mask(self) -> np.ndarray:
        """H,W bool: the visible pixels of the target."""
        assert self.target_id is not None
        return pixels(self.messages["sim/instances"]) == int(self.target_id)

    @property
    def answered_mask(self) -> np.ndarray:
        return pixels(self.messages["target_mask"]) > 0

    @property
    def target(self) -> Optional[FocusTarget]:
        """As the simulator knows it; None while it is out of sight."""
        return next((t for t in self.messages["sim/targets"].targets if t.id == self.target_id), None)


class Recording:
    """Counts images from ``begin`` on; those before are warm-up."""

    def __init__(self) -> None:
        self._shots: dict[int, Shot] = {}
        self._begin_ns: Optional[int] = None

    def begin(self, now_ns: int) -> None:
        self._begin_ns = now_ns

    def add(self, topic: str, msg: Any, published_ns: Optional[int]) -> Shot:
        stamp = stamp_ns(msg.header.stamp)
        shot = self._shots.setdefault(stamp, Shot(stamp))
        shot.messages[topic] = msg
        if topic == DEPTH:
            shot.answered_ns = published_ns
        return shot

    @property
    def warm(self) -> bool:
        """Whether anything was answered at all."""
        return any(shot.answered_ns is not None for shot in self._shots.values())

    @property
    def answered(self) -> list[Shot]:
        """Images since ``begin``, in the order of their stamps."""
        return [shot for shot in self._counted() if shot.answered_ns is not None]

    @property
    def dropped(self) -> int:
        """Images without an answer; those after the last answer may still get one and do not count."""
        last = max((shot.stamp_ns for shot in self.answered), default=0)
        return sum(shot.answered_ns is None and shot.stamp_ns < last for shot in self._counted())

    def _counted(self) -> list[Shot]:
        begin = self._begin_ns
        if begin is None:
            return []
        return [self._shots[ns] for ns in sorted(self._shots) if ns >= begin and "image" in self._shots[ns].messages]
