"""Cutlery, hand tools and small hardware."""

from __future__ import annotations

import numpy as np

from focusdepth_core.sim.mesh import Part, arc, circle, ellipsoid, lathe, prism, slab, solid, tube
from focusdepth_core.sim.shapes.registry import category

Rng = np.random.Generator
STEEL, IRON, BRASS = (0.75, 0.75, 0.77), (0.5, 0.5, 0.52), (0.75, 0.6, 0.3)


def _rod(x0: float, x1: float, z: float, r0: float, r1: float | None = None, sides: int = 8) -> Part:
    return tube([(x0, 0, z), ((x0 + x1) / 2, 0, z), (x1, 0, z)], np.linspace(r0, r0 if r1 is None else r1, 3), sides)


def _ring(inner: float, outer: float, height: float, segments: int = 24) -> Part:
    return lathe([(inner, 0), (outer, 0), (outer, height), (inner, height), (inner, 0)], segments)


@category("spoon", "tool", STEEL)
def _spoon(g: Rng) -> list[Part]:
    length = g.uniform(0.11, 0.15)
    stem = tube([(0, 0, 0.003), (length * 0.6, 0, 0.004), (length * 0.95, 0, 0.003)], [0.005, 0.003, 0.003], flat=0.5)
    return [ellipsoid(0.024, 0.016, 0.003).moved(x=length), stem]


@category("fork", "tool", STEEL)
def _fork(g: Rng) -> list[Part]:
    length = g.uniform(0.1, 0.13)
    tines = [
        tube([(length + 0.014, y, 0.003), (length + 0.055, y, 0.005)], 0.0015, 5)
        for y in (-0.009, -0.003, 0.003, 0.009)
    ]
    return [
        tube([(0, 0, 0.003), (length, 0, 0.004)], [0.005, 0.003], flat=0.5),
        slab(0.02, 0.022, 0.003).moved(length + 0.008, 0, 0.002),
        *tines,
    ]


@category("knife", "tool", STEEL)
def _knife(g: Rng) -> list[Part]:
    length = g.uniform(0.1, 0.17)
    blade = prism([(0, -0.009), (length * 0.8, -0.009), (length, 0.008), (0, 0.011)], 0.002).moved(z=0.006)
    return [blade, slab(0.1, 0.02, 0.014).moved(x=-0.05).paint(1)]


@category("spatula", "tool")
def _spatula(g: Rng) -> list[Part]:
    return [
        tube([(0, 0, 0.006), (0.1, 0, 0.008), (0.2, 0, 0.012)], 0.005).paint(1),
        slab(0.09, g.uniform(0.05, 0.07), 0.002).moved(0.24, 0, 0.008),
    ]


@category("ladle", "tool", STEEL)
def _ladle(g: Rng) -> list[Part]:
    r = g.uniform(0.03, 0.04)
    t = np.linspace(0.2, np.pi / 2, 6)
    outer = [(r * np.sin(a), r * 0.7 * (1 - np.cos(a))) for a in t]
    bowl = lathe(
        [
            (0, outer[0][1]),
            *outer,
            *[(max(x - 0.002, 0.001), z + 0.001) for x, z in reversed(outer)],
            (0, outer[0][1] + 0.002),
        ]
    )
    return [
        bowl,
        tube(
            [(r * 0.95, 0, r * 0.65), (r + 0.05, 0, r + 0.02), (r + 0.18, 0, r + 0.03)], [0.004, 0.004, 0.005], flat=0.6
        ),
    ]


@category("screwdriver", "tool")
def _screwdriver(g: Rng) -> list[Part]:
    grip = solid((0.009, 0), (0.014, 0.02), (0.011, 0.07), (0.008, 0.09)).turned("y", 90).moved(z=0.014)
    return [grip, _rod(0.09, g.uniform(0.16, 0.2), 0.014, 0.003).paint(1)]


@category("hammer", "tool")
def _hammer(g: Rng) -> list[Part]:
    head = solid((0.013, -0.05), (0.013, -0.02), (0.01, -0.015), (0.01, 0.02), (0.004, 0.055)).turned("x", 90)
    return [head.moved(0.23, 0, 0.014).paint(1), _rod(0, 0.235, 0.013, 0.012, 0.009)]


@category("wrench", "tool", IRON)
def _wrench(g: Rng) -> list[Part]:
    length = g.uniform(0.12, 0.18)
    jaws = [
        prism([(0, s * 0.008), (0.02, s * 0.008), (0.018, s * 0.016), (-0.01, s * 0.013), (-0.012, 0)], 0.007)
        for s in (1, -1)
    ]
    return [
        slab(length, 0.014, 0.006).moved(x=-length / 2 - 0.008),
        *jaws,
        _ring(0.009, 0.016, 0.007).moved(x=-length - 0.02),
    ]


@category("pliers", "tool", IRON)
def _pliers(g: Rng) -> list[Part]:
    parts: list[Part] = [solid((0.009, 0), (0.009, 0.012))]
    for s in (1, -1):
        parts.append(prism([(0, 0), (0.05, s * 0.001), (0.048, s * 0.006), (0.01, s * 0.012)], 0.009).moved(z=0.002))
        grip = [(0, s * 0.004, 0.006), (-0.03, s * 0.018, 0.006), (-0.07, s * 0.024, 0.006), (-0.11, s * 0.02, 0.006)]
        parts.append(tube(grip, 0.006).paint(1))
    return parts


@category("scissors", "tool")
def _scissors(g: Rng) -> list[Part]:
    parts, opening = [solid((0.006, 0), (0.006, 0.008))], g.uniform(5, 14)
    for s in (1, -1):
        blade = prism([(-0.02, -0.007), (0.02, -0.008), (0.11, 0), (0.02, 0.006), (-0.02, 0.006)], 0.0022)
        eye = tube(circle(0.019, 0, 19) * [1.3, 1, 1], 0.0035, 6).moved(-0.055, -s * 0.014, 0.005)
        parts += [blade.moved(z=0.004 + 0.001 * s).turned("z", s * opening), eye.turned("z", s * opening).paint(1)]
    return parts


@category("pen", "tool")
def _pen(g: Rng) -> list[Part]:
    length = g.uniform(0.12, 0.15)
    return [_rod(0, length * 0.85, 0.005, 0.005), _rod(length * 0.85, length, 0.005, 0.004, 0.0008).paint(1)]


@category("marker", "tool")
def _marker(g: Rng) -> list[Part]:
    return [_rod(0, 0.09, 0.009, 0.009, sides=12), _rod(0.09, 0.135, 0.0095, 0.0095, sides=12).paint(1)]


@category("paint brush", "tool")
def _paint_brush(g: Rng) -> list[Part]:
    return [
        _rod(0, 0.12, 0.007, 0.003, 0.007),
        slab(0.03, 0.024, 0.01).moved(0.135, 0, 0.002).paint(1),
        slab(0.04, 0.024, 0.008).moved(0.17, 0, 0.003).paint(2),
    ]


@category("toothbrush", "tool")
def _toothbrush(g: Rng) -> list[Part]:
    return [
        tube([(0, 0, 0.005), (0.08, 0, 0.006), (0.18, 0, 0.005)], [0.005, 0.006, 0.004]),
        slab(0.025, 0.01, 0.013).moved(0.17, 0, 0.004).paint(1),
    ]


@category("dumbbell", "tool")
def _dumbbell(g: Rng) -> list[Part]:
    r = g.uniform(0.025, 0.034)
    plate = solid((r, -0.02), (r, 0.02)).turned("y", 90)
    return [_rod(-0.06, 0.06, r, 0.01), *[plate.moved(s * 0.07, 0, r).paint(1) for s in (1, -1)]]


@category("bolt", "tool", IRON, BRASS)
def _bolt(g: Rng) -> list[Part]:
    return [
        lathe([(0, 0), (0.016, 0), (0.016, 0.01), (0, 0.01)], 6),
        solid((0.008, 0.01), (0.008, g.uniform(0.045, 0.07))),
    ]


@category("hex nut", "tool", IRON, BRASS)
def _hex_nut(g: Rng) -> list[Part]:
    return [_ring(0.012, 0.022, 0.016, 6)]


@category("key", "tool", BRASS, (0.7, 0.7, 0.7))
def _key(g: Rng) -> list[Part]:
    teeth = [slab(0.006, 0.006, 0.0025, 0.05).moved(x, 0.004, 0) for x in (0.028, 0.036, 0.044)]
    return [_ring(0.006, 0.014, 0.003, 20), slab(0.04, 0.007, 0.0025, 0.05).moved(x=0.03), *teeth]


@category("gear", "tool", IRON, BRASS)
def _gear(g: Rng) -> list[Part]:
    teeth = int(g.integers(10, 18))
    turn = 2 * np.pi / teeth
    radii = [(0.03, -0.25), (0.037, -0.15), (0.037, 0.15), (0.03, 0.25)]
    rim = [(r * np.cos(turn * (k + o)), r * np.sin(turn * (k + o))) for k in range(teeth) for r, o in radii]
    return [prism(rim, 0.012), solid((0.012, 0.012), (0.012, 0.02)).paint(1)]


@category("tape roll", "tool")
def _tape_roll(g: Rng) -> list[Part]:
    r, h = g.uniform(0.03, 0.05), g.uniform(0.015, 0.03)
    return [_ring(r * 0.66, r, h), _ring(r * 0.62, r * 0.68, h * 1.02).paint(1)]


@category("padlock", "tool", BRASS, IRON)
def _padlock(g: Rng) -> list[Part]:
    w = g.uniform(0.035, 0.05)
    return [
        slab(w, 0.016, w * 0.8, 0.3),
        tube(arc(w * 0.33, w * 0.6, 0, 180, 11), 0.0035, 6).moved(z=w * 0.78).paint(1),
    ]


@category("torch", "tool", (0.1, 0.1, 0.1))
def _torch(g: Rng) -> list[Part]:
    body = solid((0.013, 0), (0.013, 0.09), (0.02, 0.11), (0.02, 0.13)).turned("y", 90).moved(z=0.02)
    return [body, solid((0.017, 0.13), (0.017, 0.132)).turned("y", 90).moved(z=0.02).paint(1)]


@category("rolling pin", "tool", (0.75, 0.55, 0.35))
def _rolling_pin(g: Rng) -> list[Part]:
    r, half = g.uniform(0.02, 0.027), g.uniform(0.08, 0.12)
    return [
        _rod(-half, half, r, r, sides=14),
        *[_rod(s * half, s * (half + 0.05), r, 0.009, 0.011).paint(1) for s in (1, -1)],
    ]
