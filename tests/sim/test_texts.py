from __future__ import annotations

from focusdepth_core.sim.splits import held_out_categories
from focusdepth_core.sim.texts import Described, texts_of, vocabulary

RED_MUG, BLUE_MUG = Described("mug", "red", 0.2, 0.5), Described("mug", "blue", 0.7, 0.9)
RED_SPOON = Described("spoon", "red", 0.26, 0.52)


def test_a_relation_parts_those_of_a_name():
    red, blue = texts_of([RED_MUG, BLUE_MUG])
    assert red[:2] == ("mug", "red mug")
    assert set(red[2:]) == {"left mug", "nearest mug", "red object", "left object", "nearest object"}
    assert set(blue) == {
        *("mug", "blue mug", "right mug", "farthest mug"),
        *("blue object", "right object", "farthest object"),
    }


def test_what_is_not_clearly_so_is_not_said():
    mug, spoon = texts_of([RED_MUG, RED_SPOON])
    assert mug == ("mug", "red mug") and spoon == ("spoon", "red spoon")


def test_the_words_are_those_of_the_texts_without_held_out_categories():
    words = set(vocabulary())
    said = {word for texts in texts_of([RED_MUG, BLUE_MUG, RED_SPOON]) for text in texts for word in text.split()}
    assert said <= words
    lost = {word for name in held_out_categories() for word in name.split()} - words
    assert {"banana", "hammer", "scissors"} <= lost
