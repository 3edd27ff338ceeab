"""What a slow finder sees on some frames, carried to every frame.

The finder looks at a keyframe in a thread of its own. The masks that it finds follow the image from there, by the
motion of their own pixels or, where these cannot be followed, by that of the whole image.
"""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Optional, Protocol
from weakref import WeakSet

import cv2
import numpy as np

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.motion import small_grey
from focusdepth_core.perception.result import TargetResult
from focusdepth_core.perception.target import Target
from focusdepth_core.perception.track import Track

THUMBNAIL = (32, 24)  # px, that are compared to see whether the image has changed
AGREEMENT = 0.3  # IoU of a carried mask and the network's below which one of them is wrong
EXIT_S = 5.0  # the longest wait for a search at the end of the process

Asked = tuple[str, Optional[str]]  # id and text


class Finds(Protocol):
    """See ``Finder``."""

    def check(self, target: Target) -> None: ...

    def find(self, frame: Frame, targets: Sequence[Target]) -> Sequence[np.ndarray]: ...


class Keyframes:
    """Targets by text alone get the box, and the mask, of what ``finder`` saw; others have what they need.

    ``carry`` is called with every frame, by one thread, and does not wait for the finder unless ``waits``, which makes
    the same video give the same answers. A keyframe is due for a new target or text, when one is lost, when half of
    ``max_age`` (s) has passed, and when the mean change of the image, brightness aside, is above ``min_change`` (0 to
    1); for a target that is lost and for a change the finder first rests for as long as it looked. What was found
    longer than ``max_age`` ago is not used. ``report`` is told with every frame what is wrong with the carrying, or
    nothing at all: an empty string.
    """

    def __init__(
        self,
        finder: Finds,
        max_age: float,
        min_change: float,
        waits: bool = False,
        report: Optional[Callable[[str], None]] = None,
    ) -> None:
        self._finder, self._max_age, self._min_change, self._waits = finder, max_age, min_change, waits
        self._report = report
        self._search: Optional[_Search] = None  # in the works
        self._forget()

    def _forget(self) -> None:
        if self._search is not None:
            self._search.is_void = True
        self._last: Optional[_Search] = None  # begun last
        self._tracks: dict[Asked, Track] = {}
        self._found_at = -math.inf  # stamp of their keyframe
        self._took = 0.0  # s by the stamps, of the search that ended last
        self._in_use: dict[str, Track] = {}  # in this frame, by id
        self._view, self._stamp = np.empty((0, 0), np.uint8), -math.inf
        self._troubles: list[str] = []  # with this frame
        self._failure = ""  # of the search that ended last

    def check(self, target: Target) -> None:
        """Raises ``ValueError`` for a target that the finder cannot look for."""
        self._finder.check(target)

    def carry(self, frame: Frame, targets: Sequence[Target]) -> list[Optional[Target]]:
        """Each target with a box in this frame and no text, None for one of which nobody knows where it is.

        What the finder raises is raised if this waits for it, and else told until a keyframe goes well.
        """
        stands_still = frame.stamp == self._stamp
        self._move_to(frame)
        wanted = [target for target in targets if target.box is None]
        if wanted and stands_still:
            self._troubles.append("nothing can be followed: the stamps of the images do not advance")
        self._take()
        if wanted and self._search is None and self._is_due(wanted):
            self._search = self._last = _Search(self._finder, frame, wanted, self._view)
            self._search.start(self._waits)
            if self._waits:  # else not in this frame, however fast the finder is
                self._take()
        self._in_use = {}
        carried = [self._carried(target, frame) if target.box is None else target for target in targets]
        if self._report is not None:
            self._report("; ".join(filter(None, [self._failure, *self._troubles])))
        return carried

    def priors(self, letterbox: Letterbox, grid: tuple[int, int]) -> dict[str, np.ndarray]:
        """Masks of the targets that are surely where they were carried to, by id, as probability on a grid of rows and
        columns over the network's input."""
        return {id: _on_grid(track.mask, letterbox, grid) for id, track in self._in_use.items() if track.is_sure}

    def compare(self, results: Sequence[TargetResult]) -> None:
        """With what the network made of the targets as ``carry`` gave them for this frame."""
        for result in results:
            track = self._in_use.get(result.target.id)
            if track is not None and track.is_sure and result.found:
                mask = track.mask
                seen = cv2.resize(result.mask.view(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
                shared, union = np.count_nonzero(mask & seen), np.count_nonzero(mask | seen)
                track.is_sure = bool(shared >= AGREEMENT * union)

    def _move_to(self, frame: Frame) -> None:
        view = small_grey(frame.image)
        if frame.stamp <= self._stamp or view.shape != self._view.shape:
            self._forget()
        for track in self._tracks.values():
            track.follow(self._view, view)
        self._view, self._stamp = view, frame.stamp
        search, self._troubles = self._search, []
        if search is None or search.is_void:
            return
        if frame.stamp - search.stamp > self._max_age:
            self._troubles.append(f"the finder needs longer than keyframe.max_age = {self._max_age:g} s; raise it")
        else:
            search.views.append(view)

    def _is_due(self, wanted: Sequence[Target]) -> bool:
        last = self._last
        if last is None or not {_asked(target) for target in wanted} <= last.asked:
            return True
        since = self._stamp - last.stamp
        if since >= self._max_age / 2:
            return True
        if since < 2 * self._took:
            return False
        if last.stamp == self._found_at and any(self._is_lost(target) for target in wanted):
            return True
        return float(np.abs(_thumbnail(self._view) - last.thumbnail).mean()) > self._min_change

    def _is_lost(self, target: Target) -> bool:
        track = self._tracks.get(_asked(target))
        return track is not None and track.is_lost

    def _take(self) -> None:
        """What a search has found, once it is done."""
        search = self._search
        if search is None or not search.done.is_set():
            return
        self._search = None
        if search.is_void:
            return
        self._took = self._stamp - search.stamp
        if search.error is not None:
            if self._waits:
                raise search.error
            self._failure = f"the finder failed: {type(search.error).__name__}: {search.error}"
            return
        self._failure = ""
        search.catch_up()
        self._tracks, self._found_at = search.tracks, search.stamp

    def _carried(self, target: Target, frame: Frame) -> Optional[Target]:
        track, age = self._tracks.get(_asked(target)), self._stamp - self._found_at
        if track is None:
            return None
        if track.is_lost:
            self._troubles.append(f"target '{target.id}' is lost: the image does not show where it went")
            return None
        if age > self._max_age:
            self._troubles.append(f"target '{target.id}' is lost: the finder saw it more than {self._max_age:g} s ago")
            return None
        box = track.box(frame.width, frame.height)
        if box is None:
            return None
        self._in_use[target.id] = track
        if not track.is_sure:
            self._troubles.append(f"target '{target.id}' cannot be followed well: its box is a guess")
        return Target(target.id, box, score=target.score)


class _Search:
    """Of one keyframe, in its own thread until it is ``done``.

    ``views``: small images of the keyframe and of the frames since, which ``Keyframes`` appends for as long as what is
    found would not be too old; ``is_void``: what is found is of no use, but the finder is busy until then.
    """

    def __init__(self, finder: Finds, frame: Frame, targets: Sequence[Target], view: np.ndarray) -> None:
        self._finder, self._frame, self._targets = finder, frame, targets
        self.asked = frozenset(_asked(target) for target in targets)
        self.stamp, self.thumbnail, self.views = frame.stamp, _thumbnail(view), [view]
        self.is_void = False
        self.tracks: dict[Asked, Track] = {}
        self.error: Optional[Exception] = None
        self.done = threading.Event()

    def start(self, waits: bool) -> None:
        if waits:
            self._run()
        else:
            threading.Thread(target=self._run, name="keyframe", daemon=True).start()
            _in_threads.add(self)

    def catch_up(self) -> None:
        """Follow what was found through the views."""
        while len(self.views) > 1:
            for track in self.tracks.values():
                track.follow(self.views[0], self.views[1])
            self.views.pop(0)

    def _run(self) -> None:
        try:
            shape = self.views[0].shape
            for target, mask in zip(self._targets, self._finder.find(self._frame, self._targets)):
                if mask.any():
                    self.tracks[_asked(target)] = Track.of(mask, shape)
            self.catch_up()
        except Exception as error:  # raised where somebody can be told
            self.error = error
        self.done.set()


_in_threads: WeakSet[_Search] = WeakSet()


@atexit.register
def _end() -> None:
    """A thread that Python stops in the middle of a call to OpenCV aborts the process."""
    end = time.monotonic() + EXIT_S
    for search in list(_in_threads):
        search.done.wait(max(0.0, end - time.monotonic()))


def _asked(target: Target) -> Asked:
    return target.id, target.text


def _thumbnail(view: np.ndarray) -> np.ndarray:
    """About 0 in the mean, so that another exposure changes little."""
    small = cv2.resize(view, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return small - small.mean()


def _on_grid(mask: np.ndarray, letterbox: Letterbox, grid: tuple[int, int]) -> np.ndarray:
    canvas = np.zeros((letterbox.spec.height, letterbox.spec.width), np.float32)
    size = (letterbox.width, letterbox.height)
    canvas[: size[1], : size[0]] = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return cv2.resize(canvas, grid[::-1], interpolation=cv2.INTER_AREA)
