"""Depth from the network's grid to the frame with a step, not a ramp, at the edge of each target."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from focusdepth_core.perception.frame_depth import FrameDepth, Inset
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.window import Part, Window, common, grown, merged, overlap

# A network blurs the samples next to an edge over both surfaces. On synthetic edges, sent through the grids of a
# 224 x 168 network, leaving out one sample lowered AbsRel in the 10 px band by 5 to 60 %; two were worse on thin parts.
EDGE_KERNEL = np.ones((3, 3), np.uint8)
REACH_KERNEL = np.ones((5, 5), np.uint8)  # a left-out sample has one farther inside within 2; thin parts have none
REACH = 3  # samples that a target's pixels take part in, beyond its own


def split_upsample(
    depth: np.ndarray, logits: np.ndarray, frame_logits: Sequence[Part], letterbox: Letterbox
) -> FrameDepth:
    """Raw depth of the network's input h,w float32 at the frame, without mixtures of target and surroundings.

    ``logits``: T,gh,gw mask logits over the input; ``frame_logits``: what of them is positive at the frame. The largest
    positive logit says which target a pixel or a sample belongs to. Pixels of one target, and those of none, are
    interpolated from samples of the same kind alone, and of these the ones next to an edge give way to the nearest one
    farther inside, unless the part is too thin to have one. A target so small that it has no sample takes the values of
    its surroundings. Only what lies around the targets is worked on.
    """
    height, width = depth.shape
    over_input = Letterbox(width, height, letterbox.spec)
    labels = _labels([over_input.positive(logit) for logit in logits], depth.shape)
    windows = [_window_of_samples(part.window, letterbox) for part in frame_logits]
    insets, own = [], np.empty_like(depth)
    for target, ((window, _), around) in enumerate(zip(frame_logits, windows)):
        samples = labels[around] == target + 1
        if samples.any():  # what else is in ``own`` is not read
            own[around] = _extended(depth[around], _core(samples))
            part = Part(window, letterbox.to_frame(own, window))
            insets.append(Inset(part, _owned(frame_logits, target)))
    return FrameDepth(_surroundings(depth, labels, windows), letterbox, insets)


def _labels(logits: Sequence[Part], shape: tuple[int, ...]) -> np.ndarray:
    """Index + 1 of the largest positive logit of each place, 0 where there is none."""
    labels = np.zeros(shape, np.uint16)
    for index, part in enumerate(logits):
        labels[part.window][_owned(logits, index)] = index + 1
    return labels


def _owned(logits: Sequence[Part], index: int) -> np.ndarray:
    """Where in its window a target's logit is positive and the largest; among equals the first target has the place."""
    own = logits[index]
    owned = Part(own.window, own.values > 0)
    for place, other in enumerate(logits):
        if place != index and overlap(own.window, other.window):
            shared = common(own.window, other.window)
            mine, theirs, still = own.within(shared), other.within(shared), owned.within(shared)
            np.logical_and(still, mine > theirs if place < index else mine >= theirs, out=still)
    return owned.values


def _surroundings(depth: np.ndarray, labels: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """``depth`` with every place in ``windows`` that is not well inside of what surrounds the targets set to the
    nearest one that is."""
    out = depth.copy()
    for window in merged(windows):
        samples = labels[window] == 0
        if samples.any():
            out[window] = _extended(depth[window], _core(samples))
    return out


def _window_of_samples(window: Window, letterbox: Letterbox) -> Window:
    """Around all samples from which the pixels of ``window`` are interpolated; empty if it is."""
    scales = letterbox.height / letterbox.frame_height, letterbox.width / letterbox.frame_width
    rows, columns = (
        slice(int((pixels.start - 1) * scale), int((pixels.stop + 1) * scale)) if pixels.stop else pixels
        for pixels, scale in zip(window, scales)
    )
    return grown((rows, columns), REACH, (letterbox.height, letterbox.width)) if rows.stop else window


def _core(samples: np.ndarray) -> np.ndarray:
    """uint8, 1 for ``samples``, h,w bool, without those at their edge unless the part is thin."""
    inside = samples.view(np.uint8)
    deep = cv2.erode(inside, EDGE_KERNEL)
    return np.where(cv2.dilate(deep, REACH_KERNEL), deep, inside)


def _extended(depth: np.ndarray, core: np.ndarray) -> np.ndarray:
    """``depth`` with every place outside ``core`` set to the nearest one inside, of which there must be one."""
    _, nearest = cv2.distanceTransformWithLabels(1 - core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return depth[core.view(bool)][nearest - 1]  # OpenCV numbers the places inside row by row, from 1
