"""A node that brings a focus node of another process to work and asks it things."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Optional

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor

from focusdepth_ros import qos
from focusdepth_ros.status import ERROR

FOCUS = "focus_node"
CALL_S = 10.0  # a service answer that takes longer was lost in discovery, and is asked for again


class FocusFailed(RuntimeError):
    """The focus node does not do what it was asked for; one sentence, with its own where it said why."""


class FocusClient:
    """Spins ``node`` in the caller's thread; ``check`` is called meanwhile and may raise."""

    def __init__(self, name: str, check: Callable[[], None]) -> None:
        self._check = check
        self.node = rclpy.create_node(name)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.status: Optional[DiagnosticStatus] = None
        self.node.create_subscription(DiagnosticStatus, f"{FOCUS}/status", self._on_status, qos.latched())

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()

    def activate(self, deadline: float) -> None:
        """The focus node, from unconfigured; raises ``FocusFailed``."""
        for transition, goal in (
            (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
            (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
        ):
            request = ChangeState.Request()
            request.transition.id = transition
            while self._call(GetState, "get_state", GetState.Request(), deadline).current_state.id != goal:
                self._call(ChangeState, "change_state", request, deadline)
                if self.status is not None and self.status.level == ERROR:
                    raise FocusFailed(f"{FOCUS} {self.status.message}")

    def spin_until(self, condition: Callable[[], Any], deadline: float, what: str) -> None:
        """Raises ``FocusFailed`` if ``deadline`` (of ``time.monotonic``) passes first."""
        while not condition():
            if time.monotonic() > deadline:
                said = f"; {FOCUS} says: {self.status.message}" if self.status else f"; {FOCUS} says nothing"
                raise FocusFailed(f"{what} did not come in time{said}")
            self.spin_once()

    def spin_once(self) -> None:
        """For a tenth of a second at most."""
        self._check()
        self._executor.spin_once(timeout_sec=0.1)

    def _on_status(self, status: DiagnosticStatus) -> None:
        self.status = status

    def _call(self, kind: type, service: str, request: Any, deadline: float) -> Any:
        client = self.node.create_client(kind, f"{FOCUS}/{service}")
        self.spin_until(client.service_is_ready, deadline, f"{FOCUS}'s service {service}")
        while True:
            future = client.call_async(request)
            again = min(deadline, time.monotonic() + CALL_S)
            while not future.done() and time.monotonic() < again:
                self.spin_once()
            if future.done():
                self.node.destroy_client(client)
                return future.result()
            if time.monotonic() > deadline:
                raise FocusFailed(f"{FOCUS} does not answer on its service {service}")
