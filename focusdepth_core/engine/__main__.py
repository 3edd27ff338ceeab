"""Commands about engines: ``python -m focusdepth_core.engine export``."""

from __future__ import annotations

import argparse
import importlib
import sys

COMMANDS = {"export": "turn a trained model into a folder with ONNX files"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m focusdepth_core.engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    chosen = next((a for a in sys.argv[1:] if a in COMMANDS), None)
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == chosen:
            module = importlib.import_module(f"focusdepth_core.engine.{name}")
            command.description = module.__doc__
            module.add_arguments(command)
    args = parser.parse_args()
    try:
        importlib.import_module(f"focusdepth_core.engine.{args.command}").run(args)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
