"""Whether the targets are there: from one image to the next, by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from focusdepth_core.perception.result import FocusResult
from focusdepth_core.perception.scale import are_same
from focusdepth_core.perception.target import Target

NEWEST = 0.2  # weight of the newest image in ``share``: about the last ten count


@dataclass(frozen=True)
class Presence:
    """``share``: of the last images those in which it was found, in [0, 1]; ``age_s``: since it was last found, or
    since its first image if it never was.
    """

    target: Target
    share: float
    age_s: float
    since: float  # the image's stamp at which ``age_s`` was 0

    def is_lost(self, after_s: float) -> bool:
        return self.age_s > 0 and self.age_s >= after_s


class Presences:
    def __init__(self) -> None:
        self._known: dict[str, Presence] = {}
        self._stamp = 0.0

    def update(self, result: FocusResult) -> tuple[Presence, ...]:
        """In the order of the result's targets. Others are forgotten, and all of them when the stamps go back.

        Of one id another text is another target, and so is, without a text, a box that does not touch the last one.
        """
        stamp = result.frame.stamp
        known = self._known if stamp >= self._stamp else {}
        now = [_seen(known.get(t.target.id), t.target, t.found, stamp) for t in result.targets]
        self._known, self._stamp = {presence.target.id: presence for presence in now}, stamp
        return tuple(now)


def _seen(before: Optional[Presence], target: Target, found: bool, stamp: float) -> Presence:
    if before is None or not _is_same(before.target, target):
        return Presence(target, float(found), 0.0, stamp)
    since = stamp if found else before.since
    share = before.share + NEWEST * (found - before.share)
    return Presence(target, share, stamp - since, since)


def _is_same(before: Target, now: Target) -> bool:
    """A finder gives what is asked for by text a box, wherever it sees it."""
    return before.text == now.text if now.text else are_same([before], [now])
