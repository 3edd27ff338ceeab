from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError, OutOfMemory
from focusdepth_core.engine.cuda import cudart
from focusdepth_core.engine.cuda.frames import Frames
from focusdepth_core.engine.cuda.memory import open_cuda
from focusdepth_core.engine.tensorrt_backend import TensorRtEngine
from focusdepth_core.engine.tensorrt_build import build
from tests.engine import fake_kernels, fake_pycuda, fake_tensorrt
from tests.engine.fake_cudart import FakeCudart
from tests.tiny_model import HEIGHT, WIDTH, BoxEngine, write_model_folder

pytest.importorskip("onnxruntime")


def inputs(seed: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(seed).normal(size=(1, 3, HEIGHT, WIDTH)).astype(np.float32)}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    fake_tensorrt.install(monkeypatch)
    path = write_model_folder(tmp_path) / "plain.onnx"
    return build(path, precision="fp32", profiles={}, workspace_mb=64, report=lambda fraction, phase: None)


@pytest.mark.parametrize("integrated", [False, True])
def test_an_engine_runs_over_pycuda(plan: bytes, monkeypatch: pytest.MonkeyPatch, integrated: bool) -> None:
    cuda = FakeCudart(integrated=integrated)
    fake_tensorrt.install(monkeypatch, cuda=cuda)
    fake_pycuda.install(monkeypatch, cuda)
    engine = TensorRtEngine(plan, "plain.onnx")
    assert open_cuda().device.integrated == integrated and "NVIDIA Fake" in engine.name
    for seed in range(4):
        depth = engine.run(inputs(seed))["depth"]
        np.testing.assert_allclose(depth, BoxEngine().run(inputs(seed))["depth"], atol=1e-5)
    assert not engine.replays and engine.stages_ms(inputs(0))["compute"] == 0.5
    engine.close()
    assert not cuda.handles
    cuda.free = 100
    with pytest.raises(OutOfMemory, match="out of memory; close other programs"):
        TensorRtEngine(plan, "plain.onnx")
    cuda.status = 100
    with pytest.raises(EngineError, match="CUDA cannot be used by pycuda: cuInit failed.*; see `nvidia-smi`"):
        open_cuda()


def test_frames_that_fail_over_pycuda_are_prepared_by_the_cpu(plan: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCudart()
    fake_tensorrt.install(monkeypatch, cuda=cuda)
    fake_pycuda.install(monkeypatch, cuda)
    fake_kernels.install(monkeypatch)
    assert TensorRtEngine(plan, "plain.onnx").takes_frames

    def out_of_memory(*_: object) -> None:
        raise sys.modules["pycuda.driver"].Error("out of memory")

    monkeypatch.setattr(Frames, "fill", out_of_memory)
    assert not TensorRtEngine(plan, "plain.onnx").takes_frames


def test_pycuda_that_is_not_installed_and_a_choice_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOCUSDEPTH_CUDA", "pycuda")
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(EngineError, match="pycuda cannot be imported .*pip install pycuda, or leave FOCUSDEPTH_CUDA"):
        open_cuda()
    monkeypatch.setenv("FOCUSDEPTH_CUDA", "opencl")
    with pytest.raises(EngineError, match="FOCUSDEPTH_CUDA = 'opencl' is unknown; known: cudart, pycuda"):
        open_cuda()


def test_of_several_cuda_runtimes_the_one_is_taken_that_the_driver_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [FakeCudart(status=35), FakeCudart(gpu="Orin", compute_capability=(8, 7), integrated=True)]
    monkeypatch.setattr(cudart, "libraries", lambda: there)
    device = open_cuda().device
    assert (device.name, device.compute_capability, device.integrated) == ("Orin", "8.7", True)
    monkeypatch.setattr(cudart, "libraries", lambda: there[:1])
    with pytest.raises(EngineError, match="cudaErrorInsufficientDriver; the NVIDIA driver is missing or older"):
        open_cuda()
    monkeypatch.setattr(cudart, "libraries", list)
    with pytest.raises(EngineError, match="no libcudart.so of CUDA 11 to 13 is here; it comes with JetPack"):
        open_cuda()


def test_a_capture_that_is_broken_off_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCudart()
    monkeypatch.setattr(cudart, "libraries", lambda: [fake])
    cuda = open_cuda()
    stream = cuda.stream()

    def work() -> None:
        raise EngineError("out of memory")

    for fake.capturable in (True, False):
        with pytest.raises(EngineError, match="out of memory"):
            cuda.capture(stream, work)
        assert fake.handles == {stream}


def test_threads_share_an_engine(plan: bytes) -> None:
    engine, wrong = TensorRtEngine(plan, "plain.onnx"), []

    def work(seed: int) -> None:
        for _ in range(20):
            if not np.allclose(engine.run(inputs(seed))["depth"], inputs(seed)["image"].mean(axis=1), atol=1e-5):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
