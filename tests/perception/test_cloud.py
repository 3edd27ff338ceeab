from __future__ import annotations

import cv2
import numpy as np
import pytest

from focusdepth_core.perception.cloud import Cloud, cloud_of, inner
from focusdepth_core.perception.frame import Frame, Intrinsics
from focusdepth_core.perception.window import Part, bounds

K = Intrinsics(fx=100, fy=50, cx=3, cy=2, width=8, height=6)


def frame() -> Frame:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    return Frame(image, intrinsics=K)


def target_cloud(
    frame: Frame, depth_m: np.ndarray, mask: np.ndarray, drop_edge_px: int = 0, voxel_size: float = 0.0
) -> Cloud:
    """By the depth of the mask's pixels alone, as the node asks for it."""
    pixels = inner(mask, bounds(mask), drop_edge_px)
    return cloud_of(frame, pixels, depth_m[pixels.window][pixels.values], voxel_size)


def colours(cloud: Cloud) -> np.ndarray:
    """N,3: red, green and blue."""
    return cloud.rgb[:, None] >> np.array([16, 8, 0]) & 0xFF


def pixels(cloud: Cloud, k: Intrinsics = K) -> np.ndarray:
    """N,2: row and column that each point came from."""
    x, y, z = cloud.points.T
    return np.rint(np.stack([y / z * k.fy + k.cy, x / z * k.fx + k.cx], axis=1)).astype(int)


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
    np.testing.assert_array_equal(colours(cloud), frame().image[2:5, 5])
    assert (cloud.rgb >> 24 == 0).all()


def test_what_is_beyond_the_range_gives_no_points() -> None:
    depth = np.array([[1, 2, 2.5, np.nan, np.inf, -np.inf, 9, 2]], np.float32).repeat(6, axis=0)
    part = Part((slice(0, 1), slice(0, 8)), np.ones((1, 8), bool))
    assert cloud_of(frame(), part, depth[0]).points[:, 2].tolist() == [1, 2, 2.5, 9, 2]
    near = cloud_of(frame(), part, depth[0], range_max=2.0)
    assert near.points[:, 2].tolist() == [1, 2, 2]
    np.testing.assert_array_equal(colours(near), frame().image[0, [0, 1, 7]])


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
    np.testing.assert_array_equal(pixels(cloud), [[4, 5]])


def test_an_empty_mask_gives_an_empty_cloud() -> None:
    cloud = target_cloud(frame(), np.ones((6, 8), np.float32), np.zeros((6, 8), bool))
    assert (cloud.points.shape, cloud.rgb.shape) == ((0, 3), (0,))


def test_edge_pixels_are_dropped_but_the_images_border_is_no_edge() -> None:
    depth = np.ones((6, 8), np.float32)
    inner = target_cloud(frame(), depth, mask(slice(1, 5), slice(2, 7)), drop_edge_px=1)
    np.testing.assert_array_equal(pixels(inner), np.argwhere(mask(slice(2, 4), slice(3, 6))))
    at_border = target_cloud(frame(), depth, mask(slice(0, 4), slice(0, 8)), drop_edge_px=1)
    np.testing.assert_array_equal(pixels(at_border), np.argwhere(mask(slice(0, 3), slice(0, 8))))


def test_a_view_of_an_image_with_padded_rows() -> None:
    wide = np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)
    cloud = target_cloud(Frame(wide[:, :8], 0.0, K), np.ones((6, 8), np.float32), mask(slice(3, 4), slice(2, 4)))
    np.testing.assert_array_equal(colours(cloud), wide[3, 2:4])


def test_no_intrinsics_is_an_error() -> None:
    with pytest.raises(ValueError, match="publish camera_info"):
        target_cloud(Frame(np.zeros((6, 8, 3), np.uint8)), np.ones((6, 8)), np.ones((6, 8), bool))


@pytest.mark.parametrize("size", [0.05, 0.3])
def test_a_voxel_holds_the_mean_of_its_points(size: float) -> None:
    rng = np.random.default_rng(0)
    k = Intrinsics(100, 100, 40, 30, 80, 60)
    seen = Frame(rng.integers(0, 256, (60, 80, 3), np.uint8), 0.0, k)
    depth, everywhere = rng.uniform(1, 1.2, (60, 80)).astype(np.float32), np.ones((60, 80), bool)
    full, thin = target_cloud(seen, depth, everywhere), target_cloud(seen, depth, everywhere, voxel_size=size)
    cells = np.floor(full.points / np.float32(size)).astype(int)
    expected = {}
    for cell in np.unique(cells, axis=0):
        inside = (cells == cell).all(axis=1)
        expected[tuple(cell)] = full.points[inside].mean(axis=0), colours(full)[inside].mean(axis=0)
    assert 1 < len(thin.points) == len(expected) < len(full.points) / 2
    for point, colour in zip(thin.points, colours(thin)):
        mean_point, mean_colour = min(expected.values(), key=lambda mean: np.abs(mean[0] - point).max())
        np.testing.assert_allclose(point, mean_point, atol=1e-5)
        np.testing.assert_allclose(colour, mean_colour, atol=0.51)


LENSES = {
    "plumb_bob": ((-0.28, 0.09, 1e-3, -7e-4, 0.0), False),
    "rational_polynomial": ((0.6, -2.7, 1e-4, -3e-5, 1.5, 0.5, -2.5, 1.45), False),
    "equidistant": ((-0.01, 0.02, -0.01, 0.002), True),
}


@pytest.mark.parametrize("lens", LENSES)
def test_the_points_of_a_distorted_image_are_seen_where_they_came_from(lens: str) -> None:
    distortion, fisheye = LENSES[lens]
    k = Intrinsics(450, 455, 310, 245, 640, 480, distortion, fisheye)
    seen = Frame(np.zeros((480, 640, 3), np.uint8), 0.0, k)
    rows, columns = slice(20, 470), slice(30, 630)
    inside = np.zeros((480, 640), bool)
    inside[rows, columns] = True
    depth = np.random.default_rng(0).uniform(0.5, 2, (480, 640)).astype(np.float32)
    points = target_cloud(seen, depth, inside).points.astype(np.float64)
    np.testing.assert_array_equal(points[:, 2], depth[inside].astype(np.float64))
    matrix, project = np.array([[k.fx, 0, k.cx], [0, k.fy, k.cy], [0, 0, 1.0]]), cv2.projectPoints
    if fisheye:
        project = cv2.fisheye.projectPoints
    seen_at = project(points.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), matrix, np.array(distortion))[0]
    expected = np.argwhere(inside)[:, ::-1]
    off_px = np.linalg.norm(seen_at.reshape(-1, 2) - expected, axis=1)
    assert off_px.max() < 0.3 and np.median(off_px) < 0.01, "OpenCV inverts the lens iteratively"
    for place in (0, 100_000, -1):
        assert k.pixel(*points[place]) == pytest.approx(expected[place], abs=0.3)
    straight = target_cloud(Frame(seen.image, 0.0, Intrinsics(450, 455, 310, 245, 640, 480)), depth, inside).points
    assert np.abs(straight - points).max() > 0.02
