"""Train FocusDepth, from a recipe.

    python -m focusdepth_core.train --config config/train/smoke_cpu.yaml
    python -m focusdepth_core.train --config config/train/da2_small.yaml --out runs/mine --batch 8 --stages.0.lr 5e-5
    accelerate launch --num_processes 8 -m focusdepth_core.train --config config/train/da2_large.yaml

--config FILE.yaml gives every field a value, further options change single fields; the values shown below are those of
the recipe. A run goes through its stages and ends with model folders. The same command goes on where a run stopped;
OUT must be on a disk that all machines see. Curves and pictures: tensorboard --logdir OUT/curves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # each of the loader's processes imports this module, and those are not to wait for the networks
    from focusdepth_core.training.recipe import TrainConfig


def read_config(arguments: Sequence[str]) -> TrainConfig:
    """From ``--config`` and the options beside it. Raises ``ValueError`` for a file that is no recipe."""
    import tyro

    from focusdepth_core.training.recipe import TrainConfig

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    given, rest = parser.parse_known_args(arguments)
    recipe = {} if given.config is None else {"default": load_recipe(given.config)}
    about = {"prog": "python -m focusdepth_core.train", "description": __doc__}
    return tyro.cli(TrainConfig, args=rest, config=(tyro.conf.AvoidSubcommands,), **about, **recipe)


def load_recipe(path: Path) -> TrainConfig:
    """Raises ``ValueError`` with every field that is missing, unknown or has an impossible value."""
    from focusdepth_core.config import parse, read_yaml
    from focusdepth_core.training.recipe import TrainConfig

    return parse(TrainConfig, read_yaml(path), str(path))


def main() -> None:
    with in_a_sentence():
        from focusdepth_core.training.run import train

        train(read_config(sys.argv[1:]))


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Ends the process with one for an error that a user can mend, and for Ctrl-C."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the last checkpoint")


if __name__ == "__main__":
    main()
