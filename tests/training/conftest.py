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


@pytest.fixture(scope="session")
def sam3(tmp_path_factory):
    """Configuration of a tiny pretrained SAM3."""
    from focusdepth_core.model.prompt.sam3 import Sam3PromptConfig
    from tests.model import tiny_sam3

    folder = tiny_sam3.write(tmp_path_factory.mktemp("sam3"), tiny_sam3.tensors())
    return Sam3PromptConfig(weights=str(folder), side=56, architecture=tiny_sam3.ARCHITECTURE)
