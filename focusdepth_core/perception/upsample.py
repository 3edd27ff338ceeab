"""Depth from the network's grid to the frame with a step, not a ramp, at the edge of each target."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from focusdepth_core.perception.letterbox import Letterbox

# A network blurs the samples next to an edge over both surfaces. On synthetic edges, sent through the grids of a
# 224 x 168 network, leaving out one sample lowered AbsRel in the 10 px band by 5 to 60 %; two were worse on thin parts.
EDGE_KERNEL = np.ones((3, 3), np.uint8)
REACH_KERNEL = np.ones((5, 5), np.uint8)  # a left-out sample has one farther inside within 2; thin parts have none


def split_upsample(
    depth: np.ndarray, logits: np.ndarray, frame_logits: Sequence[np.ndarray], letterbox: Letterbox
) -> np.ndarray:
    """Raw depth of the network's input h,w -> H,W float32 at the frame, without mixtures of target and surroundings.

    ``logits``: T,gh,gw mask logits over the input; ``frame_logits``: the same maps at the frame, each H,W. The largest
    positive logit says which target a pixel or a sample belongs to. Pixels of one target, and those of none, are
    interpolated from samples of the same kind alone, and of these the ones next to an edge give way to the nearest one
    farther inside, unless the part is too thin to have one. A target so small that it has no sample keeps plain
    bilinear values.
    """
    used = np.s_[: letterbox.height, : letterbox.width]
    depth, size = depth[used], depth.shape[::-1]
    sample_labels = _labels([cv2.resize(logit, size)[used] for logit in logits], depth.shape)
    out = _resized(depth, letterbox)
    labels = _labels(frame_logits, out.shape)
    for label in range(len(logits) + 1):
        samples = sample_labels == label
        if samples.any() and not samples.all():
            np.copyto(out, _resized(_extended(depth, samples), letterbox), where=labels == label)
    return out


def _resized(depth: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    return cv2.resize(depth, (letterbox.frame_width, letterbox.frame_height), interpolation=cv2.INTER_LINEAR)


def _labels(logits: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Index + 1 of the largest positive logit of each place, 0 where there is none."""
    labels = np.zeros(shape, np.uint16)
    best = np.zeros(shape, np.float32)
    for label, logit in enumerate(logits, start=1):
        labels[logit > best] = label
        np.maximum(best, logit, out=best)
    return labels


def _extended(depth: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """``depth`` with every place outside ``samples``, and those at their edge, set to the nearest sample inside."""
    inside = samples.astype(np.uint8)
    deep = cv2.erode(inside, EDGE_KERNEL)
    core = np.where(cv2.dilate(deep, REACH_KERNEL), deep, inside)
    _, nearest = cv2.distanceTransformWithLabels(1 - core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    values = np.empty(nearest.max() + 1, np.float32)
    values[nearest[core > 0]] = depth[core > 0]
    return values[nearest]
