"""Procedural textures, SIZE x SIZE x 3 uint8."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from focusdepth_core.sim.colour import random_colour

SIZE = 192
Rng = np.random.Generator
Y, X = np.mgrid[:SIZE, :SIZE].astype(np.float32) / SIZE


def fractal_noise(rng: Rng, octaves: int = 6, stretch: tuple[float, float] = (1, 1)) -> np.ndarray:
    """Smooth noise in [0, 1], SIZE x SIZE; ``stretch`` scales the frequency along rows and columns."""
    total = np.zeros((SIZE, SIZE), np.float32)
    for octave in range(octaves):
        cells = [max(2, int(2 ** (octave + 1) * s)) for s in stretch]
        noise = rng.standard_normal(cells).astype(np.float32)
        total += cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) / 1.8**octave
    total -= total.min()
    return total / total.max()


def _wood(rng: Rng) -> np.ndarray:
    rings = np.abs(2 * ((fractal_noise(rng, 6, (1, 0.12)) * rng.integers(4, 10)) % 1) - 1)
    weight = 0.55 * rings + 0.45 * fractal_noise(rng, 6, (1, 0.06))
    planks = int(rng.integers(3, 7))
    if rng.random() < 0.5:
        weight = weight * 0.75 + 0.35 * rng.random(planks)[(X * planks).astype(int)]
        weight[(X * planks) % 1 < 0.02] = 1
    light = np.array([0.55, 0.36, 0.2]) * rng.uniform(0.5, 1.6) + rng.normal(0, 0.04, 3)
    return _blend(light, light * rng.uniform(0.5, 0.8), weight)


def _cloth(rng: Rng) -> np.ndarray:
    f = 2 * np.pi * rng.integers(20, 60)
    return _muted(rng, 0.5 + 0.25 * np.sin(f * X) * np.sin(f * Y) + 0.3 * (fractal_noise(rng) - 0.5))


def _marble(rng: Rng) -> np.ndarray:
    veins = np.abs(np.sin(6 * np.pi * (fractal_noise(rng) + X * rng.uniform(0, 2)))) ** 0.3
    base = random_colour(rng)
    return _blend(base, base * 0.4 + 0.5, veins)


def _tiles(rng: Rng) -> np.ndarray:
    n = int(rng.integers(2, 7))
    weight = 0.35 * rng.random((n, n))[(Y * n).astype(int), (X * n).astype(int)] + 0.2 * fractal_noise(rng)
    weight[((X * n) % 1 < 0.04) | ((Y * n) % 1 < 0.04)] = 1
    return _muted(rng, weight)


def _plain(rng: Rng) -> np.ndarray:
    return _muted(rng, fractal_noise(rng) * 0.35)


def _checks(rng: Rng) -> np.ndarray:
    n = int(rng.integers(2, 9))
    weight = ((X * n).astype(int) + (Y * n).astype(int)) % 2 + 0.1 * fractal_noise(rng)
    return _blend(random_colour(rng), random_colour(rng), weight)


def _stripes(rng: Rng) -> np.ndarray:
    axis, n = (X if rng.random() < 0.5 else Y), int(rng.integers(2, 12))
    return _blend(random_colour(rng), random_colour(rng), ((axis * n) % 1 < 0.5) + 0.1 * fractal_noise(rng))


def _print(rng: Rng) -> np.ndarray:
    """A label: shapes and lettering on a plain ground."""
    image = (_blend(random_colour(rng), random_colour(rng), fractal_noise(rng) * 0.35) * 255).astype(np.uint8)
    for _ in range(int(rng.integers(2, 6))):
        colour, (x0, y0, x1, y1) = _ink(rng), rng.integers(0, SIZE, 4).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(image, (x0, y0), (x1, y1), colour, -1)
        else:
            cv2.circle(image, (x0, y0), int(rng.integers(8, 45)), colour, -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 6))):
        word = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUYaeio"), rng.integers(3, 9)))
        at = (int(rng.integers(0, SIZE // 2)), int(rng.integers(20, SIZE)))
        cv2.putText(image, word, at, int(rng.choice([0, 2, 3, 4])), rng.uniform(0.4, 1.2), _ink(rng), 2, cv2.LINE_AA)
    return image.astype(np.float32) / 255


def _ink(rng: Rng) -> tuple[int, int, int]:
    r, g, b = rng.integers(0, 255, 3).tolist()
    return r, g, b


def _blend(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    w = np.clip(weight, 0, 1)[..., None]
    return np.clip(a * (1 - w) + b * w, 0, 1)


def _muted(rng: Rng, weight: np.ndarray) -> np.ndarray:
    """Two greyish colours, as on tables and walls."""
    a, b = (0.45 * c + 0.55 * c.mean() for c in (random_colour(rng), random_colour(rng)))
    return _blend(a, b, weight)


SURFACES: tuple[Callable[[Rng], np.ndarray], ...] = (_wood, _cloth, _marble, _tiles, _plain, _stripes)
PRINTS: tuple[Callable[[Rng], np.ndarray], ...] = (_print, _print, _checks, _stripes, _print)


def draw(rng: Rng, kinds: tuple[Callable[[Rng], np.ndarray], ...]) -> np.ndarray:
    """One texture of one of ``kinds`` with a little grain, SIZE,SIZE,3 uint8."""
    image = kinds[int(rng.integers(len(kinds)))](rng) + rng.normal(0, 0.008, (SIZE, SIZE, 1))
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)
