"""FDE-Bench: build manifests, evaluate models on them, compare results and look into the data."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from focusdepth_core.engine.base import EngineError

COMMANDS = ("build", "evaluate", "compare", "clouds", "inspect", "video", "default_model", "benchmark")


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m focusdepth_core.fde_bench", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    name = parser.parse_args(argv[:1]).command  # before its module is imported, which may need torch
    command = import_module(f"focusdepth_core.fde_bench.{name}")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=f"{parser.prog} {name}", description=command.__doc__, formatter_class=raw)
    command.add_arguments(parser)
    try:
        return command.run(parser.parse_args(argv[1:]))
    except (ValueError, OSError, EngineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
