from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import numpy as np
import onnx
import torch
from torch import nn

from focusdepth_core.engine.onnx_file import Artefact, write
from focusdepth_core.engine.open import open_engine


@pytest.mark.parametrize(
    "net", [nn.GroupNorm(4, 8), nn.InstanceNorm2d(8, eps=0.1, affine=True)], ids=["group", "instance"]
)
def test_normalisation_is_arithmetic_where_tensorrt_has_it_as_a_plugin(net: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(0)
    nn.init.normal_(net.weight)
    nn.init.normal_(net.bias)
    x = 3 + 5 * torch.randn(2, 8, 6, 7)
    write(Artefact(net, {"input": x}, ("y",)), tmp_path / "net.onnx", 16)
    operations = {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}
    assert "InstanceNormalization" not in operations and "Sqrt" in operations
    got = open_engine(tmp_path / "net.onnx").run({"input": x.numpy()})["y"]
    np.testing.assert_allclose(got, net.eval()(x).detach(), atol=1e-5)
