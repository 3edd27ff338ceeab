"""Things that hold something."""

from __future__ import annotations

import numpy as np

from focusdepth_core.sim.mesh import Part, arc, circle, ellipsoid, lathe, open_vessel, slab, solid, tube
from focusdepth_core.sim.shapes.registry import category

Rng = np.random.Generator
STEEL, BLACK = (0.72, 0.73, 0.75), (0.12, 0.12, 0.12)


def _handle(radius: float, z: float, width: float, height: float, thickness: float) -> Part:
    """An ear on the +x side."""
    return tube(arc(width, height), thickness).moved(x=radius * 0.96, z=z)


def _bail(radius: float, z: float, thickness: float) -> Part:
    """A carrying loop across the top."""
    return tube(arc(radius, radius * 0.9, 0, 180, 13), thickness, 6).turned("z", 90).moved(z=z)


def _label(radius: float, low: float, high: float) -> Part:
    return lathe([(radius * 1.015, low), (radius * 1.015, high)]).paint(2)


def _shell(profile: list[tuple[float, float]], wall: float = 0.003) -> Part:
    """A double wall around the profile, open at the top."""
    inner = [(max(r - wall, 0.001), max(z, profile[0][1] + wall)) for r, z in reversed(profile)]
    return lathe([(0, profile[0][1]), *profile, *inner, (0, profile[0][1] + wall)])


@category("mug", "vessel")
def _mug(g: Rng) -> list[Part]:
    r, h = g.uniform(0.034, 0.046), g.uniform(0.075, 0.11)
    return [open_vessel(r, h, g.uniform(0.85, 1)), _handle(r, h * 0.5, h * 0.3, h * 0.3, g.uniform(0.004, 0.006))]


@category("cup", "vessel")
def _cup(g: Rng) -> list[Part]:
    return [open_vessel(g.uniform(0.033, 0.046), g.uniform(0.08, 0.13), g.uniform(0.6, 0.8))]


@category("bowl", "vessel")
def _bowl(g: Rng) -> list[Part]:
    r, depth = g.uniform(0.06, 0.09), g.uniform(0.5, 0.8)
    t = np.linspace(0.25, np.pi / 2, 8)
    return [_shell([(r * np.sin(a), r * depth * (1 - np.cos(a))) for a in t])]


@category("plate", "vessel")
def _plate(g: Rng) -> list[Part]:
    r = g.uniform(0.085, 0.125)
    return [lathe([(0, 0), (r * 0.6, 0), (r, 0.018), (r, 0.021), (r * 0.6, 0.004), (0, 0.004)])]


@category("bottle", "vessel")
def _bottle(g: Rng) -> list[Part]:
    r, h, neck = g.uniform(0.028, 0.038), g.uniform(0.17, 0.25), g.uniform(0.35, 0.5)
    body = solid((r, 0), (r, h * 0.55), (r * 0.97, h * 0.62), (r * neck, h * 0.82), (r * neck, h * 0.93))
    return [body, solid((r * neck * 1.2, h * 0.92), (r * neck * 1.2, h)).paint(1), _label(r, h * 0.15, h * 0.5)]


@category("wine glass", "vessel")
def _wine_glass(g: Rng) -> list[Part]:
    r, h = g.uniform(0.032, 0.042), g.uniform(0.15, 0.2)
    bowl = _shell([(r * 0.3, h * 0.5), (r * 0.8, h * 0.58), (r, h * 0.72), (r * 0.8, h)], 0.002)
    return [bowl, lathe([(0, 0), (r * 0.9, 0), (r * 0.85, 0.003), (0.004, 0.006), (0.0035, h * 0.5), (0, h * 0.5)])]


@category("vase", "vessel")
def _vase(g: Rng) -> list[Part]:
    r, h = g.uniform(0.032, 0.05), g.uniform(0.14, 0.22)
    z = np.linspace(0, 1, 12)
    radii = np.interp(z, [0, 0.35, 0.8, 1], [r * 0.7, r, r * 0.45, r * 0.7])
    return [_shell(list(zip(radii, z * h)))]


@category("flower vase", "vessel")
def _flower_vase(g: Rng) -> list[Part]:
    vase = _vase(g)
    h = vase[0].vertices[:, 2].max()
    parts, t = list(vase), np.linspace(0, 1, 7)
    for _ in range(int(g.integers(2, 6))):
        a, length = g.uniform(0, 2 * np.pi), g.uniform(0.06, 0.14)
        away = 0.01 + length * 0.5 * t**2
        stem = np.stack([away * np.cos(a), away * np.sin(a), h * 0.5 + (h * 0.5 + length) * t], -1)
        parts += [tube(stem, 0.0018, 5).paint(1), ellipsoid(0.015, 0.015, 0.009).moved(*stem[-1]).paint(2)]
    return parts


@category("teapot", "vessel")
def _teapot(g: Rng) -> list[Part]:
    r = g.uniform(0.05, 0.065)
    h = r * 1.5
    spout = tube([(-r * 0.8, 0, h * 0.35), (-r * 1.2, 0, h * 0.5), (-r * 1.6, 0, h * 0.9)], [0.014, 0.011, 0.007])
    body = solid((r * 0.6, 0), (r, h * 0.4), (r * 0.55, h * 0.9), (r * 0.3, h), smooth=12)
    return [
        body,
        ellipsoid(0.01, 0.01, 0.01).moved(z=h).paint(1),
        _handle(r * 0.85, h * 0.5, h * 0.38, h * 0.33, 0.005),
        spout,
    ]


@category("kettle", "vessel", STEEL, BLACK)
def _kettle(g: Rng) -> list[Part]:
    r = g.uniform(0.06, 0.075)
    h = r * 1.5
    body = solid((r, 0), (r * 0.95, h * 0.5), (r * 0.5, h * 0.95), (r * 0.1, h), smooth=10)
    spout = tube([(-r * 0.8, 0, h * 0.5), (-r * 1.3, 0, h * 0.85)], [0.016, 0.009])
    return [body, _bail(r * 0.9, h * 0.75, 0.006).turned("z", 90).paint(1), spout]


@category("pot", "vessel", STEEL, BLACK)
def _pot(g: Rng) -> list[Part]:
    r, h = g.uniform(0.07, 0.095), g.uniform(0.07, 0.11)
    ear = tube(arc(0.03, 0.03), 0.004).turned("x", 90).moved(x=r * 0.97, z=h * 0.8).paint(1)
    return [open_vessel(r, h), ear, ear.turned("z", 180)]


@category("frying pan", "vessel", BLACK, STEEL)
def _frying_pan(g: Rng) -> list[Part]:
    r = g.uniform(0.085, 0.115)
    handle = tube([(r * 0.97, 0, 0.03), (r + 0.06, 0, 0.04), (r + 0.17, 0, 0.045)], [0.006, 0.008, 0.01], flat=0.6)
    return [open_vessel(r, 0.035, 0.85), handle.paint(1)]


@category("jar", "vessel")
def _jar(g: Rng) -> list[Part]:
    r, h = g.uniform(0.032, 0.043), g.uniform(0.08, 0.12)
    lid = solid((r * 0.9, h * 0.85), (r * 0.9, h)).paint(1)
    return [solid((r, 0), (r, h * 0.75), (r * 0.85, h * 0.86)), lid, _label(r, h * 0.2, h * 0.65)]


@category("soda can", "vessel")
def _soda_can(g: Rng) -> list[Part]:
    r, h = 0.033, g.uniform(0.115, 0.16)
    body = solid((r * 0.8, 0), (r, 0.008), (r, h - 0.012), (r * 0.83, h)).paint(2)
    return [body, lathe([(r * 0.8, h), (r * 0.8, h + 0.002), (0, h + 0.001)])]


@category("tin can", "vessel", STEEL)
def _tin_can(g: Rng) -> list[Part]:
    r, h = g.uniform(0.036, 0.05), g.uniform(0.05, 0.11)
    return [solid((r, 0), (r, h)), _label(r, h * 0.08, h * 0.92)]


@category("bucket", "vessel")
def _bucket(g: Rng) -> list[Part]:
    r = g.uniform(0.06, 0.08)
    return [open_vessel(r, r * 1.5, 0.75), _bail(r, r * 1.42, 0.0024).paint(1)]


@category("pitcher", "vessel")
def _pitcher(g: Rng) -> list[Part]:
    r, h = g.uniform(0.045, 0.056), g.uniform(0.15, 0.19)
    return [open_vessel(r, h, 0.85), _handle(r * 0.95, h * 0.55, h * 0.28, h * 0.33, 0.006)]


@category("funnel", "vessel")
def _funnel(g: Rng) -> list[Part]:
    r = g.uniform(0.045, 0.06)
    return [lathe([(0.005, 0), (0.007, 0), (0.009, 0.05), (r, 0.11), (r - 0.003, 0.111), (0.006, 0.05), (0.005, 0)])]


@category("spray bottle", "vessel")
def _spray_bottle(g: Rng) -> list[Part]:
    r = g.uniform(0.03, 0.038)
    body = solid((r, 0), (r, 0.11), (r * 0.4, 0.15), (r * 0.4, 0.17))
    head = slab(0.07, 0.02, 0.025).moved(-0.015, 0, 0.17).paint(1)
    return [body, head, tube([(-0.03, 0, 0.17), (-0.036, 0, 0.13)], 0.004).paint(1), _label(r, 0.02, 0.09)]


@category("basket", "vessel")
def _basket(g: Rng) -> list[Part]:
    r = g.uniform(0.07, 0.1)
    return [open_vessel(r, r * 0.7, 0.8, 0.005), _bail(r * 0.97, r * 0.65, 0.005)]


@category("saucepan lid", "vessel", STEEL, BLACK)
def _saucepan_lid(g: Rng) -> list[Part]:
    r = g.uniform(0.06, 0.09)
    dome = lathe([(0, 0), (r, 0), (r, 0.004), (r * 0.6, 0.016), (0.01, 0.022), (0, 0.022)])
    return [dome, solid((0.006, 0.02), (0.006, 0.034), (0.014, 0.04), (0.01, 0.046)).paint(1)]


@category("egg cup", "vessel")
def _egg_cup(g: Rng) -> list[Part]:
    r = g.uniform(0.021, 0.026)
    foot = lathe([(0, 0), (r, 0), (r * 0.9, 0.004), (r * 0.35, 0.015), (r * 0.35, 0.03), (0, 0.03)])
    return [_shell([(r * 0.35, 0.028), (r * 0.9, 0.042), (r, 0.062)], 0.0025), foot]


@category("tray", "vessel")
def _tray(g: Rng) -> list[Part]:
    x, y, wall = g.uniform(0.16, 0.24), g.uniform(0.11, 0.16), 0.006
    rim = [slab(x, wall, 0.025, 0.3).moved(y=s * (y - wall) / 2) for s in (1, -1)]
    rim += [slab(wall, y, 0.025, 0.3).moved(x=s * (x - wall) / 2) for s in (1, -1)]
    return [slab(x, y, 0.006, 0.05), *rim]


@category("lantern", "vessel", BLACK)
def _lantern(g: Rng) -> list[Part]:
    r, h = g.uniform(0.035, 0.045), g.uniform(0.1, 0.14)
    bars = [
        tube([(r * np.cos(a), r * np.sin(a), 0.01), (r * np.cos(a), r * np.sin(a), h)], 0.0022, 5)
        for a in np.arange(6) * np.pi / 3
    ]
    roof = solid((r * 1.15, h), (r * 0.4, h + 0.03), (r * 0.4, h + 0.035))
    ring = tube(circle(0.014, 0, 15), 0.0018, 5).turned("x", 90).moved(z=h + 0.048)
    return [
        solid((r * 1.1, 0), (r * 1.1, 0.012)),
        *bars,
        roof,
        ring,
        solid((r * 0.4, 0.012), (r * 0.4, h * 0.6)).paint(1),
    ]
