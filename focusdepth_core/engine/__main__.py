"""Engines: what runs a model's networks, and whether it does so rightly and how fast."""

from __future__ import annotations

from focusdepth_core import commands

COMMANDS = {
    "export": "turn a trained model into a folder with ONNX files",
    "build": "build and judge the TensorRT engines of a model",
    "verify": "judge every backend that is here by the samples of a model",
    "bench": "time every backend that is here, by stage and beside the plain net",
    "inspect": "show a model, an engine or the whole cache",
    "clean": "remove engines from the cache",
}


def main() -> None:
    commands.run("focusdepth_core.engine", __doc__, COMMANDS)


if __name__ == "__main__":
    main()
