"""The functions of kernels.cu on the GPU of this machine: compiled by NVRTC, loaded and run by the driver."""

from __future__ import annotations

import ctypes
import glob
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from focusdepth_core.engine.base import EngineError

SOURCE = Path(__file__).with_name("kernels.cu")
BLOCK = (32, 8)  # threads
_NVRTC_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "nvrtcCreateProgram": (POINTER(c_void_p), c_char_p, c_char_p, c_int, c_void_p, c_void_p),
    "nvrtcCompileProgram": (c_void_p, c_int, POINTER(c_char_p)),
    "nvrtcGetProgramLogSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetProgramLog": (c_void_p, c_char_p),
    "nvrtcGetCUBINSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetCUBIN": (c_void_p, c_char_p),
    "nvrtcDestroyProgram": (POINTER(c_void_p),),
}
_DRIVER_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuCtxGetCurrent": (POINTER(c_void_p),),
    "cuCtxSetCurrent": (c_void_p,),
    "cuModuleLoadData": (POINTER(c_void_p), c_char_p),
    "cuModuleGetFunction": (POINTER(c_void_p), c_void_p, c_char_p),
    "cuLaunchKernel": (c_void_p, *(c_uint,) * 7, c_void_p, POINTER(c_void_p), c_void_p),
}


class Image(ctypes.Structure):
    """Of kernels.cu."""

    _fields_ = (
        ("red", c_void_p),
        ("chroma", c_void_p),
        *((name, c_int) for name in ("channel_step", "pixel_step", "row_step", "columns", "rows")),
    )


class Kernels:
    """Made and launched where the GPU's context is current, which a call of the runtime library sees to.

    Raises ``EngineError`` if NVRTC is missing or does not know the GPU, or the driver does not load what it made.
    """

    def __init__(self, compute_capability: str) -> None:
        cubin = compiled(SOURCE.read_bytes(), compute_capability)
        self._driver = driver()
        self._context, self._module = c_void_p(), c_void_p()
        self._call("cuCtxGetCurrent", byref(self._context))
        self._call("cuModuleLoadData", byref(self._module), cubin)
        self._functions: dict[str, c_void_p] = {}

    def launch(self, name: str, width: int, height: int, stream: int, *arguments: Any) -> None:
        """With a thread per pixel; ``arguments`` have the C types of the function's."""
        self._call("cuCtxSetCurrent", self._context)  # of this thread
        if name not in self._functions:
            function = c_void_p()
            self._call("cuModuleGetFunction", byref(function), self._module, name.encode())
            self._functions[name] = function
        places = (c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        grid = (-(-width // BLOCK[0]), -(-height // BLOCK[1]))
        self._call("cuLaunchKernel", self._functions[name], *grid, 1, *BLOCK, 1, 0, stream, places, None)

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._driver, function)(*arguments)
        if status:
            raise EngineError(f"{function} failed with CUDA error {status}")


@cache
def kernels(compute_capability: str) -> Kernels:
    """One for the process."""
    return Kernels(compute_capability)


def image(address: int, size: tuple[int, ...], order: str) -> Image:
    """``size``: rows and columns; ``order``: rgb or bgr, packed 8-bit pixels, or nv12."""
    rows, columns = size
    if order == "nv12":
        return Image(address, address + rows * columns, 0, 1, columns, columns, rows)
    first, step = (0, 1) if order == "rgb" else (2, -1)
    return Image(address + first, None, step, 3, 3 * columns, columns, rows)


def compiled(source: bytes, compute_capability: str) -> bytes:
    """The cubin. Raises ``EngineError`` with what NVRTC says."""
    nvrtc, program, libc = _nvrtc(), c_void_p(), _libc()
    before = libc.uselocale(None)
    nvrtc.nvrtcCreateProgram(byref(program), source, b"kernels.cu", 0, None, None)
    try:
        architecture = f"--gpu-architecture=sm_{compute_capability.replace('.', '')}".encode()
        options = (c_char_p * 1)(architecture)
        if nvrtc.nvrtcCompileProgram(program, len(options), options):
            log = _text(nvrtc, "nvrtcGetProgramLog", program).rstrip(b"\0").decode()
            raise EngineError(f"NVRTC does not compile for {architecture.decode()}: {' '.join(log.split())}")
        return _text(nvrtc, "nvrtcGetCUBIN", program)
    finally:
        nvrtc.nvrtcDestroyProgram(byref(program))
        libc.uselocale(before)  # NVRTC 11 leaves "C" to this thread, in which Python decodes ASCII alone


def _text(nvrtc: Any, function: str, program: c_void_p) -> bytes:
    size = c_size_t()
    getattr(nvrtc, f"{function}Size")(program, byref(size))
    found = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, function)(program, found)
    return found.raw


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.uselocale.argtypes, libc.uselocale.restype = (c_void_p,), c_void_p
    return libc


@cache
def _nvrtc() -> Any:
    names = [f"libnvrtc.so.{version}" for version in ("13", "12", "11.2")]
    patterns = [f"{folder or '.'}/nvidia/*/lib/libnvrtc.so.*" for folder in sys.path]
    patterns += ["/usr/local/cuda*/lib64/libnvrtc.so.*", "/usr/local/cuda*/targets/*/lib/libnvrtc.so.*"]
    for name in [*names, *(path for pattern in patterns for path in sorted(glob.glob(pattern), reverse=True))]:
        try:
            return _declared(ctypes.CDLL(name), _NVRTC_SIGNATURES)
        except (OSError, AttributeError):  # not there, or of another machine or CUDA
            continue
    raise EngineError("no libnvrtc.so is here; it comes with JetPack, CUDA or `pip install nvidia-cuda-nvrtc`")


def driver() -> Any:
    """Raises ``EngineError`` if there is none."""
    try:
        return _declared(ctypes.CDLL("libcuda.so.1"), _DRIVER_SIGNATURES)
    except OSError as error:
        raise EngineError(f"the NVIDIA driver cannot be loaded ({error})") from None


def _declared(library: Any, signatures: dict[str, tuple[Any, ...]]) -> Any:
    for name, arguments in signatures.items():
        getattr(library, name).argtypes = arguments
    return library
