"""The nodes of the demo as processes that surely end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

GRACE_S = 8.0  # from SIGINT to SIGKILL


class NodeDied(RuntimeError):
    """A node's process has ended by itself; the sentence holds its last words."""


class Nodes:
    """Starts nodes by module; leaving the context ends them all. What they say goes to one file per node."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Nodes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGINT)
        for process in self._processes.values():
            try:
                process.wait(GRACE_S)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()

    def start(self, name: str, parameters: Mapping[str, Any]) -> None:
        """``focusdepth_ros.<name>`` in a session of its own, so that Ctrl-C reaches it through us alone."""
        settings = [word for key, value in parameters.items() for word in ("-p", f"{key}:={value}")]
        command = [sys.executable, "-m", f"focusdepth_ros.{name}", "--ros-args", *settings]
        with self._log_path(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command, env=os.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def check(self) -> None:
        """Raises ``NodeDied`` if one has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise NodeDied(f"{name} has ended with exit status {process.returncode}: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        lines = self._log_path(name).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _log_path(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"
