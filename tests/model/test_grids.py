from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch
import torch.nn.functional as F

from focusdepth_core.model.grids import Resample, raster_boxes, resampling_matrix


@pytest.mark.parametrize(("n_in", "n_out"), [(8, 4), (9, 4), (24, 7)])
def test_shrinking_is_the_area_mean(n_in, n_out):
    x = torch.rand(1, 1, n_in)
    expected = F.interpolate(x[:, None], size=(1, n_out), mode="area")[0, 0]
    if n_in % n_out == 0:
        assert torch.allclose(resampling_matrix(n_in, n_out) @ x[0, 0], expected[0], atol=1e-6)
    matrix = resampling_matrix(n_in, n_out)
    assert torch.allclose(matrix.sum(1), torch.ones(n_out))
    assert torch.allclose(matrix.sum(0), torch.full((n_in,), n_out / n_in), atol=1e-6)  # no cell is lost


@pytest.mark.parametrize(("n_in", "n_out"), [(4, 8), (5, 12)])
def test_enlarging_is_bilinear(n_in, n_out):
    x = torch.rand(1, 1, 1, n_in)
    expected = F.interpolate(x, size=(1, n_out), mode="bilinear", align_corners=False)[0, 0, 0]
    assert torch.allclose(resampling_matrix(n_in, n_out) @ x[0, 0, 0], expected, atol=1e-6)


def test_resampling_nothing_returns_the_same_tensor():
    x = torch.rand(1, 2, 3, 4)
    assert Resample((3, 4), (3, 4))(x) is x


def test_raster_is_the_covered_share_of_each_cell():
    box = torch.tensor([[0.5, 0.375, 0.5, 0.25]])  # x 0.25 to 0.75, y 0.25 to 0.5
    assert raster_boxes(box, (2, 4))[0, 0].tolist() == [[0, 0.5, 0.5, 0], [0, 0, 0, 0]]
    assert raster_boxes(box, (1, 1)).item() == pytest.approx(0.125)
