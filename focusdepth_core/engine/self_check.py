"""Whether an engine computes what the network does, in terms of depth.

Engines have built without a word and then computed vision transformers wrongly: TensorRT 10.3 in FP16 does
(https://github.com/NVIDIA/TensorRT/issues/4723).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from focusdepth_core.engine.base import Engine, Texts
from focusdepth_core.engine.model_folder import ModelFolder
from focusdepth_core.engine.samples import Sample, Scene, scenes
from focusdepth_core.engine.settings import Thresholds
from focusdepth_core.fde_bench.alignment import MIN_DEPTH_M, Alignment, Prediction, Truth
from focusdepth_core.fde_bench.boundary import boundary_f1, edge_levels
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.network_inputs import network_inputs
from focusdepth_core.perception.result import Space

VERSION = 1  # of how the figures are found; another one has every engine judged again
FOCUS, PLAIN = "focus", "plain"
AT_LEAST = ("boundary_f1", "mask_iou")  # the others are errors
MIN_ABSREL = 0.01  # changes are relative to at least that: of a scene that is answered perfectly they mean nothing


@dataclass(frozen=True)
class Figures:
    """An engine beside the reference; errors are infinite and agreement 0 where a value is not finite.

    ``deviation``: root mean square of the difference, in standard deviations of the reference, of the worst scene. In
    metres, with the scale and shift that fit the reference to the truth, so that an engine whose scale jumps is seen:
    ``difference``, ``difference_foreground``: mean of abs(z - z_ref) / z_ref in the image and on the targets;
    ``boundary_f1``: of the engine's edges, the reference's taken as true. ``absrel_change``: abs(AbsRel / AbsRel_ref
    - 1) on the targets (in the image for the plain network), each aligned to the truth. ``mask_iou``: 1 for the plain
    one.
    """

    deviation: float
    difference: float
    difference_foreground: float
    absrel_change: float
    boundary_f1: float
    mask_iou: float

    def faults(self, limits: Thresholds) -> list[str]:
        """What is beyond its limit; none: the engine may be used."""
        found = []
        for name, value in asdict(self).items():
            limit = getattr(limits, name)
            if not (value >= limit if name in AT_LEAST else value <= limit):
                sign = "below" if name in AT_LEAST else "above"
                found.append(f"{name} {value:.3g} is {sign} {limit:g}")
        return found


NOTHING_RIGHT = Figures(np.inf, np.inf, np.inf, np.inf, 0.0, 0.0)


def recorded(verdict: Any) -> Optional[Figures]:
    """Of an engine's manifest; None if that has none, or damaged ones, or others than these."""
    try:
        return Figures(**{name: float(value) for name, value in verdict["figures"].items()})
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def answered(model: ModelFolder, networks: Mapping[str, Engine], texts: Optional[Texts]) -> list[Sample]:
    """Scenes with the answers of ``networks``, focus and plain. Raises as ``scenes``."""
    found = []
    for scene in scenes(model.input.width, model.input.height, texts):
        focus, plain = (answer(model, networks[name], name, scene, texts) for name in (FOCUS, PLAIN))
        found.append(Sample(**vars(scene), focus=focus[0], plain=plain[0], mask_logits=focus[1]))
    return found


def check(
    model: ModelFolder, engine: Engine, network: str, samples: Sequence[Sample], texts: Optional[Texts]
) -> Figures:
    """``network``: focus or plain. Raises ``EngineError`` if the engine cannot run them."""
    found = []
    for sample in samples:
        depth, logits = answer(model, engine, network, sample, texts)
        if not (np.isfinite(depth).all() and np.isfinite(logits).all()):
            return NOTHING_RIGHT
        found.append(_figures(depth, logits, network, sample, model.space))
    means = {name: float(np.nanmean([getattr(f, name) for f in found])) for name in asdict(found[0])}
    return Figures(**means | {"deviation": max(f.deviation for f in found)})


def answer(
    model: ModelFolder, engine: Engine, network: str, scene: Scene, texts: Optional[Texts]
) -> tuple[np.ndarray, np.ndarray]:
    """Depth h,w and mask logits T,rows,columns, T = 0 for the plain network."""
    letterbox = Letterbox(model.input.width, model.input.height, model.input)
    targets = scene.targets if network == FOCUS else ()
    outputs = engine.run(network_inputs(model, scene.frame, letterbox, targets, texts, {}, engine))
    return outputs["depth"][0, :: scene.stride, :: scene.stride], outputs.get("mask_logits", np.zeros((0, 1, 1)))


def _figures(depth: np.ndarray, logits: np.ndarray, network: str, sample: Sample, space: Space) -> Figures:
    reference = sample.focus if network == FOCUS else sample.plain
    masks = (logits > 0, sample.mask_logits > 0) if network == FOCUS else (sample.mask, sample.mask)
    truth = Truth(sample.depth_m)
    aligned, own = Prediction(reference, space, truth), Prediction(depth, space, truth)
    z_ref, z = (_metres(raw, space, aligned.alignment, truth) for raw in (reference, depth))
    error = np.abs(z - z_ref) / z_ref
    region = sample.mask if network == FOCUS else truth.valid
    absrel, absrel_ref = (float(one.error[region].mean()) for one in (own, aligned))
    return Figures(
        float(np.sqrt(np.mean((depth - reference) ** 2)) / reference.std()),
        float(error.mean()),
        float(error[sample.mask].mean()),
        abs(absrel - absrel_ref) / max(absrel_ref, MIN_ABSREL),
        boundary_f1(edge_levels(z), edge_levels(z_ref), truth.valid),
        _iou(*masks),
    )


def _metres(raw: np.ndarray, space: Space, alignment: Alignment, truth: Truth) -> np.ndarray:
    """By a given scale and shift, within what ``Prediction`` allows."""
    value = (alignment.scale * raw + alignment.shift).astype(np.float32)
    if space is Space.AFFINE_DISPARITY:
        return 1 / np.clip(value, 1 / truth.max_depth_m, 1 / MIN_DEPTH_M)
    return np.clip(value, MIN_DEPTH_M, truth.max_depth_m)


def _iou(mask: np.ndarray, expected: np.ndarray) -> float:
    union = np.count_nonzero(mask | expected)
    return np.count_nonzero(mask & expected) / union if union else 1.0
