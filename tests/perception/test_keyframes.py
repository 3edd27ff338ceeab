from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from focusdepth_core.engine.model_folder import InputSpec
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.keyframes import Keyframes
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.target import Target

WIDTH, HEIGHT, PERIOD_S = 320, 240, 0.1
SIZE, PLACE = 40, (60, 90)  # px of the thing; where it is on frame 0
MUG = Target("mug", text="red mug")
NEVER = 1.0  # min_change that no image reaches


def smooth_noise(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


class Film:
    """A patch that moves 3 px right and 1 px down per frame over a background that moves 1 px left."""

    def __init__(self) -> None:
        self.background, self.patch = smooth_noise(1, HEIGHT, 2 * WIDTH), smooth_noise(2, SIZE, SIZE)
        self.hidden: set[int] = set()

    def place(self, n: int) -> tuple[int, int, int, int]:
        x, y = PLACE[0] + 3 * n, PLACE[1] + n
        return x, y, x + SIZE, y + SIZE

    def mask(self, n: int) -> np.ndarray:
        mask = np.zeros((HEIGHT, WIDTH), bool)
        x0, y0, x1, y1 = self.place(n)
        mask[y0:y1, x0:x1] = n not in self.hidden
        return mask

    def frame(self, n: int, stamp: float | None = None) -> Frame:
        image = self.background[:, n : n + WIDTH].copy()
        if n not in self.hidden:
            x0, y0, x1, y1 = self.place(n)
            image[y0:y1, x0:x1] = self.patch
        return Frame(image, n * PERIOD_S if stamp is None else stamp)


class Oracle:
    """Knows the film; answers when ``go`` is set."""

    def __init__(self, film: Film) -> None:
        self.film, self.go, self.calls = film, threading.Event(), []
        self.go.set()

    def check(self, target: Target) -> None:
        if target.text != MUG.text:
            raise ValueError(f"what is '{target.text}'?")

    def find(self, frame: Frame, targets: Sequence[Target]) -> list[np.ndarray]:
        n = round(frame.stamp / PERIOD_S)
        self.calls.append((n, [target.text for target in targets]))
        assert self.go.wait(5)
        return [self.film.mask(n) for _ in targets]


@pytest.fixture
def film() -> Film:
    return Film()


@pytest.fixture
def oracle(film: Film) -> Oracle:
    return Oracle(film)


def changes(told: Sequence[str]) -> list[str]:
    """What is told with every frame, once for as long as it is the same; at first nothing is wrong."""
    return [sentence for before, sentence in zip(["", *told], told) if sentence != before]


def off_px(target: Target | None, place: Sequence[float]) -> float:
    assert target is not None and target.box is not None
    return float(np.abs(np.subtract(target.box, place)).max())


def test_what_a_keyframe_found_follows_the_image(film: Film, oracle: Oracle) -> None:
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER, waits=True)
    for n in range(20):
        (carried,) = keyframes.carry(film.frame(n), [MUG])
        assert off_px(carried, film.place(n)) <= 5, n
        assert carried.text is None and carried.id == "mug"
    assert oracle.calls == [(0, ["red mug"])]


def test_a_frame_of_another_size_than_the_small_images(film: Film, oracle: Oracle) -> None:
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER, waits=True)
    for n in range(4):
        large = cv2.resize(film.frame(n).image, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
        (carried,) = keyframes.carry(Frame(large, n * PERIOD_S), [MUG])
        assert off_px(carried, np.multiply(film.place(n), 3)) <= 6


def test_nothing_waits_for_a_slow_finder_whose_answer_is_carried_to_now(film: Film, oracle: Oracle) -> None:
    oracle.go.clear()
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER)
    assert [keyframes.carry(film.frame(n), [MUG]) for n in range(10)] == [[None]] * 10
    search = keyframes._search
    oracle.go.set()
    assert search is not None and search.done.wait(5)
    (carried,) = keyframes.carry(film.frame(10), [MUG])
    assert off_px(carried, film.place(10)) <= 3
    assert len(oracle.calls) == 1


def test_a_new_target_a_new_text_and_age_are_keyframes(film: Film, oracle: Oracle) -> None:
    keyframes = Keyframes(oracle, max_age=0.8, min_change=NEVER, waits=True)
    asked = {0: [MUG], 2: [MUG, Target("cup", text="cup")], 3: [MUG, Target("cup", text="blue cup")]}
    for n in range(9):
        now = asked[max(k for k in asked if k <= n)]
        keyframes.carry(film.frame(n), now)
    assert [n for n, _ in oracle.calls] == [0, 2, 3, 7], "and after half of max_age"


def test_a_change_of_the_image_is_a_keyframe_another_exposure_is_none(film: Film, oracle: Oracle) -> None:
    keyframes = Keyframes(oracle, max_age=100, min_change=0.05, waits=True)
    keyframes.carry(film.frame(0), [MUG])
    brighter = np.clip(film.frame(0).image.astype(np.int16) + 30, 0, 255).astype(np.uint8)
    keyframes.carry(Frame(brighter, PERIOD_S), [MUG])
    assert len(oracle.calls) == 1
    keyframes.carry(Frame(smooth_noise(7, HEIGHT, WIDTH), 2 * PERIOD_S), [MUG])
    assert len(oracle.calls) == 2


def test_targets_with_a_box_need_no_finder(film: Film, oracle: Oracle) -> None:
    keyframes = Keyframes(oracle, max_age=1, min_change=0, waits=True)
    boxes = [Target("a", (0, 0, 9, 9)), Target("b", (5, 5, 20, 20), "red mug")]
    assert keyframes.carry(film.frame(0), boxes) == boxes
    assert not oracle.calls
    first, found, last = keyframes.carry(film.frame(1), [boxes[0], MUG, boxes[1]])
    assert (first, last) == (boxes[0], boxes[1]) and off_px(found, film.place(1)) <= 1


def test_what_is_not_seen_has_no_box(film: Film, oracle: Oracle) -> None:
    film.hidden = {0}
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER, waits=True)
    assert keyframes.carry(film.frame(0), [MUG]) == [None]


def test_a_stale_find_is_lost_and_told_until_it_is_found_again(film: Film, oracle: Oracle) -> None:
    told: list[str] = []
    keyframes = Keyframes(oracle, max_age=0.45, min_change=NEVER, report=told.append)
    oracle.go.clear()
    keyframes.carry(film.frame(0), [MUG])
    first = keyframes._search
    oracle.go.set()
    assert first is not None and first.done.wait(5)
    oracle.go.clear()
    carried = [keyframes.carry(film.frame(n), [MUG])[0] for n in range(1, 9)]
    assert [target is not None for target in carried] == [True] * 4 + [False] * 4
    assert changes(told) == [
        "target 'mug' is lost: the finder saw it more than 0.45 s ago",
        "the finder needs longer than keyframe.max_age = 0.45 s; raise it; "
        "target 'mug' is lost: the finder saw it more than 0.45 s ago",
    ]
    late = keyframes._search
    oracle.go.set()
    assert late is not None and late.done.wait(5)
    oracle.go.clear()
    assert keyframes.carry(film.frame(9), [MUG]) == [None], "what came too late is of no use"
    again = keyframes._search
    oracle.go.set()
    assert again is not None and again.done.wait(5)
    assert keyframes.carry(film.frame(10), [MUG]) != [None] and told[-1] == ""


def test_a_hidden_target_goes_where_the_image_goes_and_is_no_mask_any_more(film: Film, oracle: Oracle) -> None:
    told: list[str] = []
    film.hidden = {4, 5}
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER, waits=True, report=told.append)
    letterbox = Letterbox(WIDTH, HEIGHT, InputSpec(56, 42, (0, 0, 0), (1, 1, 1)))
    for n in range(6):
        (carried,) = keyframes.carry(film.frame(n), [MUG])
        assert carried is not None
        assert bool(keyframes.priors(letterbox, (12, 16))) == (n < 4)
    assert told == [""] * 4 + ["target 'mug' cannot be followed well: its box is a guess"] * 2, "with every frame"


def test_after_a_cut_it_is_looked_for_at_once_and_not_again_before_it_is_due(film: Film, oracle: Oracle) -> None:
    told: list[str] = []
    keyframes = Keyframes(oracle, max_age=1.0, min_change=NEVER, report=told.append)

    def carry(frame: Frame) -> list[Target | None]:
        carried, search = keyframes.carry(frame, [MUG]), keyframes._search
        assert search is None or search.done.wait(5)
        return carried

    carry(film.frame(0))
    assert carry(film.frame(1)) != [None]
    other, film.hidden = smooth_noise(9, HEIGHT, WIDTH), {2}  # which the finder does not see there either
    assert [carry(Frame(other, n * PERIOD_S)) for n in (2, 3, 4)] == [[None]] * 3
    assert changes(told) == ["target 'mug' is lost: the image does not show where it went", ""]
    assert [n for n, _ in oracle.calls] == [0, 2]
    for n in (7, 8):
        carried = carry(film.frame(n))
    assert off_px(carried[0], film.place(8)) <= 2 and [n for n, _ in oracle.calls] == [0, 2, 7]


def test_a_slow_finder_rests_for_as_long_as_it_looked(film: Film, oracle: Oracle) -> None:
    keyframes, slowness = Keyframes(oracle, max_age=100, min_change=0), 6  # every frame is a change
    for n in range(30):
        oracle.go.clear()
        keyframes.carry(film.frame(n), [MUG])
        search = keyframes._search
        if search is not None and n >= round(search.stamp / PERIOD_S) + slowness - 1:
            oracle.go.set()
            assert search.done.wait(5)
    oracle.go.set()
    assert [n for n, _ in oracle.calls] == [0, 2 * slowness, 4 * slowness]


def test_stamps_that_go_back_start_anew(film: Film, oracle: Oracle) -> None:
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER, waits=True)
    for n in (5, 6, 2):
        (carried,) = keyframes.carry(film.frame(n), [MUG])
        assert off_px(carried, film.place(n)) <= 1
    assert [n for n, _ in oracle.calls] == [5, 2]


def test_a_finder_is_asked_one_thing_at_a_time_whatever_the_stamps_do(film: Film, oracle: Oracle) -> None:
    oracle.go.clear()
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER)
    for n in (5, 3, 4, 2, 9, 8):
        assert keyframes.carry(film.frame(n), [MUG]) == [None]
    search = keyframes._search
    assert search is not None and len(oracle.calls) <= 1
    oracle.go.set()
    assert search.done.wait(5)
    oracle.go.clear()
    assert keyframes.carry(film.frame(9), [MUG]) == [None], "what was found before the stamps went back is of no use"
    again = keyframes._search
    oracle.go.set()
    assert again is not None and again is not search and again.done.wait(5)
    (carried,) = keyframes.carry(film.frame(10), [MUG])
    assert off_px(carried, film.place(10)) <= 2


def test_what_was_wrong_is_taken_back_after_a_new_start(film: Film, oracle: Oracle) -> None:
    told: list[str] = []
    film.hidden = {4}
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER, waits=True, report=told.append)
    for n in (3, 4, 2):
        keyframes.carry(film.frame(n), [MUG])
    assert changes(told) == ["target 'mug' cannot be followed well: its box is a guess", ""]


def test_stamps_that_do_not_advance_are_told(film: Film, oracle: Oracle) -> None:
    told: list[str] = []
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER, report=told.append)
    for n in range(3):
        keyframes.carry(film.frame(n, stamp=1.0), [MUG])
    assert changes(told) == ["nothing can be followed: the stamps of the images do not advance"]


class Fragile(Oracle):
    """Fails on frame 0."""

    def find(self, frame: Frame, targets: Sequence[Target]) -> list[np.ndarray]:
        if frame.stamp == 0:
            raise ValueError("no such text")
        return super().find(frame, targets)


def test_what_the_finder_raises_is_raised_once_by_who_waits_for_it(film: Film) -> None:
    keyframes = Keyframes(Fragile(film), max_age=100, min_change=NEVER, waits=True)
    with pytest.raises(ValueError, match="no such text"):
        keyframes.carry(film.frame(0), [MUG])
    assert keyframes.carry(film.frame(2), [MUG]) == [None]


def test_a_failure_is_told_until_a_keyframe_goes_well_and_others_are_answered(film: Film) -> None:
    told: list[str] = []
    keyframes = Keyframes(Fragile(film), max_age=0.8, min_change=NEVER, report=told.append)
    box = Target("a", (0, 0, 9, 9))
    for n in range(6):
        _, other = keyframes.carry(film.frame(n), [MUG, box])
        assert other == box
        if keyframes._search is not None:
            assert keyframes._search.done.wait(5)
    assert told == ["", *["the finder failed: ValueError: no such text"] * 4, ""]


SEARCHING = """
import time
import cv2
import numpy as np
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.keyframes import Keyframes
from focusdepth_core.perception.target import Target

class Slow:
    def find(self, frame, targets):
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            cv2.GaussianBlur(np.zeros((480, 640), np.float32), (0, 0), 3)
        print("found")
        return [np.zeros((48, 64), bool)]

Keyframes(Slow(), max_age=1, min_change=1).carry(Frame(np.zeros((48, 64, 3), np.uint8)), [Target("mug", text="mug")])
"""


def test_a_process_ends_cleanly_while_the_finder_looks() -> None:
    process = subprocess.run([sys.executable, "-c", SEARCHING], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "found\n", "")


def test_the_prior_is_the_mask_on_the_network_s_grid(film: Film, oracle: Oracle) -> None:
    keyframes = Keyframes(oracle, max_age=100, min_change=NEVER, waits=True)
    for n in range(3):
        keyframes.carry(film.frame(n), [MUG])
    letterbox = Letterbox(WIDTH, HEIGHT, InputSpec(112, 56, (0, 0, 0), (1, 1, 1)))  # the frame fills 75 x 56 of it
    prior = keyframes.priors(letterbox, (28, 56))["mug"]
    assert prior.shape == (28, 56) and prior.dtype == np.float32
    rows, columns = np.nonzero(prior > 0.5)
    x0, y0, x1, y1 = np.multiply(film.place(2), 28 / HEIGHT)
    np.testing.assert_allclose([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], [x0, y0, x1, y1], atol=1)
