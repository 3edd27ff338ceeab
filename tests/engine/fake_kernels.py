"""kernels.cu on the CPU, behind what ``Kernels`` calls of NVRTC and the driver."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from ctypes import c_float, c_int, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from focusdepth_core.engine.cuda import kernels
from focusdepth_core.engine.cuda.kernels import Image

SIGNATURES: dict[str, list[Any]] = {
    "letterbox": [Image, c_int, c_void_p, *[c_int] * 4, *[c_float] * 6],
}
CONTEXT = 7


@cache
def on_cpu() -> Any:
    """The functions with ``cpu_`` before their names; they take the numbers of columns and rows first."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    folder = Path(tempfile.mkdtemp())
    library = folder / "kernels.so"
    source = Path(__file__).with_name("kernels_on_cpu.cpp")
    options = ["-O2", "-shared", "-fPIC", "-Wall", "-Werror", f"-I{kernels.SOURCE.parent}"]
    subprocess.run(["g++", *options, str(source), "-o", str(library)], check=True)
    found = ctypes.CDLL(str(library))
    shutil.rmtree(folder)
    for name, arguments in SIGNATURES.items():
        getattr(found, f"cpu_{name}").argtypes = [c_int, c_int, *arguments]
    return found


class FakeDriver:
    """Runs a launch at once. ``wrong``: added to what ``letterbox`` gets as its red shift."""

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.wrong = 0.0
        self._names: list[str] = []
        self._context = 0

    def cuCtxGetCurrent(self, context: Any) -> int:
        context._obj.value = CONTEXT
        return 0

    def cuCtxSetCurrent(self, context: Any) -> int:
        self._context = context.value
        return 0

    def cuModuleLoadData(self, module: Any, cubin: bytes) -> int:
        module._obj.value = 1
        return 0 if cubin else 200

    def cuModuleGetFunction(self, function: Any, module: Any, name: bytes) -> int:
        if name.decode() not in SIGNATURES:
            return 500
        self._names.append(name.decode())
        function._obj.value = len(self._names)
        return 0

    def cuLaunchKernel(self, function: Any, *arguments: Any) -> int:
        assert self._context == CONTEXT
        across, down, _, wide, tall, _, _, _, places, _ = arguments
        name = self._names[function.value - 1]
        kinds = SIGNATURES[name]
        assert len(places) == len(kinds)
        given = [kind.from_address(place) for kind, place in zip(kinds, places)]
        if name == "letterbox":
            given[-3] = c_float(given[-3].value + self.wrong)
        getattr(on_cpu(), f"cpu_{name}")(across * wide, down * tall, *given)
        self.launched.append(name)
        return 0


def install(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    driver = FakeDriver()
    monkeypatch.setattr(kernels, "driver", lambda: driver)
    monkeypatch.setattr(kernels, "compiled", lambda source, compute_capability: b"cubin")
    kernels.kernels.cache_clear()
    return driver
