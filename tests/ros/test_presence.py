from __future__ import annotations

import numpy as np
import pytest

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.result import FocusResult, Space, TargetResult
from focusdepth_core.perception.target import Target
from focusdepth_ros.presence import Presence, Presences
from tests.perception.maps import frame_depth

IMAGE = np.zeros((2, 3, 3), np.uint8)


def result(stamp: float, **found: bool) -> FocusResult:
    return seen(stamp, *((Target(name, text=name), is_found) for name, is_found in found.items()))


def seen(stamp: float, *found: tuple[Target, bool]) -> FocusResult:
    targets = tuple(TargetResult(t, np.full((2, 3), is_found), 1.0, (0, 0, 0)) for t, is_found in found)
    return FocusResult(Frame(IMAGE, stamp), frame_depth(np.zeros((2, 3), np.float32)), Space.METRIC, targets)


def run(*results: FocusResult) -> tuple[Presence, ...]:
    presences = Presences()
    return [presences.update(r) for r in results][-1]


def test_the_age_counts_from_the_image_in_which_it_was_last_found() -> None:
    mug, cup = run(result(1, mug=True, cup=False), result(2, mug=True, cup=True), result(5, mug=True, cup=False))
    assert (mug.age_s, cup.age_s) == (0, 3)
    assert (mug.target.id, cup.target.id) == ("mug", "cup")


def test_what_was_never_found_ages_from_its_first_image() -> None:
    (first,) = run(result(7, mug=False))
    assert (first.age_s, first.share, first.is_lost(0)) == (0, 0, False)
    (later,) = run(result(7, mug=False), result(9, mug=False))
    assert later.age_s == 2
    assert later.is_lost(2.0) and not later.is_lost(2.1)


def test_the_share_follows_the_newer_images() -> None:
    (gone,) = run(result(0, mug=True), *[result(n, mug=False) for n in range(1, 11)])
    assert gone.share == pytest.approx(0.8**10)
    (back,) = run(result(0, mug=False), *[result(n, mug=True) for n in range(1, 11)])
    assert back.share == pytest.approx(1 - 0.8**10)
    (half,) = run(*[result(n, mug=n % 2 == 0) for n in range(100)])
    assert half.share == pytest.approx(0.5, abs=0.06)


def test_a_target_that_was_not_given_and_stamps_that_fall_start_anew() -> None:
    (mug,) = run(result(1, mug=True), result(2), result(5, mug=False))
    assert (mug.age_s, mug.share) == (0, 0)
    (mug,) = run(result(9, mug=True), result(1, mug=False), result(2, mug=False))
    assert (mug.age_s, mug.share) == (1, 0)


@pytest.mark.parametrize("other", [Target("it", text="bowl"), Target("it", (0, 0, 1, 1)), Target("it", (2, 0, 3, 2))])
def test_another_target_of_the_same_id_starts_anew(other: Target) -> None:
    for asked in (Target("it", text="mug"), Target("it", (1, 0, 2, 1))):
        (now,) = run(seen(1, (asked, False)), seen(12, (other, False)))
        assert (now.age_s, now.share) == (0, 0), asked


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (Target("it", (0, 0, 2, 1)), Target("it", (1, 0, 3, 1))),  # moved by less than its width
        (Target("it", (0, 0, 1, 1), "mug"), Target("it", text="mug")),  # carried there by a finder, which lost it
        (Target("it", (0, 0, 1, 1), "mug"), Target("it", (2, 0, 3, 1), "mug")),  # which saw it elsewhere
    ],
)
def test_a_target_that_moves_stays_the_same(before: Target, now: Target) -> None:
    (presence,) = run(seen(1, (before, True)), seen(12, (now, False)))
    assert (presence.age_s, presence.share) == (11, pytest.approx(0.8))
