from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """accelerate keeps one state per process, whose precision cannot be changed."""
    state = pytest.importorskip("accelerate.state", reason="needs focusdepth_core[train]")
    yield
    state.AcceleratorState._reset_state(True)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    from tests.training.tiny import write_data

    return write_data(tmp_path_factory.mktemp("data"))
