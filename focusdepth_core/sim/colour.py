"""Random colours, and the words people use for them."""

from __future__ import annotations

import colorsys

import numpy as np

# Basic colour terms with a typical sRGB value (Berlin & Kay's eleven).
COLOUR_WORDS: dict[str, tuple[float, float, float]] = {
    "black": (0.08, 0.08, 0.08),
    "white": (0.93, 0.93, 0.93),
    "grey": (0.5, 0.5, 0.5),
    "red": (0.75, 0.1, 0.1),
    "orange": (0.92, 0.48, 0.1),
    "yellow": (0.92, 0.82, 0.18),
    "green": (0.25, 0.55, 0.2),
    "blue": (0.15, 0.3, 0.7),
    "purple": (0.45, 0.18, 0.55),
    "pink": (0.9, 0.55, 0.65),
    "brown": (0.42, 0.27, 0.15),
}


def random_colour(rng: np.random.Generator, darkest: float = 0.1) -> np.ndarray:
    """An sRGB colour in [0, 1], mostly muted, sometimes vivid."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.95) ** 1.2, rng.uniform(darkest, 0.97)))


def colour_word(rgb: np.ndarray) -> str:
    """The nearest basic colour term; hue counts more than lightness once a colour is saturated."""
    rgb = np.asarray(rgb, float)
    names = list(COLOUR_WORDS)
    distance = [np.linalg.norm(_opponent(rgb) - _opponent(np.array(COLOUR_WORDS[n]))) for n in names]
    return names[int(np.argmin(distance))]


def _opponent(rgb: np.ndarray) -> np.ndarray:
    """Lightness and two weighted opponent channels."""
    r, g, b = rgb
    return np.array([rgb.mean(), 1.5 * (r - g), 1.0 * ((r + g) / 2 - b)])
