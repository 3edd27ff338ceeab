from __future__ import annotations

import threading
import time

import pytest

from focusdepth_ros.slot import NewestWorker

TIMEOUT_S = 10.0


class Job:
    """Records the items and holds each until ``gate`` is open."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.started = threading.Semaphore(0)
        self.finished = threading.Semaphore(0)
        self.gate = threading.Event()

    def __call__(self, item: int) -> None:
        self.started.release()
        assert self.gate.wait(TIMEOUT_S)
        self.done.append(item)
        self.finished.release()


@pytest.fixture
def job() -> Job:
    return Job()


def test_the_newest_wins_and_the_rest_is_counted(job: Job) -> None:
    worker = NewestWorker(job, "test")
    assert worker.put(0) is False
    assert job.started.acquire(timeout=TIMEOUT_S)
    assert [worker.put(i) for i in (1, 2, 3)] == [False, True, True]
    job.gate.set()
    for _ in range(2):
        assert job.finished.acquire(timeout=TIMEOUT_S)
    assert job.done == [0, 3]
    worker.stop()
    assert worker.join(TIMEOUT_S)


def test_stop_does_not_wait_and_forgets_what_waits(job: Job) -> None:
    worker = NewestWorker(job, "test")
    worker.put(0)
    assert job.started.acquire(timeout=TIMEOUT_S)
    worker.put(1)
    before = time.monotonic()
    worker.stop()
    assert time.monotonic() - before < 1
    assert worker.join(0.0) is False
    job.gate.set()
    assert worker.join(TIMEOUT_S)
    assert job.done == [0]


def test_clear_forgets_what_waits(job: Job) -> None:
    worker = NewestWorker(job, "test")
    worker.put(0)
    assert job.started.acquire(timeout=TIMEOUT_S)
    worker.put(1)
    worker.clear()
    assert worker.put(2) is False
    job.gate.set()
    for _ in range(2):
        assert job.finished.acquire(timeout=TIMEOUT_S)
    worker.stop()
    assert job.done == [0, 2]
