"""The side file that says which object an id in the masks stands for, where a data set does not.

JSON, by task, or by episode where ids differ between episodes (the more exact entry holds)::

    {"open_drawer": {"96,103": "drawer cabinet", "105": ["drawer", "top drawer", "wooden drawer"]},
     "open_drawer/all_variations/episodes/episode3": {"97,104": "drawer cabinet"}}

A key holds the ids of one object, a value its name, or the name followed by further prompts. What has no entry is no
target: leave out floor, walls, table and robot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focusdepth_core.fde_bench.rules import normalised
from focusdepth_core.fde_bench.source import Instance, SourceError
from focusdepth_core.fde_bench.sources.reading import read_json_object

Objects = dict[tuple[int, ...], tuple[str, ...]]  # ids in the masks -> name and further prompts


@dataclass(frozen=True)
class ObjectNames:
    """``tasks``: objects by task or episode."""

    path: Path
    tasks: dict[str, Objects]

    @classmethod
    def read(cls, path: Path | None, lacking: str) -> ObjectNames:
        """``lacking``: for the message without a path, what the data set lacks.

        Raises ``SourceError`` without a file, or for one with another content.
        """
        if path is None or not path.is_file():
            missing = "no file of object names is given" if path is None else f"{path} does not exist"
            raise SourceError(f'{missing}; {lacking}, so one is needed, as {{"task": {{"96,103": "drawer cabinet"}}}}')
        return cls(path, {task: _objects(objects, path, task) for task, objects in read_json_object(path).items()})

    def of(self, task: str, episode: str) -> Objects:
        """Raises ``SourceError`` for a task that the file does not have."""
        found = self.tasks.get(episode) or self.tasks.get(task)
        if not found:
            raise SourceError(f"{self.path} has no objects of the task '{task}'; add the names of its ids")
        return found


def instances(ids: np.ndarray, objects: Objects) -> tuple[Instance, ...]:
    """The named objects that are visible; ``ids``: H,W integers."""
    masks = ((np.isin(ids, group), names) for group, names in objects.items())
    return tuple(Instance(m, normalised(names[0]), names[0], names) for m, names in masks if m.any())


def _objects(value: Any, path: Path, task: str) -> Objects:
    if not isinstance(value, dict):
        raise SourceError(f'{path}: {task} is {str(value)[:60]}; expected {{"96,103": "name"}}')
    objects = {_ids(key, path, task): _names(names, path, task) for key, names in value.items()}
    every = [i for group in objects for i in group]
    twice = {i for i in every if every.count(i) > 1}
    if twice:
        raise SourceError(f"{path}: {task} names the id {min(twice)} twice; an id belongs to one object")
    return objects


def _ids(key: str, path: Path, task: str) -> tuple[int, ...]:
    parts = key.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise SourceError(f"{path}: {task} has the key '{key[:60]}'; expected ids such as '96' or '96,103'")
    return tuple(int(part) for part in parts)


def _names(value: Any, path: Path, task: str) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise SourceError(f"{path}: {task} has the name {str(value)[:60]}; expected a string or a list of them")
    return names
