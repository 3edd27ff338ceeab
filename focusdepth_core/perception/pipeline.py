"""From a frame and its targets to depth, masks and scale."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Optional, Union

import numpy as np

from focusdepth_core.engine.base import Engine, EngineError, Texts
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.open import open_model
from focusdepth_core.perception.cut import CutDetector
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.frame_depth import FrameDepth
from focusdepth_core.perception.keyframes import Keyframes
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.network_inputs import check_target, check_targets, network_inputs
from focusdepth_core.perception.quantiles import quantiles
from focusdepth_core.perception.result import FocusResult, Scale, Space, TargetResult
from focusdepth_core.perception.scale import ScaleFitter
from focusdepth_core.perception.sensor_depth import SensorDepth
from focusdepth_core.perception.target import Target
from focusdepth_core.perception.target_factor import TargetFactors
from focusdepth_core.perception.upsample import split_upsample
from focusdepth_core.perception.window import Part

QUANTILES = (0.05, 0.5, 0.95)
JUDGED = 1000  # pixels of a mask that its confidence and quantiles are taken of: every n-th is as good
NOWHERE = -50.0  # logit of a mask that is certainly empty


class Pipeline:
    """One model with its engines. Not for use by several threads at once: the scale remembers the last frames."""

    def __init__(
        self,
        model: ModelFolder,
        focus: Engine,
        plain: Engine,
        texts: Optional[Texts] = None,
        keyframes: Optional[Keyframes] = None,
    ) -> None:
        """``texts``: for a model that takes text; ``keyframes``: finds targets by text alone in its place."""
        self.model = model
        self._keyframes = keyframes
        self._texts = texts
        self._focus = focus
        self._plain = plain
        self._focus_scale, self._plain_scale = ScaleFitter(), ScaleFitter()  # two networks, each with its own shift
        self._factors = TargetFactors()
        self._cuts, self._was_cut = CutDetector(), False
        self._beside = ThreadPoolExecutor(1, "beside")  # for what need not wait for the network

    @classmethod
    def open(
        cls,
        model_dir: Union[str, Path],
        backend: str = "auto",
        threads: int = 0,
        report: Optional[Callable[[str], None]] = None,
        keyframes: Optional[Keyframes] = None,
    ) -> Pipeline:
        """Reads the model folder, opens both networks and runs each once, so that the first frame is not the slow one.

        ``threads``: CPU threads per inference, 0 = the backend's choice; ``report``: see ``open_model``;
        ``keyframes``: as for a pipeline made by hand. Raises ``ModelFolderError`` for a bad folder, ``EngineError`` for
        networks that do not open or do not fit it, ``ValueError`` for an unknown backend.
        """
        model = ModelFolder.read(model_dir)
        focus, plain, texts, *_ = open_model(model, backend, threads, report)
        pipeline = cls(model, focus, plain, texts, keyframes)
        width, height = model.input.width, model.input.height
        blank = Frame(np.zeros((height, width, 3), np.uint8))
        pipeline.process(blank, [])
        pipeline.process(blank, [Target("warm-up", (0.0, 0.0, float(width), float(height)))])
        return pipeline

    @property
    def backend(self) -> str:
        """What runs the network for frames with a target."""
        return self._focus.name

    def check(self, target: Target) -> None:
        """Raises ``ValueError`` for a target that the model cannot be asked for: by a text it does not take or know."""
        if self._keyframes is not None and target.box is None:
            self._keyframes.check(target)
        else:
            check_target(self.model, self._texts, target)

    def process(self, frame: Frame, targets: Sequence[Target], depth_hint: Optional[np.ndarray] = None) -> FocusResult:
        """Without a target the plain network answers.

        ``depth_hint``: H,W at the frame's size, float32 metres or uint16 millimetres; 0, NaN or infinite where nothing
        was measured. A relative model's scale is fitted to the hints of this frame and those before it, by their
        stamps, and has the age of the newest; without any it is None. ``timings_ms`` has preprocess, inference,
        postprocess and scale. Raises ``ValueError`` for a text that the model does not take or does not know, a box
        outside the frame or a hint of another size.
        """
        start = time.perf_counter()
        _check_hint(frame, depth_hint)
        placed = list(targets) if self._keyframes is None else self._keyframes.carry(frame, targets)
        known = [target.clipped(frame.width, frame.height) for target in placed if target is not None]
        check_targets(self.model, known)
        letterbox = Letterbox(frame.width, frame.height, self.model.input)
        engine, priors = self._focus if known else self._plain, self._priors(letterbox)
        inputs = network_inputs(self.model, frame, letterbox, known, self._texts, priors, engine)
        preprocessed = time.perf_counter()
        space = self._space(frame)
        prepared = self._beside.submit(self._prepare, frame, depth_hint, len(known), space)
        depth, logits, presence = self._infer(inputs)
        inferred = time.perf_counter()
        frame_logits = [letterbox.positive(logit) for logit in logits]
        raw = split_upsample(depth, logits, frame_logits, letterbox)
        if space is Space.METRIC:
            raw = self._in_metres(raw, frame, letterbox)
        masks, hint, is_cut = prepared.result()
        found = [_target_result(*one, raw) for one in zip(known, frame_logits, presence, masks)]
        if self._keyframes is not None:
            self._keyframes.compare(found)
        postprocessed = time.perf_counter()
        self._was_cut = False
        scale = None if space is Space.METRIC else self._fit_scale(raw, space, hint, found, frame.stamp, is_cut)
        found = self._factors.correct(found, raw, hint, scale, frame.stamp)
        times = [start, preprocessed, inferred, postprocessed, time.perf_counter()]
        stages = ("preprocess", "inference", "postprocess", "scale")
        timings_ms = {name: 1e3 * (b - a) for name, a, b in zip(stages, times, times[1:])}
        return FocusResult(frame, raw, space, _of_all(targets, placed, found, raw.shape), scale, timings_ms)

    def _priors(self, letterbox: Letterbox) -> Mapping[str, np.ndarray]:
        """See ``network_inputs``."""
        if self._keyframes is None or self.model.mask_grid is None:
            return {}
        return self._keyframes.priors(letterbox, self.model.mask_grid)

    def _infer(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[Optional[float]]]:
        """Depth h,w, mask logits T,gh,gw of the network's input, and presence of T targets.

        A target that is given by a text alone has no mask where the network does not find such a thing.
        """
        height, width = self.model.input.height, self.model.input.width
        if "boxes" not in inputs:
            depth = _output(self._plain.run(inputs), "depth", (1, height, width))
            return depth[0], np.empty((0, 1, 1), np.float32), []
        outputs = self._focus.run(inputs)
        depth = _output(outputs, "depth", (1, height, width))
        logits = _output(outputs, "mask_logits", (len(inputs["boxes"]), None, None))
        if self.model.presence_threshold is None:
            return depth[0], logits, [None] * len(logits)
        presence = _output(outputs, "presence", (len(logits),))
        absent = (presence < self.model.presence_threshold) & (inputs["has_box"] < 0.5)
        return depth[0], np.where(absent[:, None, None], np.float32(NOWHERE), logits), presence.tolist()

    def _prepare(
        self, frame: Frame, depth_hint: Optional[np.ndarray], targets: int, space: Space
    ) -> tuple[np.ndarray, Optional[SensorDepth], bool]:
        """Masks to be filled in, T,H,W, and, for a space that has a scale, what was measured and whether the frame
        shows another scene than the last one that was answered.
        """
        masks = np.zeros((targets, frame.height, frame.width), bool)
        if space is Space.METRIC:
            return masks, None, False
        self._was_cut |= self._cuts.is_cut(frame.image)
        return masks, None if depth_hint is None else SensorDepth(depth_hint), self._was_cut

    def _space(self, frame: Frame) -> Space:
        """A metric model that needs the focal length gives depth up to scale where that is unknown."""
        is_blind = self.model.focal_px is not None and frame.intrinsics is None
        return Space.AFFINE_DEPTH if is_blind else self.model.space

    def _in_metres(self, raw: FrameDepth, frame: Frame, letterbox: Letterbox) -> FrameDepth:
        """What a metric model gives."""
        if self.model.focal_px is None or frame.intrinsics is None:
            return raw
        return raw.scaled(frame.intrinsics.fx * letterbox.width / frame.width / self.model.focal_px)

    def _fit_scale(
        self,
        raw: FrameDepth,
        space: Space,
        hint: Optional[SensorDepth],
        results: Sequence[TargetResult],
        stamp: float,
        is_cut: bool,
    ) -> Optional[Scale]:
        if is_cut:
            self._focus_scale.restart()
            self._plain_scale.restart()
            self._factors.restart()
        fitter = self._focus_scale if results else self._plain_scale
        masks, targets = [result.part for result in results], [result.target for result in results]
        return fitter.fit(raw, hint, space, masks, stamp, targets)


def _check_hint(frame: Frame, depth_hint: Optional[np.ndarray]) -> None:
    size = (frame.height, frame.width)
    if depth_hint is not None and depth_hint.shape != size:
        raise ValueError(f"depth_hint has shape {depth_hint.shape}, the frame {size}; publish both at the same size")


def _output(outputs: Mapping[str, np.ndarray], name: str, shape: tuple[Optional[int], ...]) -> np.ndarray:
    if name not in outputs:
        raise EngineError(f"the network has no output '{name}', only {sorted(outputs)}")
    value = np.asarray(outputs[name], np.float32)  # of another type OpenCV would leave what it is to fill as it is
    if value.ndim != len(shape) or any(want is not None and got != want for got, want in zip(value.shape, shape)):
        raise EngineError(f"output '{name}' has shape {list(value.shape)}; config.json asks for {list(shape)}")
    return value


def _target_result(
    target: Target, logit: Part, presence: Optional[float], mask: np.ndarray, raw: FrameDepth
) -> TargetResult:
    """``mask``: H,W bool, all false; the result's own from here on."""
    inside = Part(logit.window, logit.values > 0).tight()
    if not inside.values.size:
        return TargetResult(target, mask, 0.0, (np.nan, np.nan, np.nan), presence, window=inside.window)
    mask[inside.window] = inside.values
    step = max(1, np.count_nonzero(inside.values) // JUDGED)
    logits = logit.within(inside.window)[inside.values][::step]
    confidence = float(np.mean(1 / (1 + np.exp(-logits))))
    low, median, high = quantiles(raw.inside(inside)[inside.values][::step], QUANTILES).tolist()
    return TargetResult(target, mask, confidence, (low, median, high), presence, window=inside.window)


def _of_all(
    targets: Sequence[Target], placed: Sequence[Optional[Target]], found: Sequence[TargetResult], shape: tuple[int, ...]
) -> tuple[TargetResult, ...]:
    """The results of the targets that have a place, and between them nothing for those that have none."""
    rest = iter(found)
    return tuple(
        TargetResult(asked, np.zeros(shape, bool), 0.0, (np.nan, np.nan, np.nan))
        if place is None
        else _named(next(rest), asked)
        for asked, place in zip(targets, placed)
    )


def _named(result: TargetResult, asked: Target) -> TargetResult:
    """By the text that it was asked for, which the network was not told if the target was carried here."""
    return replace(result, target=replace(result.target, text=asked.text))
