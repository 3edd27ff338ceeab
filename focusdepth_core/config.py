"""Configurations: dataclasses, read strictly from YAML or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def parse(cls: type[T], values: Any, source: str) -> T:
    """A dataclass from nested dictionaries; ``source`` names their file in errors.

    Raises ``ValueError`` with every field that is missing, unknown or has an impossible value.
    """
    try:
        result = TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        faults = [f"{_path(e['loc'])} = {e['input']!r:.80}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"{source}: " + "; ".join(faults)) from None
    unknown = list(_unknown(values, asdict(result)))  # type: ignore[call-overload]
    if unknown:
        raise ValueError(f"{source}: unknown field {', '.join(unknown)}; --help lists the known ones")
    return result


def check_at_least_1(config: Any, *names: str) -> None:
    """Raises ``ValueError`` for a field of ``config`` that is smaller."""
    for name in names:
        value = getattr(config, name)
        if not value >= 1:
            raise ValueError(f"{name} = {value}; it must be at least 1")


def read_yaml(path: Path) -> Any:
    """Raises ``ValueError`` if the file is missing or is no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as YAML: {error}") from None


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the file"


def _unknown(given: Any, known: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            if key in known:
                yield from _unknown(value, known[key], f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"
    elif isinstance(given, list) and isinstance(known, (list, tuple)):
        for i, (value, kept) in enumerate(zip(given, known)):
            yield from _unknown(value, kept, f"{prefix}{i}.")
