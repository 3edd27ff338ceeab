"""How a part of the image moved from one frame to the next, from sparse optical flow.

Points are followed forwards and back, and those that do not come back are left out, as by the Median Flow tracker
(Kalal et al., Forward-Backward Error, ICPR 2010).
"""

from __future__ import annotations

from typing import Optional

import cv2
import numpy as np

from focusdepth_core.perception.letterbox import resized
from focusdepth_core.perception.window import bounds, grown

WIDTH = 320  # px, of the small grey images in which motion is looked for
MOST_POINTS = 40
FEWEST_POINTS = 6
RIM = np.ones((3, 3), np.uint8)  # around the part: its outline is often all there is to see of it
WINDOW = (11, 11)
RETURN_PX = 0.7  # farthest from where it started that a point may come back to
FIT_PX = 2.0  # farthest from the common motion that a point may be
FEWEST_IN_STEP = 0.35  # of the points that were looked for
LARGEST_ZOOM = 1.25  # from one frame to the next
MARGIN_PX = 40  # around the part, in which it is looked for


def small_grey(rgb: np.ndarray) -> np.ndarray:
    """H,W,3 -> rows,columns uint8, at most ``WIDTH`` wide."""
    height, width = rgb.shape[:2]
    small = rgb if width <= WIDTH else resized(rgb, WIDTH, max(1, round(height * WIDTH / width)))
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def motion(before: np.ndarray, now: np.ndarray, mask: np.ndarray) -> Optional[np.ndarray]:
    """The shift, turn and zoom, 2,3, that brings ``mask`` (uint8, at the size of both) from ``before`` to ``now``.

    None where too few points of it can be followed: it is hidden, has left the view, or moved too far.
    """
    rim = cv2.dilate(mask, RIM)
    window = grown(bounds(rim.view(bool)), MARGIN_PX, mask.shape)
    rows, columns = window
    step = _of_points(before[window], now[window], rim[window]) if mask[window].any() else None
    if step is None:
        return None
    corner = np.array([columns.start, rows.start])
    step[:, 2] += corner - step[:, :2] @ corner
    return step


def _of_points(before: np.ndarray, now: np.ndarray, mask: np.ndarray) -> Optional[np.ndarray]:
    """2,3 of points inside ``mask``, in px from the corner of both."""
    start = cv2.goodFeaturesToTrack(before, MOST_POINTS, 0.01, 2, mask=mask)
    if start is None or len(start) < FEWEST_POINTS:
        return None
    end, is_seen, _ = cv2.calcOpticalFlowPyrLK(before, now, start, start.copy(), winSize=WINDOW)
    back, is_back, _ = cv2.calcOpticalFlowPyrLK(now, before, end, start.copy(), winSize=WINDOW)
    returned = np.linalg.norm((back - start)[:, 0], axis=1) < RETURN_PX
    good = returned & (is_seen[:, 0] > 0) & (is_back[:, 0] > 0)
    if np.count_nonzero(good) < FEWEST_POINTS:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(start[good], end[good], ransacReprojThreshold=FIT_PX)
    if matrix is None or np.count_nonzero(inliers) < max(FEWEST_POINTS, FEWEST_IN_STEP * len(start)):
        return None
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return matrix if 1 / LARGEST_ZOOM < zoom < LARGEST_ZOOM else None
