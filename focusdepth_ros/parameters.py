"""The parameters of ``focus_node``: one table with type, default, range and meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, Optional

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from focusdepth_core.engine.open import BACKENDS


def _parameter(
    default: Any,
    description: str,
    *,
    name: Optional[str] = None,
    limits: Optional[tuple[float, float]] = None,
    choices: tuple[str, ...] = (),
    unconfigured_only: bool = False,
) -> Any:
    """``name``: if the field is called otherwise; ``limits``: lowest, highest; ``unconfigured_only``: for configure."""
    metadata = {
        "name": name,
        "description": description,
        "limits": limits,
        "choices": choices,
        "unconfigured_only": unconfigured_only,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Parameters:
    """A consistent set of values."""

    model_dir: str = _parameter(
        "", "Folder of the model (config.json, ONNX); empty: the one shipped with the package.", unconfigured_only=True
    )
    backend: str = _parameter(
        "auto",
        "What runs the networks; auto takes the fastest that is installed.",
        choices=("auto", *BACKENDS),
        unconfigured_only=True,
    )
    threads: int = _parameter(
        0, "CPU threads per inference; 0: the backend's choice.", limits=(0, 256), unconfigured_only=True
    )
    reliability: str = _parameter(
        "best_effort",
        "QoS asked of image, camera_info and depth_hint; reliable finds no best-effort camera.",
        name="qos.reliability",
        choices=("best_effort", "reliable"),
        unconfigured_only=True,
    )
    depth: int = _parameter(
        1,
        "QoS history of image; the newest frame is answered first, so that more than 1 only costs memory.",
        name="qos.depth",
        limits=(1, 100),
        unconfigured_only=True,
    )
    max_target_age: float = _parameter(
        0.5, "Longest time in s between the stamp of `targets` and the image they are used for.", limits=(0.0, 3600.0)
    )
    pair_wait: float = _parameter(
        0.1,
        "Longest time in s that an image waits for its depth_hint, or first camera_info, while these have a publisher.",
        limits=(0.0, 10.0),
    )
    drop_edge_px: int = _parameter(
        1,
        "Width in px of the rim of each mask that gives no points in target_points and targets_3d.",
        name="target_points.drop_edge_px",
        limits=(0, 100),
    )


def ros_name(spec: Field[Any]) -> str:
    return spec.metadata["name"] or spec.name


class ParameterStore:
    """Declares the table on a node and holds its current values; refuses what does not fit, with the reason."""

    def __init__(self, node: Node, is_unconfigured: Callable[[], bool]) -> None:
        self._is_unconfigured = is_unconfigured
        self._fields = {ros_name(spec): spec for spec in fields(Parameters)}
        values = {
            spec.name: node.declare_parameter(name, spec.default, _descriptor(spec)).value
            for name, spec in self._fields.items()
        }
        self.current = Parameters(**values)
        for name, spec in self._fields.items():
            if reason := _reason_against(name, spec, values[spec.name]):
                raise ValueError(reason)
        node.add_on_set_parameters_callback(self._on_set)

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        """Runs after rclpy has checked types and ranges."""
        known = [(c.name, self._fields[c.name], c.value) for c in changes if c.name in self._fields]
        for name, spec, value in known:
            reason = _reason_against(name, spec, value)
            if not reason and spec.metadata["unconfigured_only"] and not self._is_unconfigured():
                reason = f"{name} is read by configure: clean the node up before setting it"
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        self.current = replace(self.current, **{spec.name: value for _, spec, value in known})
        return SetParametersResult(successful=True)


def _reason_against(name: str, spec: Field[Any], value: Any) -> str:
    choices = spec.metadata["choices"]
    return "" if not choices or value in choices else f"{name} = '{value}' is unknown; use one of {', '.join(choices)}"


def _descriptor(spec: Field[Any]) -> ParameterDescriptor:
    assert spec.default is not MISSING
    meta = spec.metadata
    descriptor = ParameterDescriptor(description=meta["description"])
    notes = []
    if meta["choices"]:
        notes.append(f"one of: {', '.join(meta['choices'])}")
    if meta["unconfigured_only"]:
        notes.append("can be set while the node is unconfigured")
    descriptor.additional_constraints = "; ".join(notes)
    if meta["limits"] is not None:
        low, high = meta["limits"]
        if isinstance(spec.default, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor
