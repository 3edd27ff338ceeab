from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")

from focusdepth_core.perception.frame import Frame, Intrinsics
from focusdepth_core.perception.result import FocusResult, Scale, Space, TargetResult
from focusdepth_core.perception.target import Target
from focusdepth_ros import answer_msgs
from focusdepth_ros.answer import Answer
from focusdepth_ros.image_msgs import pixels
from focusdepth_ros.parameters import Parameters
from focusdepth_ros.presence import Presence
from tests.perception.maps import frame_depth
from tests.ros.harness import camera_info, header

RAW, NAN = np.full((2, 3), 4, np.float32), np.nan


def answer(
    scale: Scale | None, space: Space = Space.AFFINE_DISPARITY, info: bool = True, **parameters: float | str
) -> Answer:
    result = FocusResult(Frame(np.zeros((2, 3, 3), np.uint8)), frame_depth(RAW), space, scale=scale)
    return Answer(header(1), result, camera_info(1) if info else None, (), Parameters(**parameters))


def fitted(age: float, residual: float = 0.01) -> Scale:
    return Scale(0.125, 0.0, Space.AFFINE_DISPARITY, "depth_hint", residual, 0.9, age)


@pytest.mark.parametrize(("age", "metric"), [(0.0, True), (0.5, True), (0.51, False)])
def test_metres_end_when_the_scale_is_out_of_date(age: float, metric: bool) -> None:
    got = answer(fitted(age), max_scale_age=0.5)
    assert (answer_msgs.depth(got) is not None, got.scale is not None) == (metric, metric)
    expected = "" if metric else "the last usable depth_hint is older than scale.max_age = 0.5 s"
    assert got.why_not_metric == expected


@pytest.mark.parametrize(("residual", "metric"), [(0.5, True), (0.51, False), (np.inf, False)])
def test_there_are_no_metres_where_hint_and_image_do_not_fit(residual: float, metric: bool) -> None:
    got = answer(fitted(0, residual))
    assert (answer_msgs.depth(got) is not None, got.scale is not None) == (metric, metric)
    reason = f"depth_hint and image do not fit together: scale_residual {residual:g} is above scale.max_residual = 0.5"
    assert got.why_not_metric == ("" if metric else reason)
    assert answer(fitted(0, residual), fixed_scale=0.5).is_metric


@pytest.mark.parametrize("scale", [None, fitted(0.51), fitted(0, 0.51)])
def test_without_a_scale_depth_is_of_nan_if_that_is_asked_for(scale: Scale | None) -> None:
    asked = answer(scale, when_stale="nan")
    assert np.isnan(pixels(answer_msgs.depth(asked))).all() and answer_msgs.camera_info(asked) is not None
    assert not asked.is_metric and answer_msgs.target_points(asked) is None
    assert answer_msgs.depth(answer(scale)) is None
    assert answer_msgs.depth(answer(scale, info=False, when_stale="nan")) is None
    np.testing.assert_allclose(pixels(answer_msgs.depth(answer(fitted(0), when_stale="nan"))), 2)


def test_a_fixed_scale_comes_before_a_fitted_one() -> None:
    got = answer(fitted(0), fixed_scale=0.5)
    assert got.scale is not None and (got.scale.source, got.scale.scale) == ("parameter", 0.5)
    np.testing.assert_allclose(pixels(answer_msgs.depth(got)), 0.5)


def test_a_metric_model_needs_no_scale() -> None:
    got = answer(None, Space.METRIC, fixed_scale=0.5)
    assert got.scale is None
    np.testing.assert_array_equal(pixels(answer_msgs.depth(got)), RAW)


@pytest.mark.parametrize(
    ("space", "line", "raw", "metres"),
    [
        (Space.AFFINE_DISPARITY, (1.0, 0.0), (0.1, 0.5, 1.0), (1.0, 2.0, 10.0)),
        (Space.AFFINE_DISPARITY, (1.0, -0.2), (0.1, 0.7, 1.2), (1.0, 2.0, NAN)),
        (Space.AFFINE_DEPTH, (4.0, -0.5), (0.1, 0.5, 1.0), (NAN, 1.5, 3.5)),
        (Space.METRIC, None, (-0.2, 1.0, np.inf), (NAN, 1.0, NAN)),
    ],
)
def test_depth_quantiles_keep_their_places_where_one_is_no_depth(
    space: Space, line: tuple[float, float] | None, raw: tuple[float, ...], metres: tuple[float, ...]
) -> None:
    target = TargetResult(Target("mug", (0, 0, 3, 2)), np.ones((2, 3), bool), 1.0, raw)
    scale = line and Scale(*line, space, "depth_hint", 0.01, 0.9)
    frame = Frame(np.zeros((2, 3, 3), np.uint8), intrinsics=Intrinsics(3, 3, 1, 1, 3, 2))
    result = FocusResult(frame, frame_depth(RAW), space, (target,), scale)
    got = Answer(header(1), result, camera_info(1), (Presence(target.target, 1.0, 0.0, 0.0),), Parameters())
    (msg,) = answer_msgs.targets_3d(got).targets
    np.testing.assert_allclose(msg.depth_quantiles, metres, rtol=1e-5)


@pytest.mark.parametrize("space", [Space.METRIC, Space.AFFINE_DEPTH])
def test_without_camera_info_nothing_is_metric(space: Space) -> None:
    got = answer(fitted(0), space, info=False)
    assert answer_msgs.depth(got) is None and got.clouds is None and got.why_not_metric == "no usable camera_info"


@pytest.mark.parametrize(
    ("got", "has_scale", "scale"),
    [
        (answer(None, Space.METRIC), True, np.nan),
        (answer(None, Space.METRIC, info=False), False, np.nan),
        (answer(None), False, np.nan),
        (answer(fitted(0)), True, 0.125),
        (answer(fitted(0), info=False), False, 0.125),
        (answer(None, fixed_scale=0.5), True, 0.5),
    ],
)
def test_has_scale_says_whether_there_are_metres(got: Answer, has_scale: bool, scale: float) -> None:
    msg = answer_msgs.targets_3d(got)
    assert msg.has_scale == has_scale == (answer_msgs.depth(got) is not None)
    np.testing.assert_equal(msg.scale, scale)
