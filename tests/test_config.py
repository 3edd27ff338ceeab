from __future__ import annotations

from dataclasses import dataclass, field

import pytest

pytest.importorskip("pydantic", reason="needs focusdepth_core[train]")

from focusdepth_core.config import parse, read_yaml


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate = {self.rate}; it must be above 0")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()


def test_nested_values_become_dataclasses():
    values = {"name": "a", "inner": {"rate": "6e-4", "sizes": [1, 2]}, "many": [{"rate": 2}]}
    assert parse(Outer, values, "f") == Outer("a", Inner(6e-4, (1, 2)), (Inner(2.0),))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "f: name = {}: Field required"),
        ({"name": "a", "inner": {"rate": 0}}, "rate = 0.0; it must be above 0"),
        ({"name": "a", "inner": {"rte": 1}}, "unknown field inner.rte"),
        ({"name": "a", "many": [{}, {"x": 1}]}, "unknown field many.1.x"),
        ({"name": "a", "inner": {"sizes": ["x"]}}, "inner.sizes.0 = 'x'"),
        ([], "the file = "),
    ],
)
def test_faults_are_named_with_their_place_and_value(values, message):
    with pytest.raises(ValueError) as error:
        parse(Outer, values, "f")
    assert message in str(error.value)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="missing.yaml cannot be read"):
        read_yaml(tmp_path / "missing.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match="broken.yaml cannot be read as YAML"):
        read_yaml(tmp_path / "broken.yaml")
