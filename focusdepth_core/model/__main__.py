"""Commands about models: ``python -m focusdepth_core.model describe`` and ``benchmark``."""

from __future__ import annotations

import argparse
import importlib
import sys

COMMANDS = {
    "describe": "parameters, FLOP, memory and licence of a configuration, without weights",
    "benchmark": "time of FocusDepth beside the plain depth net, and by number of targets",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m focusdepth_core.model", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    chosen = next((a for a in sys.argv[1:] if a in COMMANDS), None)
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == chosen:
            module = importlib.import_module(f"focusdepth_core.model.{name}")
            command.description = module.__doc__
            module.add_arguments(command)
    args = parser.parse_args()
    try:
        importlib.import_module(f"focusdepth_core.model.{args.command}").run(args)
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
