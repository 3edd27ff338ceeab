"""ONNX Runtime: the CPU, or a CUDA GPU where the installed build has it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from focusdepth_core.engine.base import EngineError, check_inputs

LOG = logging.getLogger(__name__)
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # in order of preference


class OnnxRuntimeEngine:
    """The network of one ONNX file; inputs and outputs are float32.

    Raises ``EngineError`` if onnxruntime is not installed, or the file is missing or is not a valid network.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise EngineError(
                f"onnxruntime cannot be imported ({error}); install it: pip install onnxruntime"
            ) from None
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin between two frames take the cores from the other processes of a small robot.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors only
        available = ort.get_available_providers()
        if PROVIDERS[0] in available and hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # those of CUDA that pip installed
        try:
            self._session = ort.InferenceSession(str(path), options, [p for p in PROVIDERS if p in available])
        except Exception as error:  # onnxruntime's own classes have no other common base
            reason = str(error).splitlines()[0].rsplit("failed:", 1)[-1].strip()
            raise EngineError(f"{path} cannot be loaded by onnxruntime: {reason}") from None
        self._path = path
        if PROVIDERS[0] in available and PROVIDERS[0] not in self._session.get_providers():
            LOG.warning("%s runs on the CPU: CUDA's libraries or the driver cannot be loaded by onnxruntime", path.name)
        self.name = f"onnxruntime, {self._session.get_providers()[0].removesuffix('ExecutionProvider')}"
        self._inputs: dict[str, list[Any]] = {i.name: i.shape for i in self._session.get_inputs()}
        self._outputs: list[str] = [o.name for o in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Engine.run``."""
        check_inputs(self._path.name, self._inputs, inputs)
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs))))
