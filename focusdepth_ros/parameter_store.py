"""Declares a table of parameters, a frozen dataclass, on a node and keeps its current values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import Field, field, fields, replace
from typing import Any, Generic, Literal, Optional, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

P = TypeVar("P")  # the dataclass

Settable = Literal["always", "unconfigured", "at start"]


def parameter(
    default: Any,
    description: str,
    *,
    name: Optional[str] = None,
    limits: Optional[tuple[float, float]] = None,
    choices: tuple[str, ...] = (),
    settable: Settable = "always",
) -> Any:
    """A field of the table. ``name``: where it is not the field's own; ``limits``: lowest and highest value."""
    return field(
        default=default,
        metadata={
            "name": name,
            "description": description,
            "limits": limits,
            "choices": choices,
            "settable": settable,
        },
    )


def ros_name(spec: Field[Any]) -> str:
    return spec.metadata["name"] or spec.name


class ParameterStore(Generic[P]):
    """``current`` is always a consistent set; a value that does not fit is refused with the reason.

    Raises ``ValueError`` for a start value that is not among the choices; rclpy raises for its type and range.
    """

    def __init__(self, node: Node, table: type[P], is_unconfigured: Callable[[], bool] = lambda: True) -> None:
        self._is_unconfigured = is_unconfigured
        self._specs: dict[str, Field[Any]] = {ros_name(spec): spec for spec in fields(table)}  # type: ignore[arg-type]
        values = {}
        for name, spec in self._specs.items():
            values[spec.name] = node.declare_parameter(name, spec.default, _descriptor(spec)).value
            reason = _reason_against(name, spec, values[spec.name])
            if reason:
                raise ValueError(reason)
        self.current: P = table(**values)
        node.add_on_set_parameters_callback(self._on_set)

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        """Runs after rclpy has checked types, ranges and what is fixed at the start."""
        known = [(change.name, change.value) for change in changes if change.name in self._specs]
        for name, value in known:
            spec = self._specs[name]
            reason = _reason_against(name, spec, value)
            if not reason and spec.metadata["settable"] == "unconfigured" and not self._is_unconfigured():
                reason = f"{name} is read by configure: clean the node up before setting it"
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        self.current = replace(self.current, **{self._specs[name].name: value for name, value in known})  # type: ignore
        return SetParametersResult(successful=True)


def _reason_against(name: str, spec: Field[Any], value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):  # a range lets NaN pass
        return f"{name} = {value} is not a finite number"
    choices = spec.metadata["choices"]
    return "" if not choices or value in choices else f"{name} = '{value}' is unknown; use one of {', '.join(choices)}"


def _descriptor(spec: Field[Any]) -> ParameterDescriptor:
    meta = spec.metadata
    notes = [f"one of: {', '.join(meta['choices'])}"] if meta["choices"] else []
    notes += ["can be set while the node is unconfigured"] if meta["settable"] == "unconfigured" else []
    descriptor = ParameterDescriptor(
        description=meta["description"],
        additional_constraints="; ".join(notes),
        read_only=meta["settable"] == "at start",
    )
    if meta["limits"] is not None:
        low, high = meta["limits"]
        if isinstance(spec.default, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor
