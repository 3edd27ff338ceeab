"""Commands about engines: ``python -m focusdepth_core.engine export``."""

from __future__ import annotations

from focusdepth_core import commands

COMMANDS = {"export": "turn a trained model into a folder with ONNX files"}


def main() -> None:
    commands.run("focusdepth_core.engine", __doc__, COMMANDS)


if __name__ == "__main__":
    main()
