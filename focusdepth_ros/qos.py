"""Quality of service of the node's topics."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_policy_name_from_kind,
)

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

Report = Callable[[str], None]

MISMATCH_S = 30.0  # how long a mismatch is in the status; the middleware does not tell when it is over


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


def publisher_events(topic: str, report: Report) -> PublisherEventCallbacks:
    return PublisherEventCallbacks(
        incompatible_qos=lambda event: report(
            f"a subscriber of {topic} gets nothing: it asks for another {_policy(event)} than offered; "
            f"set qos_overrides.{topic}.publisher.*"
        )
    )


def subscription_events(topic: str, report: Report) -> SubscriptionEventCallbacks:
    return SubscriptionEventCallbacks(
        incompatible_qos=lambda event: report(
            f"nothing comes from a publisher of {topic}: it offers another {_policy(event)} than asked for; "
            f"set qos_overrides.{topic}.subscription.*"
        )
    )


def _policy(event: object) -> str:
    return str(qos_policy_name_from_kind(event.last_policy_kind)).lower()  # type: ignore[attr-defined]
