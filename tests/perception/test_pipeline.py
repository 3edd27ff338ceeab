from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.model_folder import InputSpec, ModelFolder, PromptInput
from focusdepth_core.engine.text_cache import TextCache, write
from focusdepth_core.perception.frame import Frame, Intrinsics
from focusdepth_core.perception.frame_depth import FrameDepth
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.network_inputs import stretched
from focusdepth_core.perception.pipeline import JUDGED, QUANTILES, Pipeline, _target_result
from focusdepth_core.perception.result import Space
from focusdepth_core.perception.target import Target
from focusdepth_core.perception.window import Part
from tests.tiny_model import HEIGHT, WIDTH, BoxEngine, WordEngine, config, write_model_folder

BOX = (20.0, 20.0, 60.0, 50.0)


def model(space: Space = Space.AFFINE_DISPARITY) -> ModelFolder:
    size = config()["input"]
    spec = InputSpec(WIDTH, HEIGHT, tuple(size["mean"]), tuple(size["std"]))
    return ModelFolder(Path(), "tiny", "Apache-2.0", space, ("box",), spec, Path("focus.onnx"), Path("plain.onnx"))


def pipeline(space: Space = Space.AFFINE_DISPARITY) -> Pipeline:
    return Pipeline(model(space), BoxEngine(), BoxEngine())


def frame(width: int = 112, height: int = 84) -> Frame:
    ramp = np.linspace(40, 220, height, dtype=np.uint8)[:, None, None]
    return Frame(np.broadcast_to(ramp, (height, width, 3)))


def test_no_target_asks_the_plain_network_alone() -> None:
    focus, plain = BoxEngine(), BoxEngine()
    result = Pipeline(model(), focus, plain).process(frame(), [])
    assert plain.inputs.keys() == {"image"}
    assert not hasattr(focus, "inputs")
    assert result.targets == ()
    assert result.relative_depth.shape == (84, 112)


def test_mask_is_the_box_at_the_frame() -> None:
    result = pipeline().process(frame(), [Target("mug", BOX)])
    (target,) = result.targets
    rows, cols = np.nonzero(target.mask)
    assert target.target.id == "mug"
    # The mask's grid has 7 px per cell here: its edge is found to a fraction of that.
    np.testing.assert_allclose([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1], BOX, atol=1.6)
    inside = result.relative_depth[target.mask]
    np.testing.assert_allclose(target.raw_quantiles, np.quantile(inside, [0.05, 0.5, 0.95]), rtol=1e-6)
    assert 0.5 < target.confidence < 1


def test_each_target_gets_its_own_mask() -> None:
    boxes = [(5.0, 5.0, 30.0, 30.0), (50.0, 40.0, 100.0, 80.0)]
    result = pipeline().process(frame(), [Target(str(i), box) for i, box in enumerate(boxes)])
    assert [t.target.id for t in result.targets] == ["0", "1"]
    for (x0, y0, x1, y1), target in zip(boxes, result.targets):
        centre = int((y0 + y1) / 2), int((x0 + x1) / 2)
        assert [t.mask[centre] for t in result.targets] == [t is target for t in result.targets]


def test_target_that_the_network_does_not_find() -> None:
    class Blind(BoxEngine):
        def run(self, inputs):
            return {name: value - 1e3 * (name == "mask_logits") for name, value in super().run(inputs).items()}

    (target,) = Pipeline(model(), Blind(), BoxEngine()).process(frame(), [Target("mug", BOX)]).targets
    assert not target.found
    assert target.confidence == 0
    assert np.isnan(target.raw_quantiles).all()


def test_frame_sizes_may_change_from_call_to_call() -> None:
    running = pipeline()
    for width, height in [(112, 84), (640, 480), (50, 90), (30, 20), (112, 84)]:
        result = running.process(frame(width, height), [Target("t", (width / 4, height / 4, width, height))])
        assert result.relative_depth.shape == result.targets[0].mask.shape == (height, width)
        assert result.relative_depth.dtype == np.float32
        assert result.targets[0].mask[height // 2, width // 2]


def test_box_is_cut_to_the_frame_and_refused_outside() -> None:
    result = pipeline().process(frame(), [Target("t", (80, 60, 500, 400))])
    assert result.targets[0].target.box == (80, 60, 112, 84)
    with pytest.raises(ValueError, match="outside the 112 x 84 image"):
        pipeline().process(frame(), [Target("t", (200, 10, 300, 50))])


def test_text_alone_is_refused_by_a_box_model() -> None:
    with pytest.raises(ValueError, match="the text 'red mug' alone, but model tiny takes: box"):
        pipeline().process(frame(), [Target("t", text="red mug")])
    result = pipeline().process(frame(), [Target("t", BOX, "red mug")])
    assert result.targets[0].found


TEXTS = {"left half": (0.25, 0.5, 0.5, 1.0), "top left": (0.25, 0.25, 0.5, 0.5), "nothing": (2.0, 2.0, 0.1, 0.1)}


@pytest.fixture
def by_words(tmp_path: Path) -> Pipeline:
    features, mask = np.zeros((3, 2, 4), np.float32), np.array([[1, 0]] * 3)
    features[:, 0] = list(TEXTS.values())
    write(tmp_path / "texts.npz", list(TEXTS), features, mask)
    words = replace(model(), prompts=("box", "text"), prompt_input=PromptInput(28, (0.5,) * 3, (0.5,) * 3))
    return Pipeline(words, WordEngine(), BoxEngine(), TextCache(tmp_path / "texts.npz"))


def extent(mask: np.ndarray) -> list[int]:
    rows, cols = np.nonzero(mask)
    return [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]


def test_targets_by_text_by_box_and_by_both_in_one_frame(by_words: Pipeline) -> None:
    box = (30.0, 10.0, 90.0, 80.0)
    targets = [Target("text", text="Left half"), Target("box", box), Target("both", box, "left half")]
    result = by_words.process(frame(), targets)
    expected = [(0, 0, 56, 84), box, (30, 10, 56, 80)]
    for target, want in zip(result.targets, expected):
        np.testing.assert_allclose(extent(target.mask), want, atol=2, err_msg=target.target.id)


def test_a_target_by_text_is_where_the_mask_says_so_and_nowhere_else(by_words: Pipeline) -> None:
    result = by_words.process(frame(), [Target("t", text="nothing"), Target("u", text="top left")])
    assert [t.found for t in result.targets] == [False, True]
    assert result.targets[0].confidence == 0
    assert result.relative_depth.shape == (84, 112)


def test_unknown_text_is_refused_with_what_is_near(by_words: Pipeline) -> None:
    with pytest.raises(ValueError, match="what 'left hall' is; nearest known: left half"):
        by_words.check(Target("t", text="left hall"))
    with pytest.raises(ValueError, match="what 'left hall' is"):
        by_words.process(frame(), [Target("t", text="left hall")])
    by_words.check(Target("t", text="left half"))
    assert by_words.process(frame(), [Target("t", BOX)]).targets[0].found, "a box needs no text"


def test_the_prompt_image_shows_what_the_input_shows_stretched_to_a_square(by_words: Pipeline) -> None:
    for width, height in ((112, 84), (640, 200), (50, 90)):
        picture = np.full((height, width, 3), 60, np.uint8)
        picture[height // 3 :, width // 4 :] = 200
        by_words.process(Frame(picture), [Target("t", text="top left")])
        given = by_words._focus.inputs
        image, square = given["image"][0], given["prompt_image"][0]
        assert square.shape == (3, 28, 28) and given["prompt_image"].dtype == np.float32
        std, mean = (np.reshape(values, (3, 1, 1)) for values in (by_words.model.input.std, by_words.model.input.mean))
        canvas = cv2.resize((image * std + mean).transpose(1, 2, 0), (28, 28), interpolation=cv2.INTER_AREA)
        same = np.abs(square.transpose(1, 2, 0) * 0.5 + 0.5 - canvas) < 0.03
        assert same.mean() > 0.8, "all but the cells on edges"


def test_the_prompt_image_has_the_detail_of_the_frame() -> None:
    stripes = np.zeros((168, 224, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than the other input's pixels
    spec = PromptInput(224, (0.5,) * 3, (0.5,) * 3)
    square = stretched(stripes, Letterbox(224, 168, model().input), spec)
    assert np.abs(np.diff(square[0, 0], axis=1)).mean() > 1.5
    assert np.abs(np.diff(Letterbox(224, 168, model().input).image(stripes)[0, 0], axis=1)).max() < 0.1


def test_depth_hint_gives_metres() -> None:
    relative = pipeline().process(frame(), []).relative_depth
    truth = 1 / (0.3 * relative + 1.5)
    hint = np.where(np.random.default_rng(0).random(truth.shape) < 0.05, truth, 0).astype(np.float32)
    result = pipeline().process(frame(), [Target("t", BOX)], hint)
    assert result.scale is not None
    assert (result.scale.scale, result.scale.shift) == pytest.approx((0.3, 1.5), rel=1e-3)
    np.testing.assert_allclose(result.depth_m()[:15], truth[:15], rtol=1e-3)


def test_without_a_hint_the_scale_of_the_last_frame_holds() -> None:
    running, view = pipeline(), frame().image
    relative = running.process(frame(), []).relative_depth
    fitted = running.process(Frame(view, 1.0), [], (1 / (0.3 * relative + 1.5)).astype(np.float32)).scale
    held = running.process(Frame(view, 1.25), []).scale
    assert fitted is not None and held is not None
    assert (held.scale, held.shift, held.age) == (fitted.scale, fitted.shift, 0.25)
    assert running.process(Frame(view, 0.5), []).scale is None


def tinted(view: np.ndarray) -> np.ndarray:
    return np.clip(view.astype(np.int16) + [60, 0, -60], 0, 255).astype(np.uint8)


def test_after_a_cut_no_factor_of_a_target_is_held() -> None:
    running, view, target = pipeline(), frame().image, Target("t", BOX)
    truth = 1 / (0.3 * running.process(frame(), [target]).relative_depth + 1.5)
    nearer, beside = truth.copy(), truth.copy()
    nearer[20:50, 20:60] *= 0.8
    beside[:, :80] = 0
    hints = [(view, nearer), (view, beside), (tinted(view), beside)]
    results = [running.process(Frame(image, 1 + n / 10), [target], hint) for n, (image, hint) in enumerate(hints)]
    assert [result.scale is not None for result in results] == [True] * 3
    assert [result.targets[0].factor for result in results] == pytest.approx([0.8, 0.8, 1], rel=0.03)


def test_after_a_cut_no_scale_is_held_though_the_network_s_values_are_alike() -> None:
    running, view = pipeline(), frame().image
    relative = running.process(frame(), []).relative_depth
    running.process(Frame(view, 1.0), [], (1 / (0.3 * relative + 1.5)).astype(np.float32))
    other = running.process(Frame(tinted(view), 1.1), [])
    assert np.abs(other.relative_depth - relative).mean() < 0.1 * np.ptp(relative)
    assert other.scale is None


def test_a_cut_to_a_frame_that_the_network_fails_on_is_not_forgotten() -> None:
    class Fragile(BoxEngine):
        fails = False

        def run(self, inputs):
            if self.fails:
                raise EngineError("out of memory")
            return super().run(inputs)

    plain, view = Fragile(), frame().image
    running = Pipeline(model(), BoxEngine(), plain)
    relative = running.process(frame(), []).relative_depth
    running.process(Frame(view, 1.0), [], (1 / (0.3 * relative + 1.5)).astype(np.float32))
    plain.fails = True
    with pytest.raises(EngineError, match="out of memory"):
        running.process(Frame(tinted(view), 1.1), [])
    plain.fails = False
    assert running.process(Frame(tinted(view), 1.2), []).scale is None


def test_depth_hint_at_the_edge_of_a_target_is_not_used() -> None:
    hint = np.zeros((84, 112), np.float32)
    hint[48:52, 22:58] = np.linspace(2, 1, 4)[:, None]  # along the lower edge of the box
    assert pipeline().process(frame(), [], hint).scale is not None
    assert pipeline().process(frame(), [Target("t", BOX)], hint).scale is None


def test_depth_hint_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"depth_hint has shape \(48, 64\), the frame \(84, 112\)"):
        pipeline().process(frame(), [], np.zeros((48, 64), np.float32))


def test_a_metric_model_does_not_pay_for_what_a_scale_needs() -> None:
    metric = Pipeline(replace(model(Space.METRIC), focal_px=300.0), BoxEngine(), BoxEngine())
    hint, seen = np.ones((84, 112), np.float32), frame()
    masks, measured, _ = metric._prepare(seen, hint, 2, Space.METRIC)
    assert masks.shape == (2, 84, 112) and not masks.any() and measured is None
    assert metric._prepare(seen, hint, 0, Space.AFFINE_DEPTH)[1].measured.all()


def test_statistics_of_a_large_mask_are_of_some_of_its_pixels_alone() -> None:
    rng = np.random.default_rng(0)
    grid, lb = rng.random((364, 490), np.float32), Letterbox(480, 360, InputSpec(490, 364, (0.0,) * 3, (1.0,) * 3))
    logit = Part((slice(20, 350), slice(30, 470)), rng.normal(1, 2, (330, 440)).astype(np.float32))
    raw = FrameDepth(grid, lb)
    result = _target_result(Target("t", text="t"), logit, None, np.zeros(raw.shape, bool), raw)
    inside = logit.values > 0
    np.testing.assert_array_equal(result.mask[logit.window], inside)
    np.testing.assert_allclose(
        result.raw_quantiles, np.quantile(raw[logit.window][inside], QUANTILES), atol=3 / np.sqrt(JUDGED)
    )
    assert result.confidence == pytest.approx(np.mean(1 / (1 + np.exp(-logit.values[inside]))), abs=0.01)


def test_metric_model_needs_no_hint() -> None:
    result = pipeline(Space.METRIC).process(frame(), [], np.ones((84, 112), np.float32))
    assert result.scale is None
    raw = result.relative_depth
    np.testing.assert_array_equal(result.depth_m(), np.where(raw > 0, raw, np.nan))


def test_every_stage_is_timed() -> None:
    timings = pipeline().process(frame(), [Target("t", BOX)]).timings_ms
    assert list(timings) == ["preprocess", "inference", "postprocess", "scale"]
    assert all(t >= 0 for t in timings.values())


def test_network_that_does_not_fit_its_config_is_refused(tmp_path: Path) -> None:
    size = {**config()["input"], "width": 70}
    with pytest.raises(EngineError, match=r"'image' of plain.onnx is float32 \[1, 3, 42, 56\]"):
        Pipeline.open(write_model_folder(tmp_path, input=size))


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ({"disparity": np.zeros((1, HEIGHT, WIDTH))}, r"no output 'depth', only \['disparity'\]"),
        ({"depth": np.zeros((1, 7, 9))}, r"'depth' has shape \[1, 7, 9\]; config.json asks for \[1, 42, 56\]"),
    ],
)
def test_wrong_outputs_are_refused(outputs: dict[str, np.ndarray], sentence: str) -> None:
    class Wrong:
        def run(self, inputs):
            return outputs

    with pytest.raises(EngineError, match=sentence):
        Pipeline(model(), Wrong(), Wrong()).process(frame(), [])


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_a_network_may_answer_in_another_precision(kind: type) -> None:
    class Other(BoxEngine):
        def run(self, inputs):
            return {name: value.astype(kind) for name, value in super().run(inputs).items()}

    for targets in ([], [Target("mug", BOX)]):
        got = Pipeline(model(), Other(), Other()).process(frame(), targets).relative_depth
        off = np.abs(got - pipeline().process(frame(), targets).relative_depth)
        assert np.mean(off > 0.01) < 0.01, "but for the mask's edge, which is rounded elsewhere"


def test_opened_from_a_folder_it_answers_as_the_same_network_in_numpy(tmp_path: Path) -> None:
    opened = Pipeline.open(write_model_folder(tmp_path), threads=1)
    for targets in ([], [Target("a", BOX), Target("b", (60, 10, 100, 80))]):
        result, expected = opened.process(frame(), targets), pipeline().process(frame(), targets)
        np.testing.assert_allclose(result.relative_depth, expected.relative_depth, atol=1e-5)
        for got, want in zip(result.targets, expected.targets):
            np.testing.assert_array_equal(got.mask, want.mask)


@pytest.mark.parametrize("fx", [60.0, 240.0])
def test_a_metric_model_s_metres_grow_with_the_focal_length(fx: float) -> None:
    metric = Pipeline(replace(model(Space.METRIC), focal_px=300.0), BoxEngine(), BoxEngine())
    seen, view = Intrinsics(fx, fx, 56, 42, 112, 84), frame().image
    result = metric.process(Frame(view, intrinsics=seen), [])
    raw = pipeline().process(frame(), []).relative_depth
    assert result.space is Space.METRIC and result.scale is None
    metres = np.where(raw > 0, raw * (fx / 2) / 300, np.nan)  # the input is half as wide
    np.testing.assert_allclose(result.depth_m(), metres, rtol=1e-5)


def test_without_a_focal_length_a_metric_model_gives_no_metres() -> None:
    metric = Pipeline(replace(model(Space.METRIC), focal_px=300.0), BoxEngine(), BoxEngine())
    result = metric.process(frame(), [])
    assert result.space is Space.AFFINE_DEPTH and result.depth_m() is None
