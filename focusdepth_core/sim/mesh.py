"""Triangle meshes from a handful of generators: every object of the simulator is made of these.

All lengths are metres; faces wind counter-clockwise seen from outside (MuJoCo culls the back).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

EPS = 1e-4  # radius of a closed pole; exactly 0 would give degenerate triangles


@dataclass(frozen=True)
class Part:
    """``vertices`` N,3; ``faces`` M,3 int; ``uv`` N,2; ``slot``: 0 main colour, 1 second colour, 2 print, 3 leaves."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    slot: int = 0

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Part:
        return replace(self, vertices=self.vertices + [x, y, z])

    def scaled(self, x: float, y: float, z: float) -> Part:
        return replace(self, vertices=self.vertices * [x, y, z])

    def turned(self, axis: str, degrees: float) -> Part:
        """Rotated about 'x', 'y' or 'z' through the origin, right-handed."""
        return replace(self, vertices=self.vertices @ rotation(axis, degrees).T)

    def paint(self, slot: int) -> Part:
        return replace(self, slot=slot)


def rotation(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def _grid_faces(rows: int, columns: int) -> np.ndarray:
    """Two triangles per cell of a rows x columns vertex grid."""
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    b, c, d = a + columns, a + columns + 1, a + 1
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def lathe(profile: Sequence[tuple[float, float]], segments: int = 26) -> Part:
    """Revolve (radius, z) points about z; go up the outer wall first, then down the inner one."""
    p = np.maximum(np.asarray(profile, float), [EPS, -np.inf])
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    vertices = np.stack(
        [np.outer(np.cos(angle), p[:, 0]), np.outer(np.sin(angle), p[:, 0]), np.tile(p[:, 1], (segments + 1, 1))], -1
    )
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))])
    v = length / max(length[-1], 1e-9)
    uv = np.stack([np.repeat(angle / (2 * np.pi), len(p)), np.tile(v, segments + 1)], -1)
    return _without_slivers(Part(vertices.reshape(-1, 3), _grid_faces(segments + 1, len(p)), uv))


def tube(
    path: Sequence[Sequence[float]] | np.ndarray, radius: float | Sequence[float], sides: int = 7, flat: float = 1.0
) -> Part:
    """Sweep a circle (flattened by ``flat`` across) along a path; both ends are closed."""
    path = np.asarray(path, float)
    radii = np.broadcast_to(np.asarray(radius, float), (len(path),))
    normals, binormals = _transported_frames(path)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.cos(angle)[None, :, None] * normals[:, None] + flat * np.sin(angle)[None, :, None] * binormals[:, None]
    vertices = (path[:, None] + radii[:, None, None] * ring).reshape(-1, 3)
    uv = np.stack(np.meshgrid(np.linspace(0, 1, len(path)), np.linspace(0, 1, sides + 1), indexing="ij"), -1)
    faces = _grid_faces(len(path), sides + 1)[:, [0, 2, 1]]
    first, last = len(vertices), len(vertices) + 1
    j, end = np.arange(sides), (len(path) - 1) * (sides + 1)
    caps = [np.stack([np.full(sides, first), j + 1, j], 1), np.stack([np.full(sides, last), end + j, end + j + 1], 1)]
    return Part(
        np.concatenate([vertices, path[:1], path[-1:]]),
        np.concatenate([faces, *caps]),
        np.concatenate([uv.reshape(-1, 2), [[0, 0], [1, 1]]]),
    )


def _transported_frames(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A normal and a binormal per path point that turn as little as possible."""
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True) + 1e-12
    helper = np.array([0, 0, 1.0]) if abs(tangents[0, 2]) < 0.9 else np.array([1.0, 0, 0])
    normal, normals = np.cross(tangents[0], helper), []
    for tangent in tangents:
        normal = normal - tangent * (normal @ tangent)
        normal /= np.linalg.norm(normal) + 1e-12
        normals.append(normal)
    stacked = np.array(normals)
    return stacked, np.cross(tangents, stacked)


def prism(outline: Sequence[tuple[float, float]] | np.ndarray, height: float) -> Part:
    """Extrude an outline from z = 0; the outline must be visible as a whole from its mean point (star-shaped)."""
    p = np.asarray(outline, float)
    x, y = p.T
    if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0:
        p = p[::-1]
    n = len(p)
    low, high = np.c_[p, np.zeros(n)], np.c_[p, np.full(n, height)]
    centre = p.mean(0)
    k, following = np.arange(n), (np.arange(n) + 1) % n
    faces = np.concatenate(
        [
            np.stack([np.full(n, 4 * n), following, k], 1),
            np.stack([np.full(n, 4 * n + 1), n + k, n + following], 1),
            np.stack([2 * n + k, 2 * n + following, 3 * n + following], 1),
            np.stack([2 * n + k, 3 * n + following, 3 * n + k], 1),
        ]
    )
    flat_uv = (p - p.min(0)) / max(np.ptp(p[:, 0]), np.ptp(p[:, 1]))
    wall = np.c_[k / n, np.zeros(n)]
    uv = np.concatenate([flat_uv, flat_uv, wall, wall + [0, 1], np.full((2, 2), 0.5)])
    return Part(np.concatenate([low, high, low, high, [[*centre, 0], [*centre, height]]]), faces, uv)


def slab(x: float, y: float, z: float, corner: float = 0.1) -> Part:
    """A box standing on z = 0 whose vertical edges are rounded by ``corner`` times the shorter side."""
    r = corner * min(x, y)
    turn = np.radians(np.linspace(0, 90, 4))
    corners = (
        (x / 2 - r, y / 2 - r, 0),
        (-x / 2 + r, y / 2 - r, 1),
        (-x / 2 + r, -y / 2 + r, 2),
        (x / 2 - r, -y / 2 + r, 3),
    )
    outline = [
        (cx + r * np.cos(a + q * np.pi / 2), cy + r * np.sin(a + q * np.pi / 2)) for cx, cy, q in corners for a in turn
    ]
    return prism(outline, z)


def ellipsoid(rx: float, ry: float, rz: float, blunt: float = 1.0) -> Part:
    """Resting on z = 0; ``blunt`` < 1 fills the shoulders (a loaf)."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 11)
    ball = lathe(np.stack([np.maximum(np.cos(t), EPS) ** blunt, np.sin(t)], -1), 20)
    return ball.scaled(rx, ry, rz).moved(z=rz)


def open_vessel(radius: float, height: float, taper: float = 1.0, wall: float = 0.003) -> Part:
    """A cup: foot radius ``taper`` x ``radius``, double walled, closed at the bottom."""
    foot = radius * taper
    return lathe([(0, 0), (foot, 0), (radius, height), (radius - wall, height), (foot - wall, wall), (0, wall)])


def solid(*profile: tuple[float, float], smooth: int = 0) -> Part:
    """A closed body of revolution; with ``smooth`` the outline is a monotone curve through that many points."""
    points = np.asarray(profile, float)
    if smooth:
        z = np.linspace(points[0, 1], points[-1, 1], smooth)
        points = np.stack([np.interp(_eased(z, points[:, 1]), np.arange(len(points)), points[:, 0]), z], -1)
    return lathe([(0, points[0, 1]), *map(tuple, points), (0, points[-1, 1])])


def _eased(z: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Fractional knot index of each z, eased so that the curve is flat at every knot."""
    index = np.interp(z, knots, np.arange(len(knots)))
    whole = np.floor(index)
    t = index - whole
    return whole + t * t * (3 - 2 * t)


def circle(radius: float, z: float = 0.0, points: int = 25) -> np.ndarray:
    """A closed path of ``points`` points, P,3."""
    t = np.linspace(0, 2 * np.pi, points)
    return np.stack([radius * np.cos(t), radius * np.sin(t), np.full_like(t, z)], -1)


def arc(width: float, height: float, start: float = -90, stop: float = 90, points: int = 11) -> np.ndarray:
    """An elliptic arc in the x-z plane, angles in degrees from +x, P,3."""
    t = np.radians(np.linspace(start, stop, points))
    return np.stack([width * np.cos(t), np.zeros_like(t), height * np.sin(t)], -1)


def _without_slivers(part: Part) -> Part:
    a, b, c = (part.vertices[part.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return replace(part, faces=part.faces[area > 1e-12])


def merged(parts: Sequence[Part]) -> Part:
    """One mesh of several; the slot of the first."""
    offsets = np.cumsum([0] + [len(p.vertices) for p in parts[:-1]])
    return Part(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + o for p, o in zip(parts, offsets)]),
        np.concatenate([p.uv for p in parts]),
        parts[0].slot,
    )
