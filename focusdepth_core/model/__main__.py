"""Commands about models: ``python -m focusdepth_core.model describe``."""

from __future__ import annotations

from focusdepth_core import commands

COMMANDS = {"describe": "parameters, FLOP, memory and licence of a configuration, without weights"}


def main() -> None:
    commands.run("focusdepth_core.model", __doc__, COMMANDS)


if __name__ == "__main__":
    main()
