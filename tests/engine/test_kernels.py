"""kernels.cu, compiled as C++ and run on the CPU, beside numpy and OpenCV."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import zipfile
from ctypes import c_int, c_void_p
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cuda import kernels
from focusdepth_core.engine.cuda.frames import TOLERANCE, Frames, halved
from focusdepth_core.engine.cuda.memory import open_cuda
from focusdepth_core.engine.model_folder import InputSpec
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.frame_input import FrameInput, frame_input
from focusdepth_core.perception.letterbox import Letterbox
from tests.engine import bindings, fake_kernels, fake_tensorrt
from tests.engine.fake_kernels import FakeDriver

SPEC = InputSpec(56, 42, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIZES = {
    (42, 56): 1,
    (21, 28): 1,
    (30, 100): 0,
    (100, 130): 2,
    (101, 131): 0,
    (84, 112): 2,
    (90, 120): 2,
    (180, 240): 4,
    (1, 1): 1,
}


def picture(rows: int, columns: int) -> np.ndarray:
    """Noise and smooth parts."""
    noise = np.random.default_rng(rows).integers(0, 256, (rows, columns, 3), np.uint8)
    noise[: rows // 2] = cv2.blur(noise[: rows // 2], (9, 9)) if rows > 1 else noise[: rows // 2]
    return noise


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake_tensorrt.install(monkeypatch)
    return fake_kernels.install(monkeypatch)


class TakesFrames:
    takes_frames = True


def prepared(frame: FrameInput) -> np.ndarray:
    cuda = open_cuda()
    stream, buffer = cuda.stream(), cuda.buffer(4 * 3 * SPEC.width * SPEC.height)
    buffer.host.view(np.float32)[:] = np.nan
    Frames(cuda).fill(frame, buffer.address, stream)
    cuda.download(buffer, buffer.host.size, stream)
    return buffer.host.view(np.float32).reshape(1, 3, SPEC.height, SPEC.width)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", ["rgb", "bgr", "rgba"])
def test_frames_are_prepared_as_by_the_letterbox(driver: FakeDriver, size: tuple[int, int], order: str) -> None:
    rgb = picture(*size)
    if order == "bgr":
        rgb = np.ascontiguousarray(rgb[..., ::-1])[..., ::-1]
    elif order == "rgba":
        rgb = np.dstack([rgb, rgb[..., :1]])[..., :3]
    box = Letterbox(size[1], size[0], SPEC)
    assert halved(box) == SIZES[size]
    levels = 255 * np.abs(prepared(FrameInput(rgb, box)) - box.image(rgb)) * np.reshape(SPEC.std, (3, 1, 1))
    assert levels.max() < 2 < TOLERANCE and levels.mean() < 0.5
    assert driver.launched == ["letterbox"]


def test_a_gpu_that_computes_something_else_is_found_out(driver: FakeDriver) -> None:
    cuda = open_cuda()
    stream, buffer = cuda.stream(), cuda.buffer(4 * 3 * SPEC.width * SPEC.height)
    Frames(cuda).prove(SPEC.width, SPEC.height, buffer, stream)
    driver.wrong = 5 / 255 / SPEC.std[0]
    with pytest.raises(EngineError, match=r"27 x 21 pixels differ by [45]\.\d grey levels from OpenCV's"):
        Frames(cuda).prove(SPEC.width, SPEC.height, buffer, stream)


def test_nv12_is_prepared_as_the_rgb_that_opencv_makes_of_it(driver: FakeDriver) -> None:
    for rows, columns in ((48, 64), (100, 130), (180, 240)):
        nv12 = np.random.default_rng(rows).integers(0, 256, (rows * 3 // 2, columns), np.uint8)
        rgb, box = cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12), Letterbox(columns, rows, SPEC)
        given = frame_input(TakesFrames(), Frame(rgb, nv12=nv12), box)
        levels = 255 * np.abs(prepared(given) - box.image(rgb)) * np.reshape(SPEC.std, (3, 1, 1))
        assert levels.max() < 2.5 < TOLERANCE and levels.mean() < 0.5
    assert driver.launched == ["letterbox"] * 3


@pytest.mark.parametrize("compute_capability", ["8.7", "8.9", "9.0"])
def test_nvrtc_compiles_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compute_capability: str) -> None:
    with zipfile.ZipFile(bindings.wheel("nvidia-cuda-nvrtc-cu11")) as archive:
        archive.extractall(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    kernels._nvrtc.cache_clear()
    cubin = kernels.compiled(kernels.SOURCE.read_bytes(), compute_capability)
    libc = kernels._libc()
    assert libc.uselocale(None) == c_void_p(-1).value, "the thread has a locale of its own now"  # LC_GLOBAL_LOCALE
    assert cubin.startswith(b"\x7fELF") and all(name.encode() in cubin for name in fake_kernels.SIGNATURES)
    with pytest.raises(EngineError, match=r"NVRTC does not compile for --gpu-architecture=sm_\d+: .*error") as caught:
        kernels.compiled(b"no C++", compute_capability)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", [87, 90, 110, 120])
def test_nvcc_compiles_them(tmp_path: Path, architecture: int) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc")
    out = tmp_path / "kernels.cubin"
    command = [nvcc, f"-arch=sm_{architecture}", "-cubin", "-o", str(out), str(kernels.SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "nvcc fatal" in done.stderr:
        pytest.skip(f"this nvcc: {done.stderr.strip()}")
    assert done.returncode == 0 and out.stat().st_size > 1000, done.stderr


def test_without_nvrtc_or_driver_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    kernels._nvrtc.cache_clear()
    with pytest.raises(EngineError, match="no libnvrtc.so is here; it comes with JetPack, CUDA or"):
        kernels.compiled(b"", "9.0")
    with pytest.raises(EngineError, match="the NVIDIA driver cannot be loaded .*libcuda.so.1"):
        kernels.driver()


def test_a_launch_that_fails_names_the_call(driver: FakeDriver) -> None:
    with pytest.raises(EngineError, match="cuModuleGetFunction failed with CUDA error 500"):
        kernels.kernels("9.0").launch("blur", 8, 8, 1, c_int(1))


def test_nv12_of_another_size_is_refused() -> None:
    for rows, columns, planes in ((4, 6, (6, 4)), (5, 6, (7, 6)), (4, 5, (6, 5))):
        with pytest.raises(ValueError, match=f"nv12 of {rows} x {columns} pixels has shape"):
            Frame(np.zeros((rows, columns, 3), np.uint8), nv12=np.zeros(planes, np.uint8))
