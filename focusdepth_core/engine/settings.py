"""How a model's engines are built and judged: the part ``engine`` of its ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Union

FP32, FP16, MIXED, INT8 = PRECISIONS = ("fp32", "fp16", "mixed", "int8")  # of the arithmetic of an ONNX file
TARGETS = "targets"  # in place of a number: the axis of the targets

Shape = tuple[Union[int, str], ...]


@dataclass(frozen=True)
class Thresholds:
    """How far an engine may be from the reference; see ``self_check.Figures``. Raises ``ValueError`` for a limit that
    is none."""

    deviation: float = 0.05
    difference: float = 0.01
    difference_foreground: float = 0.01
    absrel_change: float = 0.01
    boundary_f1: float = 0.95
    mask_iou: float = 0.97

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ValueError(f"engine.thresholds.{one.name} = {json.dumps(value)}; a limit lies between 0 and 1")


@dataclass(frozen=True)
class EngineSettings:
    """``precision``: what engines try first; ``max_targets``: what they are built for; ``inputs``: shapes by network
    and name, which a builder needs where no ONNX library is. Raises ``ValueError`` with the value that is wrong."""

    precision: str = FP16
    max_targets: int = 16
    thresholds: Thresholds = field(default_factory=Thresholds)
    inputs: Mapping[str, Mapping[str, Shape]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"engine.precision = {json.dumps(self.precision)}; known: {', '.join(PRECISIONS)}")
        if isinstance(self.max_targets, bool) or not isinstance(self.max_targets, int) or self.max_targets < 1:
            raise ValueError(f"engine.max_targets = {json.dumps(self.max_targets)}; give a number from 1 on")

    @classmethod
    def parse(cls, values: Any) -> EngineSettings:
        """Of what JSON holds; what is missing has its default."""
        given = _known(cls, "engine", values)
        if "thresholds" in given:
            given["thresholds"] = Thresholds(**_known(Thresholds, "engine.thresholds", given["thresholds"]))
        if "inputs" in given:
            given["inputs"] = _shapes(given["inputs"])
        return cls(**given)


def _known(kind: type, name: str, values: Any) -> dict[str, Any]:
    known = [one.name for one in fields(kind)]
    if not isinstance(values, dict) or not values.keys() <= set(known):
        raise ValueError(f"{name} = {json.dumps(values)[:80]}; it may have {', '.join(known)}")
    return dict(values)


def _shapes(inputs: Any) -> dict[str, dict[str, Shape]]:
    try:
        found = {net: {name: tuple(shape) for name, shape in each.items()} for net, each in inputs.items()}
    except (AttributeError, TypeError):
        found = {}
    sizes = [size for each in found.values() for shape in each.values() for size in shape]
    if not found or not all(size == TARGETS or (type(size) is int and size > 0) for size in sizes):
        raise ValueError(f"engine.inputs = {json.dumps(inputs)[:80]}; expected the shape of each network's inputs")
    return found
