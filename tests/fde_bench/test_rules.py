"""Which objects become targets, and their names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusdepth_core.fde_bench.rules import normalised, reason_to_drop, texts_of, tight_box
from focusdepth_core.fde_bench.source import Instance
from focusdepth_core.sim.shapes import CATEGORIES


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("002_master_chef_can", "master chef can"),
        ("061_foam_brick", "foam brick"),
        ("020_hammer/base0", "hammer base0"),
        ("Coffee  Mug", "mug"),
        ("cup_3", "cup"),
        ("drawer#0", "drawer"),
        ("t-shirt", "t-shirt"),
        ("7", "7"),
        (" _ ", ""),
    ],
)
def test_names_lose_numbers_and_underscores(raw, name):
    assert normalised(raw) == name


@given(st.text(alphabet="ab 0_/#-", max_size=12))
def test_a_normalised_name_stays_as_it_is(raw):
    assert normalised(normalised(raw)) == normalised(raw)


def test_the_simulator_uses_normalised_names():
    assert [name for name in CATEGORIES if normalised(name) != name] == []


def test_the_category_comes_first_and_every_text_once():
    instance = Instance(np.ones((2, 2), bool), "coffee mug", "Coffee_Mug_01", ("red  mug", "Mug", "coffee mug", ""))
    assert texts_of(instance) == ("mug", "coffee mug", "red mug")


def instance(box, shape=(300, 400), category="mug", **known):
    mask = np.zeros(shape, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Instance(mask, category, category, **known)


def reason(thing, depth=None):
    return reason_to_drop(thing, tight_box(thing.mask), np.ones(thing.mask.shape) if depth is None else depth)


@pytest.mark.parametrize(
    ("kept", "dropped", "why"),
    [
        (instance((0, 0, 12, 10)), instance((0, 0, 11, 10)), "smaller than 100 px or 0.1 %"),  # 0.1 % are 120 px
        (
            instance((0, 0, 10, 10), (100, 100)),
            instance((0, 0, 11, 9), (100, 100)),
            "smaller than 100 px or 0.1 %",
        ),
        (instance((0, 0, 400, 180)), instance((0, 0, 400, 181)), "larger than 60 %"),
        (instance((0, 0, 8, 30)), instance((0, 0, 7, 30)), "side under 8 px"),
        (instance((0, 0, 30, 8)), instance((0, 0, 30, 7)), "side under 8 px"),
        (
            instance((0, 0, 30, 30), visible_fraction=0.3),
            instance((0, 0, 30, 30), visible_fraction=0.29),
            "under 30 % visible",
        ),
        (
            instance((0, 0, 30, 30), amodal_box=(-30, 0, 30, 30)),
            instance((0, 0, 30, 30), amodal_box=(-31, 0, 30, 30)),
            "half outside the image",
        ),
        (instance((0, 0, 30, 30)), instance((0, 0, 30, 30), category="Dining_table/table"), None),
        (instance((0, 0, 30, 30)), instance((0, 0, 30, 30), category="robot_arm"), "surface or robot"),
        (instance((0, 0, 30, 30)), instance((0, 0, 30, 30), category="wall"), "surface or robot"),
        (instance((0, 0, 30, 30)), instance((0, 0, 30, 30), category="__"), "no name"),
    ],
)
def test_each_rule_at_its_limit(kept, dropped, why):
    assert reason(kept) is None
    assert reason(dropped) == why


def test_half_of_the_mask_needs_depth():
    thing, depth = instance((0, 0, 30, 30)), np.ones((300, 400))
    depth[:15] = 0
    assert reason(thing, depth) is None
    depth[15, 0] = 0
    assert reason(thing, depth) == "depth in under half of it"
