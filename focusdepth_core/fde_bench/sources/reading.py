"""What the sources share in reading the files of others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.perception.frame import Intrinsics

Key = TypeVar("Key")


def each(read: Callable[[Key], SourceFrame], keys: Iterable[Key]) -> Iterator[SourceFrame | SourceError | OSError]:
    """``read`` of every key; where it fails, the error in place of the frame."""
    for key in keys:
        try:
            result: SourceFrame | SourceError | OSError = read(key)
        except (SourceError, OSError) as error:
            result = error
        yield result


def read_json_object(path: Path) -> dict[str, Any]:
    """Raises ``OSError``, or ``SourceError`` for a file that holds no JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise SourceError(f"{path} holds a {type(value).__name__}; expected a JSON object")
    return value


def field(about: dict[str, Any], name: str, fits: Callable[[Any], bool], remedy: str) -> Any:
    """``about[name]``; missing is null. Raises ``SourceError`` with the value and the remedy if it does not fit."""
    value = about.get(name)
    if not fits(value):
        said = f"is {json.dumps(value)[:60]}" if name in about else "is missing"
        raise SourceError(f"'{name}' {said}; {remedy}")
    return value


def optional(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number that can be reckoned with: JSON also has true, NaN and 1e999."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12


def camera_of(k: tuple[float, float, float, float], shape: tuple[int, ...], named_in: Path) -> Intrinsics:
    """``k``: fx, fy, cx, cy; ``shape``: H,W of the image. Raises ``SourceError`` for impossible values."""
    try:
        return Intrinsics(*k, width=shape[1], height=shape[0])
    except ValueError as error:
        raise SourceError(f"{named_in}: {error}") from None


def inside(folder: Path, name: str, named_in: Path) -> Path:
    """``folder / name``. Raises ``SourceError`` if that leads out of the folder."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise SourceError(f"{named_in} names the file '{name[:100]}', which is outside of {folder}")
    return folder / parts
