"""Whether the targets are there: from one image to the next, by their ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

from focusdepth_core.perception.result import FocusResult

NEWEST = 0.2  # weight of the newest image in ``share``: about the last ten count


@dataclass(frozen=True)
class Presence:
    """``share``: of the last images those in which it was found, in [0, 1]; ``age_s``: since it was last found, or
    since its first image if it never was.
    """

    target_id: str
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
        """In the order of the result's targets. Others are forgotten, and all of them when the stamps go back."""
        stamp = result.frame.stamp
        known = self._known if stamp >= self._stamp else {}
        now = [_seen(known.get(t.target.id), t.target.id, t.found, stamp) for t in result.targets]
        self._known, self._stamp = {presence.target_id: presence for presence in now}, stamp
        return tuple(now)


def _seen(before: Optional[Presence], target_id: str, found: bool, stamp: float) -> Presence:
    if before is None:
        return Presence(target_id, float(found), 0.0, stamp)
    since = stamp if found else before.since
    share = before.share + NEWEST * (found - before.share)
    return replace(before, share=share, age_s=stamp - since, since=since)
