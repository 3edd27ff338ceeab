"""Wires, frames and leaves: what depth networks lose first."""

from __future__ import annotations

import numpy as np

from focusdepth_core.sim.mesh import Part, arc, circle, lathe, open_vessel, slab, solid, tube
from focusdepth_core.sim.shapes.registry import category

Rng = np.random.Generator
STEEL = (0.75, 0.75, 0.77)


@category("wire basket", "thin", STEEL)
def _wire_basket(g: Rng) -> list[Part]:
    r, h, n = g.uniform(0.07, 0.1), g.uniform(0.05, 0.09), int(g.integers(14, 22))
    rings = [tube(circle(r * k, z), w, 5) for k, z, w in ((1, h, 0.003), (0.87, h / 2, 0.0017), (0.75, 0.002, 0.002))]
    angles = 2 * np.pi * np.arange(n) / n
    wires = [
        tube([(0.75 * r * np.cos(a), 0.75 * r * np.sin(a), 0.002), (r * np.cos(a), r * np.sin(a), h)], 0.0016, 5)
        for a in angles
    ]
    return [*rings, *wires, solid((r * 0.75, 0), (r * 0.75, 0.002))]


@category("dish rack", "thin", STEEL)
def _dish_rack(g: Rng) -> list[Part]:
    length, width = g.uniform(0.2, 0.27), g.uniform(0.12, 0.16)
    loop = tube(arc(0.02, 0.08, 0, 180, 9), 0.002, 5).turned("z", 90).moved(z=0.004)
    loops = [
        loop.moved(x, y)
        for x in np.linspace(-length / 2 + 0.02, length / 2 - 0.02, 9)
        for y in (-width * 0.22, width * 0.22)
    ]
    return [slab(length, width, 0.006).paint(1), *loops]


@category("whisk", "thin", STEEL)
def _whisk(g: Rng) -> list[Part]:
    t = np.linspace(0, np.pi, 13)
    loop = tube(np.stack([0.1 * np.sin(t), 0.026 * np.cos(t), 0 * t], -1), 0.0012, 5)
    wires = [loop.turned("x", 36.0 * k).moved(z=0.026) for k in range(5)]
    return [*wires, tube([(-0.14, 0, 0.02), (0, 0, 0.026)], 0.008).paint(1)]


@category("cable", "thin")
def _cable(g: Rng) -> list[Part]:
    knots = np.cumsum(g.normal(0, 0.055, (int(g.integers(6, 11)), 2)), 0)
    t = np.linspace(0, len(knots) - 1, 45)
    smooth = np.stack([np.interp(t, np.arange(len(knots)), knots[:, i]) for i in (0, 1)], -1)
    kernel = np.hanning(9) / np.hanning(9).sum()
    smooth = np.stack([np.convolve(np.pad(smooth[:, i], 4, "edge"), kernel, "valid") for i in (0, 1)], -1)
    smooth -= smooth.mean(0)
    r = g.uniform(0.0018, 0.004)
    lift = r + 0.012 * np.abs(np.sin(np.linspace(0, g.uniform(3, 12), 45)))
    path = np.c_[smooth, lift]
    return [tube(path, r, 6), slab(0.03, 0.014, 0.01).moved(*(path[-1] - [0, 0, r])).paint(1)]


@category("rope coil", "thin", (0.75, 0.62, 0.42))
def _rope_coil(g: Rng) -> list[Part]:
    t, r = np.linspace(0, 2 * np.pi * g.uniform(2.5, 4), 80), g.uniform(0.05, 0.08)
    wobble = r + 0.005 * np.sin(2.3 * t)
    return [tube(np.stack([wobble * np.cos(t), wobble * np.sin(t), 0.006 + 0.0055 * t / np.pi], -1), 0.005, 6)]


@category("coat hanger", "thin")
def _coat_hanger(g: Rng) -> list[Part]:
    w = g.uniform(0.14, 0.18)
    t = np.linspace(np.pi * 0.9, -np.pi * 0.6, 9)
    frame = [
        (0, 0.07, 0.004),
        (-w, -0.02, 0.004),
        (-w, -0.03, 0.004),
        (w, -0.03, 0.004),
        (w, -0.02, 0.004),
        (0, 0.07, 0.004),
        (0, 0.1, 0.004),
    ]
    hook = np.stack([0.02 * np.cos(t) + 0.018, 0.115 + 0.02 * np.sin(t), 0 * t + 0.004], -1)
    return [tube([*frame, *hook], 0.0028, 6)]


@category("headphones", "thin")
def _headphones(g: Rng) -> list[Part]:
    t = np.linspace(0, np.pi, 17)
    band = tube(np.stack([0.08 * np.cos(t), 0.016 * np.cos(t), 0.035 + 0.09 * np.sin(t)], -1), 0.005, 6, flat=0.6)
    pad = solid((0.03, 0), (0.034, 0.012), (0.026, 0.025))
    return [band, *[pad.turned("y", -s * 90).moved(s * 0.092, s * 0.016, 0.035).paint(1) for s in (1, -1)]]


@category("eyeglasses", "thin", (0.1, 0.1, 0.1))
def _eyeglasses(g: Rng) -> list[Part]:
    rims = [tube(circle(0.024, 0, 19), 0.0016, 5).turned("x", 90).moved(s * 0.032, 0, 0.026) for s in (1, -1)]
    arms = [tube([(s * 0.056, 0, 0.03), (s * 0.058, 0.07, 0.03), (s * 0.056, 0.12, 0.006)], 0.0016, 5) for s in (1, -1)]
    return [*rims, *arms, slab(0.016, 0.003, 0.003).moved(z=0.028)]


@category("desk lamp", "thin")
def _desk_lamp(g: Rng) -> list[Part]:
    shade = lathe([(0.014, 0), (0.011, 0), (0.047, -0.07), (0.05, -0.07), (0.014, 0)]).turned(
        "y", -np.degrees(g.uniform(0.3, 0.9))
    )
    arms = [tube(p, 0.004, 6).paint(1) for p in ([(0, 0, 0.01), (-0.03, 0, 0.16)], [(-0.03, 0, 0.16), (0.09, 0, 0.27)])]
    return [solid((0.06, 0), (0.055, 0.015)), *arms, shade.moved(0.09, 0, 0.27)]


@category("potted plant", "thin", (0.62, 0.33, 0.2))
def _potted_plant(g: Rng) -> list[Part]:
    r, t = g.uniform(0.035, 0.05), np.linspace(0, 1, 7)
    parts = [open_vessel(r, r * 1.4, 0.75, 0.004), solid((r * 0.85, r * 1.1), (r * 0.85, r * 1.15)).paint(1)]
    for _ in range(int(g.integers(6, 13))):
        a, length = g.uniform(0, 2 * np.pi), g.uniform(0.06, 0.14)
        away = length * 0.8 * t**1.5
        rib = np.stack([away * np.cos(a), away * np.sin(a), r * 1.1 + length * (t - 0.45 * t**3)], -1)
        parts.append(tube(rib, 0.009 * np.sin(np.pi * np.clip(t, 0.06, 0.96)), 6, flat=0.15).paint(3))
    return parts


@category("stool", "thin", (0.75, 0.55, 0.35))
def _stool(g: Rng) -> list[Part]:
    angles = np.arange(4) * np.pi / 2 + 0.5
    legs = [
        tube([(0.03 * np.cos(a), 0.03 * np.sin(a), 0.1), (0.05 * np.cos(a), 0.05 * np.sin(a), 0)], 0.004, 6).paint(1)
        for a in angles
    ]
    return [solid((0.05, 0.1), (0.05, 0.112)), *legs]


@category("clothes peg", "thin")
def _clothes_peg(g: Rng) -> list[Part]:
    jaw = slab(0.075, 0.01, 0.006, 0.2)
    return [
        jaw.turned("y", 6),
        jaw.turned("y", -6).moved(z=0.012),
        tube(circle(0.005, 0, 13), 0.0012, 5).turned("x", 90).moved(0, 0, 0.01).paint(1),
    ]


@category("phone stand", "thin", (0.2, 0.2, 0.22))
def _phone_stand(g: Rng) -> list[Part]:
    lean = [tube([(x, 0.04, 0.004), (x, -0.02, 0.11)], 0.003, 6) for x in (-0.03, 0.03)]
    feet = [tube([(x, 0.06, 0.004), (x, -0.05, 0.004)], 0.003, 6) for x in (-0.03, 0.03)]
    bars = [tube([(-0.03, y, z), (0.03, y, z)], 0.003, 6) for y, z in ((0.06, 0.004), (-0.05, 0.004), (-0.02, 0.11))]
    return [*lean, *feet, *bars]
