"""Several training runs from one file, one after the other: what they share, and what each changes.

    python -m focusdepth_core.training.study config/study/default.yaml
    python -m focusdepth_core.training.study config/study/default.yaml --out runs/mine --only pretraining seed0
    timeout 590 python -m focusdepth_core.training.study ...    # as much as ten minutes allow; the same again goes on

``recipe`` in the file is a recipe as in config/train/, ``runs`` are named changes of it; a dictionary changes the
fields that it names, anything else takes the old value's place, and {out} stands for OUT. Each run has its folder
OUT/NAME and goes on where it stopped, so the same command does until all are done.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focusdepth_core.train import in_a_sentence

if TYPE_CHECKING:  # each of the loader's processes imports this module, and those are not to wait for the networks
    from focusdepth_core.training.recipe import TrainConfig

FIELDS = {"out", "recipe", "runs"}


def read_study(path: Path, out: Path | None = None) -> dict[str, TrainConfig]:
    """The runs by name, in their order; ``out``: in place of the file's.

    Raises ``ValueError`` for a file that is no study, with every field of the runs that is wrong.
    """
    from focusdepth_core.config import parse, read_yaml
    from focusdepth_core.training.checks import check
    from focusdepth_core.training.recipe import TrainConfig

    study = read_yaml(path)
    if (
        not isinstance(study, dict)
        or study.keys() != FIELDS
        or not all(isinstance(study[k], dict) for k in FIELDS - {"out"})
    ):
        raise ValueError(f"{path} is no study: it needs the fields {', '.join(sorted(FIELDS))} and no others")
    folder = out or Path(study["out"])
    found = {}
    for name, changes in study["runs"].items():
        values = _filled(_merged(study["recipe"], changes or {}), str(folder)) | {"out": folder / name}
        found[name] = parse(TrainConfig, values, f"{path}, run {name}")
        check(found[name])
    return found


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    deeper = {
        k: _merged(values[k], v) for k, v in changes.items() if isinstance(v, dict) and isinstance(values.get(k), dict)
    }
    return {**values, **changes, **deeper}


def _filled(value: Any, out: str) -> Any:
    """With OUT in place of {out}, in any depth."""
    if isinstance(value, dict):
        return {k: _filled(v, out) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, out) for v in value]
    return value.replace("{out}", out) if isinstance(value, str) else value


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("study", type=Path, help="file with recipe and runs")
    parser.add_argument("--out", type=Path, help="folder of all runs, in place of the file's")
    parser.add_argument("--only", nargs="+", metavar="RUN", help="these runs of it, in the order of the file")
    args = parser.parse_args()
    with in_a_sentence():
        from focusdepth_core.training.run import train

        runs = read_study(args.study, args.out)
        unknown = sorted({*(args.only or ())} - runs.keys())
        if unknown:
            raise ValueError(f"--only {unknown[0]} is no run of {args.study}; there are {', '.join(runs)}")
        for name in [name for name in runs if name in (args.only or runs)]:
            print(f"run {name}")
            train(runs[name])


if __name__ == "__main__":
    main()
