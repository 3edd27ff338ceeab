"""What the targets of a simulated image are called: category, colour, and where they are among the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from focusdepth_core.sim.colour import COLOUR_WORDS
from focusdepth_core.sim.shapes import CATEGORIES
from focusdepth_core.sim.splits import held_out_categories

RELATIONS = ("left", "right", "nearest", "farthest")
ANYTHING = "object"  # a target of any category
APART = 0.1  # of the image's width, between the outermost target and the next: less is no left and right
NEARER = 1.15  # ratio of two distances; less is neither nearest nor farthest


@dataclass(frozen=True)
class Described:
    """One target. ``x``: of its box's centre, as a share of the image's width; ``distance``: median depth, m."""

    category: str
    colour: str
    x: float
    distance: float


def texts_of(things: Sequence[Described]) -> list[tuple[str, ...]]:
    """The texts of each of an image's targets.

    Category, and colour and category, are always among them. The others fit one target alone: "red object" if it is
    the only red one, and "left mug", "nearest red object" and the like among several of a name.
    """
    found = [[thing.category, f"{thing.colour} {thing.category}"] for thing in things]
    for name, members in _by_name(things).items():
        if len(members) == 1 and name.endswith(f" {ANYTHING}"):
            found[members[0]].append(name)
        if len(members) > 1:
            for relation, i in _outermost(things, members):
                found[i].append(f"{relation} {name}")
    return [tuple(texts) for texts in found]


def vocabulary(categories: Iterable[str] | None = None) -> list[str]:
    """All words of such texts, sorted; ``categories``: None takes those that may be trained on."""
    names = set(CATEGORIES) - held_out_categories() if categories is None else categories
    return sorted({*COLOUR_WORDS, *RELATIONS, ANYTHING, *(word for name in names for word in name.split())})


def _by_name(things: Sequence[Described]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i, thing in enumerate(things):
        for name in (thing.category, ANYTHING):
            groups.setdefault(name, []).append(i)
            groups.setdefault(f"{thing.colour} {name}", []).append(i)
    return groups


def _outermost(things: Sequence[Described], members: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Relations that hold clearly, and for which member."""
    by_x = sorted(members, key=lambda i: things[i].x)
    if things[by_x[1]].x - things[by_x[0]].x > APART:
        yield "left", by_x[0]
    if things[by_x[-1]].x - things[by_x[-2]].x > APART:
        yield "right", by_x[-1]
    by_distance = sorted(members, key=lambda i: things[i].distance)
    if things[by_distance[1]].distance > NEARER * things[by_distance[0]].distance:
        yield "nearest", by_distance[0]
    if things[by_distance[-1]].distance > NEARER * things[by_distance[-2]].distance:
        yield "farthest", by_distance[-1]
