"""What a model costs on this CPU: frames per second and memory of a process that does nothing else."""

from __future__ import annotations

import multiprocessing
import re
import time
from pathlib import Path

import numpy as np

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.target import Target

FRAMES, WARM_UP = 40, 5
SIZE = (480, 640)  # of the camera's frames
THREADS = 2


def footprint(model: Path) -> dict[str, object]:
    """In a process of its own, whose peak memory is that of the model and the libraries that it needs."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (model,))


def _measured(model: Path) -> dict[str, object]:
    pipeline = Pipeline.open(model, threads=THREADS)
    rng, seconds = np.random.default_rng(0), []
    for _ in range(WARM_UP + FRAMES):
        frame = Frame(rng.integers(0, 256, (*SIZE, 3), np.uint8))
        start = time.perf_counter()
        pipeline.process(frame, [Target("one", (200.0, 150.0, 400.0, 330.0))])
        seconds.append(time.perf_counter() - start)
    return {
        "frames_per_s": round(1 / float(np.median(seconds[WARM_UP:])), 1),
        "peak_memory_mb": _peak_memory_mb(),
        "input": [pipeline.model.input.width, pipeline.model.input.height],
        "method": f"median of {FRAMES} frames of {SIZE[1]} x {SIZE[0]} with one box, {THREADS} threads",
        "backend": pipeline.backend,
    }


def _peak_memory_mb() -> int:
    """Of this process alone: getrusage would count what its parent held when it started it."""
    (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return round(int(kilobytes) / 1024)
