"""Which named categories exist and how to build them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from focusdepth_core.sim.mesh import Part

Builder = Callable[[np.random.Generator], list[Part]]


@dataclass(frozen=True)
class Category:
    """``build(rng)`` gives parts in metres that rest on z = 0; ``colours``: usual main colours, RGB in [0, 1]."""

    name: str
    family: str
    build: Builder
    colours: tuple[tuple[float, float, float], ...] = ()


CATEGORIES: dict[str, Category] = {}


def category(name: str, family: str, *colours: tuple[float, float, float]) -> Callable[[Builder], Builder]:
    """Register the decorated builder under ``name``."""

    def register(build: Builder) -> Builder:
        if name in CATEGORIES:
            raise ValueError(f"category '{name}' is defined twice")
        CATEGORIES[name] = Category(name, family, build, colours)
        return build

    return register
