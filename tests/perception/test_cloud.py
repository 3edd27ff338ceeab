from __future__ import annotations

import numpy as np
import pytest

from focusdepth_core.perception.cloud import target_cloud
from focusdepth_core.perception.frame import Frame, Intrinsics

K = Intrinsics(fx=100, fy=50, cx=3, cy=2, width=8, height=6)


def frame() -> Frame:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    return Frame(image, intrinsics=K)


def mask(rows: slice, cols: slice) -> np.ndarray:
    out = np.zeros((6, 8), bool)
    out[rows, cols] = True
    return out


def test_hand_computed_points() -> None:
    depth = np.full((6, 8), 2, np.float32)
    depth[4, 5] = 4
    cloud = target_cloud(frame(), depth, mask(slice(2, 5), slice(5, 6)))
    # u = 5 at v = 2, 3, 4: x = (u - 3) z / 100, y = (v - 2) z / 50
    np.testing.assert_allclose(cloud.points, [[0.04, 0, 2], [0.04, 0.04, 2], [0.08, 0.16, 4]], rtol=1e-6)
    assert cloud.points.dtype == np.float32
    np.testing.assert_array_equal(cloud.pixels, [2 * 8 + 5, 3 * 8 + 5, 4 * 8 + 5])
    np.testing.assert_array_equal(cloud.colours, frame().image[2:5, 5])


def test_a_plane_comes_back() -> None:
    k = Intrinsics(320.0, 310.0, 158.5, 121.5, 320, 240)
    normal, offset = np.array([0.1, -0.3, 0.9]), 1.2
    v, u = np.mgrid[:240, :320]
    ray = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u)], -1)
    depth = (offset / (ray @ normal)).astype(np.float32)
    cloud = target_cloud(Frame(np.zeros((240, 320, 3), np.uint8), 0.0, k), depth, np.ones((240, 320), bool))
    assert len(cloud.points) == 240 * 320
    np.testing.assert_allclose(cloud.points @ normal, offset, atol=1e-5)


def test_depth_that_is_not_finite_gives_no_point() -> None:
    depth = np.full((6, 8), 2, np.float32)
    depth[2, 5], depth[3, 5] = np.nan, np.inf
    cloud = target_cloud(frame(), depth, mask(slice(2, 5), slice(5, 6)))
    np.testing.assert_array_equal(cloud.pixels, [4 * 8 + 5])


def test_an_empty_mask_gives_an_empty_cloud() -> None:
    cloud = target_cloud(frame(), np.ones((6, 8), np.float32), np.zeros((6, 8), bool))
    assert cloud.points.shape == cloud.colours.shape == (0, 3)


def test_edge_pixels_are_dropped_but_the_images_border_is_no_edge() -> None:
    depth = np.ones((6, 8), np.float32)
    inner = target_cloud(frame(), depth, mask(slice(1, 5), slice(2, 7)), drop_edge_px=1)
    np.testing.assert_array_equal(np.unravel_index(inner.pixels, (6, 8)), np.nonzero(mask(slice(2, 4), slice(3, 6))))
    at_border = target_cloud(frame(), depth, mask(slice(0, 4), slice(0, 8)), drop_edge_px=1)
    np.testing.assert_array_equal(
        np.unravel_index(at_border.pixels, (6, 8)), np.nonzero(mask(slice(0, 3), slice(0, 8)))
    )


def test_a_view_of_an_image_with_padded_rows() -> None:
    wide = np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)
    cloud = target_cloud(Frame(wide[:, :8], 0.0, K), np.ones((6, 8), np.float32), mask(slice(3, 4), slice(2, 4)))
    np.testing.assert_array_equal(cloud.colours, wide[3, 2:4])


def test_no_intrinsics_is_an_error() -> None:
    with pytest.raises(ValueError, match="publish camera_info"):
        target_cloud(Frame(np.zeros((6, 8, 3), np.uint8)), np.ones((6, 8)), np.ones((6, 8), bool))
