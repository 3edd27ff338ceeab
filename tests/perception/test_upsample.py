from __future__ import annotations

import cv2
import numpy as np
import pytest

from focusdepth_core.engine.model_folder import InputSpec
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.upsample import split_upsample
from focusdepth_core.perception.window import Part

SPEC = InputSpec(224, 168, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
GRID = (48, 64)  # 4 cells per patch of 14 px


def logits(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """One map per box x0,y0,x1,y1 in cells of the mask's grid."""
    maps = np.full((len(boxes), *GRID), -4, np.float32)
    for grid, (x0, y0, x1, y1) in zip(maps, boxes):
        grid[y0:y1, x0:x1] = 4
    return maps


def upsampled(
    depth: np.ndarray, maps: np.ndarray, width: int = 640, height: int = 480
) -> tuple[np.ndarray, list[np.ndarray]]:
    lb = Letterbox(width, height, SPEC)
    found = split_upsample(depth, maps, [lb.positive(m) for m in maps], lb)
    return np.asarray(found), [lb.to_frame(m) > 0 for m in maps]


def samples(logit: np.ndarray) -> np.ndarray:
    """The samples of the depth's grid that lie in the mask."""
    return cv2.resize(logit, (224, 168)) > 0


def ring(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The samples within 1 of the edge: in the mask, and outside."""
    mask, kernel = inside.astype(np.uint8), np.ones((3, 3), np.uint8)
    return inside & (cv2.erode(mask, kernel) == 0), ~inside & (cv2.dilate(mask, kernel) > 0)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 720), (224, 168), (120, 90)])
@pytest.mark.parametrize("boxes", [[(20, 16, 40, 32)], [(4, 4, 16, 20), (18, 10, 30, 24)], [(0, 0, 20, 12)]])
def test_a_step_stays_a_step(width: int, height: int, boxes: list[tuple[int, int, int, int]]) -> None:
    maps = logits(*boxes)
    depth = np.full((168, 224), 1, np.float32)
    for value, logit in enumerate(maps, start=2):
        depth[samples(logit)] = value
    out, masks = upsampled(depth, maps, width, height)
    expected = np.ones((height, width), np.float32)
    for value, mask in enumerate(masks, start=2):
        assert mask.any()
        expected[mask] = value
    np.testing.assert_array_equal(out, expected)


def test_samples_that_the_network_blurred_over_the_edge_are_left_out() -> None:
    maps = logits((20, 16, 40, 32))
    inside = samples(maps[0])
    depth = np.where(inside, np.float32(3), np.float32(1))
    inner, outer = ring(inside)
    depth[inner], depth[outer] = 2.3, 1.7
    out, (mask,) = upsampled(depth, maps)
    assert (out[mask] == 3).all()
    assert (out[~mask] == 1).all()


def test_a_thin_target_keeps_its_own_depth() -> None:
    maps = logits((20, 16, 40, 32), (50, 10, 51, 40))
    maps[0, 20, 40:48] = 1  # a handle on a thick body, like the second target about 1.4 samples thick
    maps[1][maps[1] > 0] = 1
    depth = np.full((168, 224), 1, np.float32)
    handle = (slice(70, 74), slice(150, 166))
    for logit in maps:
        assert ring(samples(logit))[0].any()
        depth[samples(logit)] = 3
    depth[handle] = np.where(samples(maps[0])[handle], 2, depth[handle])
    out, masks = upsampled(depth, maps)
    assert (out[masks[1]] == 3).all()
    on_handle = masks[0] & (np.arange(640) > 432) & (np.arange(640) < 468)
    assert on_handle.any()
    assert (out[on_handle] == 2).all()


def test_where_targets_overlap_the_larger_logit_wins() -> None:
    maps = logits((10, 10, 40, 40), (20, 20, 50, 44))
    maps[0][maps[0] > 0] = 8
    first, second = (cv2.resize(m, (224, 168)) for m in maps)
    depth = np.where((first > 0) & (first > second), 2, np.where(second > 0, 3, 1)).astype(np.float32)
    out, masks = upsampled(depth, maps)
    overlap = (slice(220, 380), slice(220, 380))  # well inside: it starts at 200 px and ends at 400 px
    assert masks[0][overlap].all() and masks[1][overlap].all()
    assert (out[overlap] == 2).all()
    assert (out[masks[1] & ~masks[0]] == 3).all()
    assert (out[~masks[0] & ~masks[1]] == 1).all()
    assert np.isin(out, (1, 2, 3)).all()


def test_without_an_edge_it_is_bilinear() -> None:
    rng = np.random.default_rng(0)
    depth = rng.random((168, 224)).astype(np.float32)
    lb = Letterbox(640, 480, SPEC)
    plain = lb.to_frame(depth)
    everywhere = np.full((1, *GRID), 4, np.float32)
    for maps in (everywhere, -everywhere, np.empty((0, *GRID), np.float32)):
        np.testing.assert_allclose(upsampled(depth, maps)[0], plain, atol=1e-6)


def test_far_from_an_edge_it_is_bilinear() -> None:
    depth = np.random.default_rng(0).random((168, 224)).astype(np.float32)
    out, (mask,) = upsampled(depth, logits((20, 16, 40, 32)))
    plain = Letterbox(640, 480, SPEC).to_frame(depth)
    kernel, inside = np.ones((25, 25), np.uint8), mask.astype(np.uint8)
    near_edge = cv2.dilate(inside, kernel) != cv2.erode(inside, kernel)
    assert near_edge.mean() < 0.3
    np.testing.assert_allclose(out[~near_edge], plain[~near_edge], atol=1e-6)


def test_the_padding_of_the_input_is_no_sample() -> None:
    maps = logits((20, 24, 40, 40))  # beyond the frame's lower edge: a 16 : 9 frame fills 126 rows, 36 of the mask's
    depth = np.where(samples(maps[0]), np.float32(3), np.float32(1))
    depth[126:] = 99
    out, (mask,) = upsampled(depth, maps, 1280, 720)
    assert mask[-1].any()
    assert (out[mask] == 3).all()
    assert (out[~mask] == 1).all()


def test_windows_and_pixels_are_as_in_the_whole() -> None:
    maps, rng = logits((4, 4, 16, 20), (18, 10, 30, 24), (14, 8, 20, 22)), np.random.default_rng(0)
    lb = Letterbox(640, 480, SPEC)
    found = split_upsample(rng.random((168, 224), np.float32), maps, [lb.positive(m) for m in maps], lb)
    whole = np.asarray(found)
    assert len(found.insets) == 3
    for window in (np.s_[0:480, 0:640], np.s_[30:190, 100:330], np.s_[470:480, 0:1], np.s_[0:0, 0:0]):
        np.testing.assert_allclose(found[window], whole[window], atol=1e-5)
    rows, columns = rng.integers(0, 480, 3000), rng.integers(0, 640, 3000)
    np.testing.assert_allclose(found[rows, columns], whole[rows, columns], atol=1e-5)
    np.testing.assert_allclose(found[rows[:50, None], columns], whole[rows[:50, None], columns], atol=1e-5)
    for row, column in ((100, 200), (479, 639)):  # in an inset and beside
        np.testing.assert_allclose(found[row, column], whole[row, column], atol=1e-5)
    np.testing.assert_allclose(np.asarray(found.scaled(3, 1)), 3 * whole + 1, atol=1e-5)
    for logit in maps:
        mask = Part((slice(0, 480), slice(0, 640)), lb.to_frame(logit) > 0).tight()
        inside = found.inside(mask)[mask.values]
        np.testing.assert_allclose(inside, whole[mask.window][mask.values], atol=1e-5)
