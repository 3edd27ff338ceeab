from __future__ import annotations

import numpy as np
import pytest

from focusdepth_core.sim.colour import COLOUR_WORDS, colour_word
from focusdepth_core.sim.mesh import merged, prism, slab, solid, tube
from focusdepth_core.sim.shapes import CATEGORIES
from focusdepth_core.sim.shapes.registry import category
from focusdepth_core.sim.splits import categories_for, held_out_categories, seed_range


def _volume(part) -> float:
    a, b, c = (part.vertices[part.faces[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize(
    ("part", "volume"),
    [
        (solid((0.1, 0), (0.1, 1)), np.pi * 0.01),
        (tube([(0, 0, 0), (0.5, 0, 0), (1, 0, 0)], 0.1, 40), np.pi * 0.01),
        (slab(1, 2, 3, 0.001), 6),
        (prism([(0, 0), (0, 1), (1, 0)], 2), 1),
    ],
)
def test_generators_wind_outwards_and_fill_their_volume(part, volume):
    assert _volume(part) == pytest.approx(volume, rel=0.02)


def test_at_least_sixty_categories_with_thin_ones():
    assert len(CATEGORIES) >= 60
    assert sum(c.family == "thin" for c in CATEGORIES.values()) >= 8


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_category_builds_something_of_household_size(name):
    for seed in range(3):
        part = merged(CATEGORIES[name].build(np.random.default_rng(seed)))
        assert np.isfinite(part.vertices).all()
        assert part.faces.max() < len(part.vertices) == len(part.uv)
        size = np.ptp(part.vertices, axis=0)
        assert 0.02 < size.max() < 0.6
        assert len(part.faces) < 4000
        assert _volume(part) > 0


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="'mug' is defined twice"):
        category("mug", "vessel")(lambda rng: [])


def test_twelve_categories_are_held_out_of_training_seeds_only():
    held_out = held_out_categories()
    assert len(held_out) == 12 and held_out < set(CATEGORIES)
    assert not held_out & set(categories_for(seed_range("train")[0]))
    assert held_out < set(categories_for(seed_range("test")[0]))


def test_seed_ranges_do_not_meet():
    ranges = [seed_range(s) for s in ("train", "val", "test")]
    assert all(a.stop <= b.start for a, b in zip(ranges, ranges[1:]))
    with pytest.raises(ValueError, match="split 'dev' is unknown; there are train, val, test"):
        seed_range("dev")


@pytest.mark.parametrize("word", COLOUR_WORDS)
def test_typical_colours_get_their_word(word):
    assert colour_word(np.array(COLOUR_WORDS[word])) == word


def test_dark_red_is_red():
    assert colour_word(np.array([0.5, 0.08, 0.06])) == "red"
