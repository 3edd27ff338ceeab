"""Quality of service of the node's topics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
)

AUTO = "auto"
RELIABILITIES = (AUTO, "best_effort", "reliable")  # that may be asked for


def stream(depth: int, reliability: str = "best_effort") -> QoSProfile:
    """Sensor data: the newest ``depth`` messages; ``reliability``: best_effort or reliable."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST, depth=depth, reliability=QoSReliabilityPolicy[reliability.upper()]
    )


def latched() -> QoSProfile:
    """The last message also reaches those who subscribe later."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=QoSReliabilityPolicy.RELIABLE,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
    )


def offered_by_all(publishers: Iterable[Any]) -> str:
    """reliable, or best_effort if some publisher offers no more than that; empty without publishers."""
    offered = {publisher.qos_profile.reliability for publisher in publishers}
    if not offered:
        return ""
    return "reliable" if offered == {QoSReliabilityPolicy.RELIABLE} else "best_effort"


def mismatch(publisher: QoSProfile, subscription: QoSProfile) -> str:
    """Why nothing comes from the one to the other; empty if something does, or if that cannot be told."""
    compatibility, reason = qos_check_compatible(publisher, subscription)
    return reason.removeprefix("ERROR: ").split(";")[0].lower() if compatibility == QoSCompatibility.ERROR else ""
