"""Packages, books, toys and other compact things."""

from __future__ import annotations

import numpy as np

from focusdepth_core.sim.mesh import Part, ellipsoid, lathe, slab, solid, tube
from focusdepth_core.sim.shapes.registry import category

Rng = np.random.Generator


def _button(radius: float, height: float) -> Part:
    return lathe([(0, 0), (radius, 0), (radius * 0.85, height), (0, height)], 10)


@category("book", "box")
def _book(g: Rng) -> list[Part]:
    x, y, h = g.uniform(0.11, 0.16), g.uniform(0.16, 0.23), g.uniform(0.012, 0.04)
    covers = [slab(x, y, h * 0.12, 0.01).moved(z=z).paint(2) for z in (0, h * 0.88)]
    return [slab(x * 0.97, y * 0.97, h * 0.78, 0.01).moved(0.002, 0, h * 0.11), *covers]


@category("cereal box", "box")
def _cereal_box(g: Rng) -> list[Part]:
    return [slab(g.uniform(0.14, 0.19), g.uniform(0.045, 0.06), g.uniform(0.2, 0.27), 0.04).paint(2)]


@category("cardboard box", "box", (0.65, 0.48, 0.3))
def _cardboard_box(g: Rng) -> list[Part]:
    x, y, h = g.uniform(0.09, 0.17), g.uniform(0.09, 0.14), g.uniform(0.06, 0.12)
    flaps = [slab(x * 0.45, y, 0.002, 0.02).turned("y", -s * 25).moved(s * (x / 2 + x * 0.19), 0, h) for s in (1, -1)]
    return [slab(x, y, h, 0.02), *flaps]


@category("milk carton", "box")
def _milk_carton(g: Rng) -> list[Part]:
    w, h = g.uniform(0.06, 0.075), g.uniform(0.15, 0.19)
    roof = lathe([(0, 0), (w * 0.707, 0), (w * 0.1, 0.03), (0, 0.03)], 4).turned("z", 45).moved(z=h)
    return [slab(w, w, h, 0.02).paint(2), roof, slab(w, 0.004, 0.02, 0.1).moved(z=h + 0.025)]


@category("sponge", "box", (0.94, 0.83, 0.2), (0.4, 0.65, 0.3))
def _sponge(g: Rng) -> list[Part]:
    return [slab(0.1, 0.065, 0.024, 0.15), slab(0.1, 0.065, 0.008, 0.15).moved(z=0.024).paint(1)]


@category("remote control", "box", (0.12, 0.12, 0.13))
def _remote_control(g: Rng) -> list[Part]:
    keys = [
        _button(0.005, 0.003).moved(x, y, 0.018).paint(1)
        for x in (-0.012, 0, 0.012)
        for y in np.linspace(-0.06, 0.06, 6)
    ]
    return [slab(0.045, 0.16, 0.018, 0.3), *keys]


@category("smartphone", "box")
def _smartphone(g: Rng) -> list[Part]:
    return [slab(0.072, 0.15, 0.008, 0.2), slab(0.068, 0.145, 0.0006, 0.18).moved(z=0.008).paint(1)]


@category("computer mouse", "box")
def _computer_mouse(g: Rng) -> list[Part]:
    return [ellipsoid(0.055, 0.032, 0.017, 0.7), slab(0.014, 0.006, 0.006, 0.3).moved(0.03, 0, 0.03).paint(1)]


@category("calculator", "box")
def _calculator(g: Rng) -> list[Part]:
    keys = [
        slab(0.011, 0.011, 0.003).moved(x, y, 0.012).paint(1)
        for x in (-0.024, -0.008, 0.008, 0.024)
        for y in np.linspace(-0.05, 0.015, 5)
    ]
    return [slab(0.075, 0.14, 0.012, 0.08), *keys, slab(0.06, 0.028, 0.001).moved(0, 0.046, 0.012).paint(2)]


@category("toy brick", "box")
def _toy_brick(g: Rng) -> list[Part]:
    studs = [_button(0.005, 0.004).moved(x, y, 0.02) for x in np.linspace(-0.024, 0.024, 4) for y in (-0.008, 0.008)]
    return [slab(0.064, 0.032, 0.02, 0.02), *studs]


@category("wooden cube", "box", (0.75, 0.55, 0.35))
def _wooden_cube(g: Rng) -> list[Part]:
    side = g.uniform(0.03, 0.055)
    return [slab(side, side, side, 0.04)]


@category("ball", "round")
def _ball(g: Rng) -> list[Part]:
    r = g.uniform(0.025, 0.05)
    return [ellipsoid(r, r, r).paint(2)]


@category("light bulb", "round", (0.95, 0.95, 0.9))
def _light_bulb(g: Rng) -> list[Part]:
    glass = solid((0.012, 0.025), (0.03, 0.06), (0.03, 0.08), (0.005, 0.1), smooth=12)
    return [p.turned("y", 90).moved(z=0.03) for p in (glass, solid((0.012, 0), (0.012, 0.026)).paint(1))]


@category("candle", "round")
def _candle(g: Rng) -> list[Part]:
    r, h = g.uniform(0.02, 0.035), g.uniform(0.05, 0.12)
    return [solid((r, 0), (r, h)), tube([(0, 0, h), (0.001, 0, h + 0.012)], 0.001, 5).paint(1)]


@category("chess pawn", "round", (0.12, 0.1, 0.1), (0.85, 0.75, 0.6))
def _chess_pawn(g: Rng) -> list[Part]:
    return [
        solid((0.02, 0), (0.02, 0.008), (0.008, 0.025), (0.007, 0.04), (0.012, 0.044), (0.006, 0.05)),
        ellipsoid(0.012, 0.012, 0.012).moved(z=0.046),
    ]


@category("alarm clock", "round")
def _alarm_clock(g: Rng) -> list[Part]:
    r = g.uniform(0.035, 0.045)
    bells = [ellipsoid(0.014, 0.014, 0.008).moved(0, s * 0.02, 2 * r + 0.002).paint(1) for s in (1, -1)]
    face = solid((r * 0.9, 0), (r * 0.9, 0.002)).turned("y", 90).moved(0.02, 0, r + 0.004).paint(2)
    return [solid((r, -0.02), (r, 0.02)).turned("y", 90).moved(z=r + 0.004), face, *bells]
