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
    targets = tuple(
        TargetResult(Target(name, text=name), np.full((2, 3), is_found), 1.0, (0, 0, 0))
        for name, is_found in found.items()
    )
    return FocusResult(Frame(IMAGE, stamp), frame_depth(np.zeros((2, 3), np.float32)), Space.METRIC, targets)


def run(*results: FocusResult) -> tuple[Presence, ...]:
    presences = Presences()
    return [presences.update(r) for r in results][-1]


def test_the_age_counts_from_the_image_in_which_it_was_last_found() -> None:
    mug, cup = run(result(1, mug=True, cup=False), result(2, mug=True, cup=True), result(5, mug=True, cup=False))
    assert (mug.age_s, cup.age_s) == (0, 3)
    assert (mug.target_id, cup.target_id) == ("mug", "cup")


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
