"""A target's points seen from the side of the camera."""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import PointCloud2

from focusdepth_ros.demo.recording import Shot

PAPER, INK, GRID, TRUTH = (255, 255, 255), (90, 90, 90), (228, 228, 228), (190, 190, 190)
LABEL_MARGIN = 18  # px below the plot for the scale
FONT = cv2.FONT_HERSHEY_SIMPLEX
STEPS_M = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # of the grid
MAX_LINES = 8


def side_view(shot: Shot, size: tuple[int, int]) -> np.ndarray:
    """``size``: width, height. Depth z runs to the right and y down, both in metres at one scale.

    The view is centred on the true points, so that answers far from them lie outside.
    """
    canvas = np.full((size[1], size[0], 3), PAPER, np.uint8)
    true_points = _true_points(shot)
    low, high = np.quantile(true_points[:, 1:], (0.01, 0.99), axis=0)
    centre, extent = (low + high) / 2, np.maximum(high - low, 0.02)
    plot = np.array([size[1] - LABEL_MARGIN, size[0]])  # y, z
    px_per_m = float((plot / (2.2 * extent)).min())
    _grid(canvas, centre, plot, px_per_m)
    _scatter(canvas, true_points, np.full((len(true_points), 3), TRUTH), centre, plot, px_per_m)
    if "target_points" in shot.messages:
        points, colours = _answered_points(shot.messages["target_points"])
        _scatter(canvas, points, colours, centre, plot, px_per_m)
    cv2.rectangle(canvas, (0, 0), (size[0] - 1, int(plot[0]) - 1), INK, 1)
    return canvas


def _true_points(shot: Shot) -> np.ndarray:
    """N,3 in the optical frame, of the target's visible pixels."""
    info = shot.messages["camera_info"]
    v, u = np.nonzero(shot.true_mask)
    z = shot.truth_m[v, u]
    return np.stack([(u - info.k[2]) * z / info.k[0], (v - info.k[5]) * z / info.k[4], z], axis=1)


def _answered_points(msg: PointCloud2) -> tuple[np.ndarray, np.ndarray]:
    """N,3 metres and N,3 uint8 RGB."""
    rows = np.frombuffer(msg.data, np.float32).reshape(msg.width, -1)
    colours = rows[:, 3].view(np.uint32)[:, None] >> np.array([16, 8, 0], np.uint32) & 255
    return rows[:, :3], colours.astype(np.uint8)


def _scatter(
    canvas: np.ndarray, points: np.ndarray, colours: np.ndarray, centre: np.ndarray, plot: np.ndarray, px_per_m: float
) -> None:
    """2 x 2 px per point; those outside the plot are left out."""
    at = np.rint((points[:, 1:] - centre) * px_per_m + plot / 2).astype(int)
    inside = ((at >= 0) & (at < plot - 1)).all(axis=1)
    rows, cols = at[inside].T
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        canvas[rows + dy, cols + dx] = colours[inside]


def _grid(canvas: np.ndarray, centre: np.ndarray, plot: np.ndarray, px_per_m: float) -> None:
    """Lines of equal depth with their distance from the camera."""
    half = plot[1] / 2 / px_per_m
    step = next((step for step in STEPS_M if 2 * half / step <= MAX_LINES), STEPS_M[-1])
    for line in range(int(np.ceil((centre[1] - half) / step)), int((centre[1] + half) / step) + 1):
        x = round((line * step - centre[1]) * px_per_m + plot[1] / 2)
        cv2.line(canvas, (x, 0), (x, int(plot[0])), GRID, 1)
        if 12 <= x <= plot[1] - 30:
            cv2.putText(canvas, f"{line * step:.2f}", (x - 12, int(plot[0]) + 13), FONT, 0.36, INK, 1, cv2.LINE_AA)
