"""Fruit, vegetables and bread."""

from __future__ import annotations

import numpy as np

from focusdepth_core.sim.mesh import Part, ellipsoid, lathe, prism, slab, solid, tube
from focusdepth_core.sim.shapes.registry import category

Rng = np.random.Generator
RED, GREEN, YELLOW, ORANGE = (0.75, 0.1, 0.08), (0.4, 0.62, 0.15), (0.94, 0.83, 0.16), (0.94, 0.48, 0.08)


def _stalk(z: float, length: float) -> Part:
    return tube([(0, 0, z), (0.004, 0, z + length)], 0.0016, 5).paint(1)


@category("apple", "food", RED, GREEN)
def _apple(g: Rng) -> list[Part]:
    r = g.uniform(0.034, 0.043)
    outline = [(0.25, 0), (0.85, 0.3), (1, 0.95), (0.75, 1.55), (0.2, 1.6)]
    return [solid(*[(r * a, r * b) for a, b in outline], smooth=12), _stalk(r * 1.5, r * 0.4)]


@category("orange", "food", ORANGE)
def _orange(g: Rng) -> list[Part]:
    r = g.uniform(0.034, 0.043)
    return [ellipsoid(r, r, r * 0.96)]


@category("lemon", "food", YELLOW)
def _lemon(g: Rng) -> list[Part]:
    fruit = solid((0.003, -0.045), (0.008, -0.036), (0.026, 0), (0.008, 0.036), (0.003, 0.045), smooth=14)
    return [fruit.turned("y", 90).moved(z=0.026)]


@category("pear", "food", (0.72, 0.75, 0.2))
def _pear(g: Rng) -> list[Part]:
    k = g.uniform(0.9, 1.15)
    outline = [(0.01, 0), (0.035, 0.03), (0.026, 0.065), (0.014, 0.095), (0.004, 0.1)]
    return [solid(*[(a * k, b * k) for a, b in outline], smooth=14), _stalk(0.098 * k, 0.017)]


@category("banana", "food", YELLOW)
def _banana(g: Rng) -> list[Part]:
    t, r = np.linspace(-1.05, 1.05, 13), g.uniform(0.075, 0.1)
    path = np.stack([r * np.sin(t), r * np.cos(t) - r * 0.8, np.full_like(t, 0.0165)], -1)
    return [tube(path, 0.0165 * np.clip(1 - np.abs(t / 1.07) ** 4, 0.15, 1), 8)]


@category("carrot", "food", ORANGE)
def _carrot(g: Rng) -> list[Part]:
    leaves = [tube([(0, 0, 0.014), (-0.045, y, 0.022)], 0.0017, 5).paint(1) for y in (-0.012, 0, 0.012)]
    return [tube([(0, 0, 0.015), (0.07, 0, 0.012), (0.15, 0, 0.004)], [0.015, 0.011, 0.002], 10), *leaves]


@category("egg", "food", (0.9, 0.8, 0.68), (0.96, 0.94, 0.9))
def _egg(g: Rng) -> list[Part]:
    return [solid((0.004, 0), (0.018, 0.008), (0.022, 0.024), (0.013, 0.048), (0.003, 0.056), smooth=12)]


@category("mushroom", "food", (0.75, 0.6, 0.45), (0.9, 0.87, 0.8))
def _mushroom(g: Rng) -> list[Part]:
    return [
        solid((0.034, 0.028), (0.03, 0.045), (0.012, 0.056), (0.002, 0.058), smooth=8),
        solid((0.012, 0), (0.01, 0.03)).paint(1),
    ]


@category("bread loaf", "food", (0.7, 0.45, 0.2))
def _bread_loaf(g: Rng) -> list[Part]:
    return [ellipsoid(g.uniform(0.07, 0.1), 0.042, 0.035, 0.6)]


@category("donut", "food", (0.6, 0.35, 0.15), (0.85, 0.5, 0.6))
def _donut(g: Rng) -> list[Part]:
    t, r = np.linspace(-np.pi / 2, 1.5 * np.pi, 15), g.uniform(0.012, 0.016)
    return [lathe([(0.03 + r * np.cos(a), r + r * np.sin(a)) for a in t])]


@category("pumpkin", "food", ORANGE)
def _pumpkin(g: Rng) -> list[Part]:
    r = g.uniform(0.05, 0.07)
    lobes = [ellipsoid(r * 0.55, r * 0.45, r * 0.72).moved(x=r * 0.5).turned("z", 45 * k) for k in range(8)]
    return [*lobes, solid((0.008, r * 1.3), (0.006, r * 1.65)).paint(1)]


@category("aubergine", "food", (0.25, 0.08, 0.28))
def _aubergine(g: Rng) -> list[Part]:
    path = [(0, 0, 0.028), (0.05, 0.004, 0.028), (0.1, 0.002, 0.024), (0.14, -0.006, 0.02)]
    return [
        tube(path, [0.02, 0.028, 0.022, 0.012], 12),
        tube([(0.135, -0.005, 0.02), (0.17, -0.012, 0.022)], [0.013, 0.003], 6).paint(1),
    ]


@category("cheese wedge", "food", YELLOW)
def _cheese_wedge(g: Rng) -> list[Part]:
    return [prism([(0, -0.04), (0.1, 0), (0, 0.04)], g.uniform(0.03, 0.05))]


@category("chocolate bar", "food", (0.3, 0.17, 0.1))
def _chocolate_bar(g: Rng) -> list[Part]:
    cells = [
        slab(0.022, 0.022, 0.004).moved(x, y, 0.006) for x in np.linspace(-0.06, 0.06, 6) for y in (-0.024, 0, 0.024)
    ]
    return [slab(0.148, 0.076, 0.006, 0.05), *cells]
