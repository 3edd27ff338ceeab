"""What the command lines of the packages have in common: subcommands whose modules are imported only when asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping

from focusdepth_core.engine.base import EngineError


def run(package: str, description: str | None, commands: Mapping[str, str]) -> None:
    """``commands``: modules of ``package`` with ``add_arguments`` and ``run``, and what they do in a line.

    Ends the process with one sentence for an error that a user can mend.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
    parsers = parser.add_subparsers(dest="command", required=True)
    chosen = next((a for a in sys.argv[1:] if a in commands), None)
    for name, line in commands.items():
        command = parsers.add_parser(name, help=line, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == chosen:
            module = importlib.import_module(f"{package}.{name}")
            command.description = module.__doc__
            module.add_arguments(command)
    args = parser.parse_args()
    try:
        importlib.import_module(f"{package}.{args.command}").run(args)
    except (OSError, ValueError, EngineError) as error:
        sys.exit(str(error))
