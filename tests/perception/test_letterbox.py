from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusdepth_core.engine.model_folder import InputSpec
from focusdepth_core.perception.letterbox import Letterbox

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

sides = st.integers(1, 4000)
inputs = st.builds(lambda w, h: InputSpec(14 * w, 14 * h, MEAN, STD), st.integers(1, 74), st.integers(1, 74))
letterboxes = st.builds(Letterbox, sides, sides, inputs)


def letterbox(width: int, height: int, input_width: int = 224, input_height: int = 168) -> Letterbox:
    return Letterbox(width, height, InputSpec(input_width, input_height, MEAN, STD))


@given(letterboxes, st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=5))
def test_boxes_come_back_exactly(lb: Letterbox, unit: list[tuple[float, float, float, float]]) -> None:
    corners = np.array(unit)
    size = np.array([lb.frame_width, lb.frame_height])
    boxes = np.hstack([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])])
    boxes *= np.tile(size, 2)
    there = lb.boxes_to_input(boxes)
    assert there.min() >= 0
    assert (there[:, :2] + there[:, 2:] / 2).max() <= 1 + 1e-12
    np.testing.assert_allclose(lb.boxes_to_frame(there), boxes, rtol=1e-9, atol=1e-9 * size.max())


@given(letterboxes)
def test_the_frame_fills_one_axis_and_keeps_its_aspect(lb: Letterbox) -> None:
    assert lb.width <= lb.spec.width and lb.height <= lb.spec.height
    assert lb.width == lb.spec.width or lb.height == lb.spec.height
    # Within the rounding to whole pixels, and at least one of them.
    ratio = min(lb.spec.width / lb.frame_width, lb.spec.height / lb.frame_height)
    assert abs(lb.width - ratio * lb.frame_width) <= max(0.5, 1 - ratio * lb.frame_width) + 1e-9
    assert abs(lb.height - ratio * lb.frame_height) <= max(0.5, 1 - ratio * lb.frame_height) + 1e-9


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([1, 2 / 7, 4 / 7]))
def test_maps_come_back_at_the_frames_size(width: int, height: int, density: float) -> None:
    grid = np.ones((round(168 * density), round(224 * density)), np.float32)
    np.testing.assert_allclose(letterbox(width, height).to_frame(grid), np.ones((height, width)), rtol=1e-6)


def test_a_known_box() -> None:
    # 1280 x 720 in 224 x 168: scale 0.175, the frame is 224 x 126.
    lb = letterbox(1280, 720)
    assert (lb.width, lb.height) == (224, 126)
    box = np.array([[320.0, 180.0, 960.0, 720.0]])
    np.testing.assert_allclose(lb.boxes_to_input(box), [[0.5, (31.5 + 126) / 2 / 168, 0.5, 94.5 / 168]], rtol=1e-12)


def test_each_axis_has_its_own_scale_after_rounding() -> None:
    # 100 x 33 in 224 x 168: scale 2.24 gives 73.92 rows, so 74.
    lb = letterbox(100, 33)
    assert (lb.width, lb.height) == (224, 74)
    whole = lb.boxes_to_input(np.array([[0.0, 0.0, 100.0, 33.0]]))
    np.testing.assert_allclose(whole, [[0.5, 37 / 168, 1.0, 74 / 168]], rtol=1e-12)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 720), (480, 640), (100, 33)])
@pytest.mark.parametrize("density", [1, 2 / 7])
def test_a_ramp_of_the_grid_is_a_ramp_of_the_frame(width: int, height: int, density: float) -> None:
    lb = letterbox(width, height)
    rows, cols = round(168 * density), round(224 * density)
    y, x = (np.arange(rows) + 0.5) / rows, (np.arange(cols) + 0.5) / cols  # cell centres in [0, 1] of the input
    grid = (3 * y[:, None] + 5 * x).astype(np.float32)
    v = (np.arange(height) + 0.5) / height * lb.height / 168  # pixel centres, likewise
    u = (np.arange(width) + 0.5) / width * lb.width / 224
    last_y = y[y < lb.height / 168 + 0.5 / rows][-1]  # of the cells that touch the frame; beyond it the value stays
    last_x = x[x < lb.width / 224 + 0.5 / cols][-1]
    inside = np.ix_((v >= y[0]) & (v <= last_y), (u >= x[0]) & (u <= last_x))
    np.testing.assert_allclose(lb.to_frame(grid)[inside], (3 * v[:, None] + 5 * u)[inside], atol=2e-5)


def test_padding_never_reaches_the_frame() -> None:
    lb = letterbox(640, 360)
    depth = np.full((168, 224), 1e9, np.float32)
    depth[: lb.height, : lb.width] = 2
    assert (lb.to_frame(depth) == 2).all()


def test_image_is_normalised_and_padded_with_the_mean() -> None:
    colour = np.array([200, 100, 50], np.uint8)
    lb = letterbox(640, 360)
    out = lb.image(np.broadcast_to(colour, (360, 640, 3)))
    assert (out.shape, out.dtype) == ((1, 3, 168, 224), np.float32)
    expected = (colour / 255 - MEAN) / STD
    inside = out[0, :, :126].reshape(3, -1)
    np.testing.assert_allclose(inside, np.repeat(expected[:, None], inside.shape[1], 1), atol=1e-5)
    assert (out[0, :, 126:] == 0).all()


def test_shrinking_averages_the_pixels() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (672, 896, 3), np.uint8)
    mean_of_16 = rgb.reshape(168, 4, 224, 4, 3).mean((1, 3))
    expected = ((mean_of_16 / 255 - MEAN) / STD).transpose(2, 0, 1)
    np.testing.assert_allclose(letterbox(896, 672).image(rgb)[0], expected, atol=1 / 255 / min(STD) + 1e-5)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1280, 960), (641, 479), (1919, 1081), (449, 337)])
def test_shrinking_does_not_alias(width: int, height: int) -> None:
    rng = np.random.default_rng(0)
    rgb = np.repeat(rng.integers(0, 256, (height, width, 1), np.uint8), 3, axis=2)
    lb = letterbox(width, height)
    inside = lb.image(rgb)[0, 0, : lb.height, : lb.width] * STD[0]
    # The mean of n pixels deviates by 1 / sqrt(n) as much; taking single ones would leave the deviation as it is.
    pixels = width * height / inside.size
    assert inside.std() < 1.3 * (rgb / 255).std() / np.sqrt(pixels)


def test_views_give_what_copies_give() -> None:
    bgr = np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)
    view = bgr[5:80, 10:170, ::-1]
    before = bgr.copy()
    lb = letterbox(160, 75)
    np.testing.assert_array_equal(lb.image(view), lb.image(view.copy()))
    np.testing.assert_array_equal(bgr, before)
