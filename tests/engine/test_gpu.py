"""On a real GPU, with whatever TensorRT is there: what the other tests prove on the host.

FOCUSDEPTH_TEST_MODEL may name another exported model than the shipped one: TensorRT 8.5 needs one of opset 16.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cuda.frames import Frames
from focusdepth_core.engine.cuda.memory import Buffer, Cuda, open_cuda
from focusdepth_core.engine.model_folder import ModelFolder, default_model_dir
from focusdepth_core.engine.onnxruntime_backend import OnnxRuntimeEngine
from focusdepth_core.engine.tensorrt_backend import StalePlan, TensorRtEngine
from focusdepth_core.engine.tensorrt_build import build, runtime
from focusdepth_core.perception.frame_input import FrameInput
from focusdepth_core.perception.letterbox import Letterbox

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def cuda() -> Iterator[Cuda]:
    try:
        found = open_cuda()
    except EngineError as error:
        pytest.skip(f"needs a GPU: {error}")
    with found.current():
        yield found


@pytest.fixture(scope="module")
def stream(cuda: Cuda) -> Iterator[int]:
    found = cuda.stream()
    yield found
    cuda.release_stream(found)


def filled(cuda: Cuda, values: np.ndarray, stream: int) -> Buffer:
    buffer = cuda.buffer(values.nbytes)
    buffer.host[:] = values.reshape(-1).view(np.uint8)
    cuda.upload(buffer, values.nbytes, stream)
    return buffer


def test_what_is_uploaded_comes_back(cuda: Cuda, stream: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, MEGABYTE, np.uint8)
    buffer = filled(cuda, values, stream)
    cuda.synchronize(stream)
    if not buffer.shared:
        buffer.host[:] = 0
    took = cuda.times_ms(stream, lambda: cuda.download(buffer, MEGABYTE, stream))
    np.testing.assert_array_equal(buffer.host, values)
    assert took[0] >= 0
    cuda.release(buffer)


def test_a_graph_replays_what_was_captured(cuda: Cuda, stream: int) -> None:
    buffer = filled(cuda, np.zeros(1000, np.uint8), stream)

    def there_and_back() -> None:
        cuda.upload(buffer, 1000, stream)
        cuda.download(buffer, 1000, stream)

    graph = cuda.capture(stream, there_and_back)
    for value in (3, 4):
        buffer.host[:] = value
        cuda.launch(graph, stream)
        cuda.synchronize(stream)
        assert (buffer.host == value).all()
    cuda.release_graph(graph)
    cuda.release(buffer)


def test_memory_that_is_not_there_is_an_error_and_harms_nothing(cuda: Cuda, stream: int) -> None:
    with pytest.raises(EngineError, match="failed: cudaError|out of memory"):
        cuda.buffer(1 << 50)
    cuda.release(filled(cuda, np.zeros(8, np.uint8), stream))


@pytest.mark.parametrize("size", [(224, 168), (518, 294), (518, 518)])
def test_frames_are_prepared_as_by_the_letterbox(cuda: Cuda, stream: int, size: tuple[int, int]) -> None:
    buffer = cuda.buffer(4 * 3 * size[0] * size[1])
    Frames(cuda).prove(*size, buffer, stream)
    cuda.release(buffer)


@pytest.fixture(scope="module")
def model() -> ModelFolder:
    return ModelFolder.read(os.environ.get("FOCUSDEPTH_TEST_MODEL", default_model_dir()))


@pytest.fixture(scope="module")
def plan(cuda: Cuda, model: ModelFolder) -> bytes:
    try:
        runtime()
    except EngineError as error:
        pytest.skip(f"needs TensorRT: {error}")
    assert model.plain is not None
    return build(model.plain, precision="fp32", profiles={}, workspace_mb=1024, report=lambda *state: None)


def test_an_engine_computes_what_onnx_runtime_does_with_and_without_a_graph(plan: bytes, model: ModelFolder) -> None:
    pytest.importorskip("onnxruntime")
    assert model.plain is not None
    reference, engine, replays = OnnxRuntimeEngine(Path(model.plain)), TensorRtEngine(plan, "plain"), []
    random = np.random.default_rng(0)
    for _ in range(4):
        shape = (1, 3, model.input.height, model.input.width)
        inputs = {"image": random.normal(size=shape).astype(np.float32)}
        replays.append(engine.replays)
        want, got = (one.run(inputs)["depth"] for one in (reference, engine))
        assert np.abs(got - want).max() < 1e-3 * want.std()
    assert replays == [False, False, True, True]
    assert all(ms >= 0 for ms in engine.stages_ms(inputs).values())


def test_an_engine_prepares_frames(plan: bytes, model: ModelFolder) -> None:
    engine = TensorRtEngine(plan, "plain")
    assert engine.frames_by == "the GPU"
    for rows, columns in ((720, 1280), (480, 640), (480, 640), (480, 640)):
        rgb = np.random.default_rng(rows).integers(0, 256, (rows, columns, 3), np.uint8)
        frame = FrameInput(rgb, Letterbox(columns, rows, model.input))
        want = engine.run({"image": np.asarray(frame)})["depth"]
        got = engine.run({"image": frame})["depth"]  # type: ignore[dict-item]
        assert np.abs(got - want).mean() < 0.05 * want.std()


@pytest.mark.parametrize("left", [0, 100, 10000])
def test_cut_off_plans_are_stale(plan: bytes, left: int) -> None:
    with pytest.raises(StalePlan, match="the engine of plain cannot be loaded by tensorrt"):
        TensorRtEngine(plan[:left], "plain")
