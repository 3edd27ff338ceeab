"""What there is to say of answers and images, for the status."""

from __future__ import annotations

from itertools import product
from typing import Any

from rclpy.node import Node

from focusdepth_ros import qos
from focusdepth_ros.answer import Answer
from focusdepth_ros.status import Status
from focusdepth_ros.traffic import Rates, Traffic, memory_mb

# Residual above which a scale is warned of. Of simulated tabletops nine in ten are below, and noise is above.
ROUGH = 0.25


def state(answer: Answer, topic: str) -> str:
    """What of a full answer is missing, as the reason for what is not published."""
    parts = [f"answering {topic}"]
    if not answer.result.targets:
        parts.append("no target, so it is the plain depth")
    if answer.why_not_metric:
        parts.append(f"relative depth only: {answer.why_not_metric}")
    return "; ".join(parts)


def answer(answer: Answer, age_s: float) -> dict[str, object]:
    """Key-values. ``age_s``: of the image when its answer is published."""
    scale = answer.scale
    return {
        "latency_ms": f"{age_s * 1e3:.1f}",
        "inference_ms": f"{answer.result.timings_ms.get('inference', 0.0):.1f}",
        "targets": len(answer.result.targets),
        "found": sum(target.found for target in answer.result.targets),
        "lost": len(answer.lost),
        "metric": answer.why_not_metric or "yes",
        "scale_source": scale.source if scale else "none",
        "scale": f"{scale.scale:.6g}" if scale else "nan",
        "scale_shift": f"{scale.shift:.6g}" if scale else "nan",
        "scale_residual": f"{scale.residual:.4f}" if scale else "nan",
        "scale_inliers": f"{scale.inliers:.3f}" if scale else "nan",
        "scale_age_s": f"{scale.age:.3f}" if scale else "nan",
    }


def costs(traffic: Traffic, rates: Rates) -> dict[str, object]:
    """Key-values. ``overhead_*``: of the answers since activation, from the arrival of the image to its last message,
    less the inference."""
    overheads = zip(("p50", "p95", "p99"), traffic.overheads_ms((0.5, 0.95, 0.99)))
    return {
        "image_rate": f"{rates.received:.1f}",
        "answer_rate": f"{rates.answered:.1f}",
        "cpu_cores": f"{rates.cores:.3f}",
        "memory_mb": f"{memory_mb():.1f}",
        **{f"overhead_{level}_ms": f"{ms:.1f}" for level, ms in overheads},
    }


def check_lost(status: Status, answer: Answer) -> None:
    if not answer.lost:
        status.settle("lost")
        return
    ids = ", ".join(f"'{presence.target.id}'" for presence in answer.lost)
    status.complain("lost", f"not found for {answer.parameters.lost_after:g} s or more: target {ids}")


def check_scale(status: Status, answer: Answer) -> None:
    if answer.scale is None or not answer.scale.residual > ROUGH:
        status.settle("scale")
        return
    off = f"half of the depths that the scale explains are off by {answer.scale.residual:.0%} or more"
    status.complain(
        "scale", f"{off}: depth_hint and image may not belong together, or the depths are too alike to tell"
    )


def check_rate(status: Status, received: float, answered: float, least: float) -> None:
    if answered >= least:
        status.settle("rate")
        return
    culprit = "the camera is" if received < least else "the model is"
    status.complain("rate", f"{culprit} slow: {received:.1f} images and {answered:.1f} answers per s, below {least:g}")


def check_publishers(status: Status, node: Node, *topics: str) -> None:
    for topic in topics:
        count = node.count_publishers(topic)
        if count < 2:
            status.settle(f"publishers {topic}")
        else:
            status.complain(f"publishers {topic}", f"{count} nodes publish {topic}: what they send is taken in turn")


def check_subscription(status: Status, node: Node, topic: str) -> None:
    ends = node.get_publishers_info_by_topic(topic), _own(node, node.get_subscriptions_info_by_topic(topic))
    _check_qos(status, topic, ends, f"nothing comes from a publisher of {topic}", "subscription")


def check_publisher(status: Status, node: Node, topic: str) -> None:
    ends = _own(node, node.get_publishers_info_by_topic(topic)), node.get_subscriptions_info_by_topic(topic)
    _check_qos(status, topic, ends, f"a subscriber of {topic} gets nothing", "publisher")


def _own(node: Node, ends: list[Any]) -> list[Any]:
    """As the graph has them: what was asked for leaves open what the middleware has filled in."""
    return [end for end in ends if (end.node_name, end.node_namespace) == (node.get_name(), node.get_namespace())]


def _check_qos(status: Status, topic: str, ends: tuple[list[Any], list[Any]], what: str, own: str) -> None:
    """``ends``: publishers and subscriptions of the topic."""
    reasons = list(filter(None, (qos.mismatch(p.qos_profile, s.qos_profile) for p, s in product(*ends))))
    if reasons:
        status.complain(f"qos {topic}", f"{what}: {reasons[0]}; set qos_overrides.{topic}.{own}.*")
    else:
        status.settle(f"qos {topic}")
