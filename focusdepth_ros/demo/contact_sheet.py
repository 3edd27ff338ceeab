"""The demo's picture: some frames as rows, from the image to the target's points."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from focusdepth_core.fde_bench.metrics import PairMetrics
from focusdepth_core.perception.result import Scale
from focusdepth_ros.demo.scores import Scored
from focusdepth_ros.demo.side_view import side_view
from focusdepth_ros.drawing import PALETTE, draw_box, draw_outline, in_colour

CELL = (280, 210)  # width, height, px
GAP, HEAD, CAPTION = 10, 34, 24
BAR = 62  # width of a colour bar with its numbers
INK, PAPER = (30, 30, 30), (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX
ROWS_PER_TARGET = 3
MAX_ERROR = 0.1  # AbsRel at which the error's colours end
TITLES = (
    "image and box",
    "plain depth",
    "focused depth",
    "truth",
    "plain error",
    "focused error",
    "target from the side",
)


def contact_sheet(scored: Sequence[Scored]) -> np.ndarray:
    """H,W,3 uint8 RGB; a few rows per target, spread over its time. ``scored`` is not empty."""
    rows = [_row(one) for one in chosen(scored)]
    head = np.full((HEAD, rows[0].shape[1], 3), PAPER, np.uint8)
    for title, x in zip(TITLES, _column_x()):
        _write(head, title, x, HEAD - 12, 0.55)
    return np.concatenate([head, *rows])


def chosen(scored: Sequence[Scored]) -> list[Scored]:
    picked = []
    for target_id in dict.fromkeys(one.shot.target_id for one in scored):
        same = [one for one in scored if one.shot.target_id == target_id]
        places = np.linspace(0, len(same) - 1, min(ROWS_PER_TARGET, len(same)) + 2)[1:-1]
        picked += [same[round(place)] for place in places]
    return picked


def _row(one: Scored) -> np.ndarray:
    shot, truth = one.shot, one.shot.truth_m
    valid = truth > 0
    low, high = np.quantile(truth[valid], (0.02, 0.98))
    plain_m, focus_m = _metres(one.plain, one.plain_metrics, one), _metres(shot.relative_depth, one.focus_metrics, one)
    shown_truth = np.where(valid, truth, np.nan)
    cells = [_photo(one)]
    cells += [_depth(depth, low, high) for depth in (plain_m, focus_m, shown_truth)]
    cells += [_error(depth, shown_truth) for depth in (plain_m, focus_m)]
    captions = [
        shot.target.text if shot.target else "",
        _caption("target", one.plain_metrics, "foreground"),
        _caption("target", one.focus_metrics, "foreground"),
        f"{low:.2f} to {high:.2f} m",
        _caption("band", one.plain_metrics, "band"),
        _caption("band", one.focus_metrics, "band"),
        "grey: truth",
    ]
    row = np.full((CELL[1] + CAPTION + GAP, _width(), 3), PAPER, np.uint8)
    for cell, caption, x in zip([*cells, side_view(shot, CELL)], captions, _column_x()):
        row[: CELL[1], x : x + CELL[0]] = cell
        _write(row, caption, x, CELL[1] + 17, 0.48)
    depth_bar_x, error_bar_x = _bar_x()
    _bar(row, depth_bar_x, cv2.COLORMAP_INFERNO, [(0.0, f"{high:.2f}"), (1.0, f"{low:.2f} m")])
    _bar(row, error_bar_x, cv2.COLORMAP_VIRIDIS, [(0.0, "0"), (1.0, f"{100 * MAX_ERROR:.0f} %")])
    return row


def _column_x() -> list[int]:
    """Left edges; a colour bar follows the truth and the last error."""
    xs, x = [], GAP
    for title in TITLES:
        xs.append(x)
        x += CELL[0] + GAP + (BAR if title in ("truth", "focused error") else 0)
    return xs


def _bar_x() -> tuple[int, int]:
    xs = dict(zip(TITLES, _column_x()))
    return xs["truth"] + CELL[0] + 6, xs["focused error"] + CELL[0] + 6


def _width() -> int:
    return _column_x()[-1] + CELL[0] + GAP


def _metres(raw: np.ndarray, metrics: PairMetrics, one: Scored) -> np.ndarray:
    """By the alignment that the metrics used."""
    fit = metrics.alignment
    return Scale(fit.scale, fit.shift, one.space, "truth", residual=0.0, inliers=1.0).to_metres(raw)


def _photo(one: Scored) -> np.ndarray:
    image = one.shot.image.copy()
    draw_outline(image, one.shot.answered_mask, PALETTE[1])
    if one.shot.target is not None:
        roi = one.shot.target.roi
        box = (roi.x_offset, roi.y_offset, roi.x_offset + roi.width, roi.y_offset + roi.height)
        draw_box(image, box, PALETTE[0])
    return _fit(image)


def _depth(depth_m: np.ndarray, low: float, high: float) -> np.ndarray:
    """Near is bright."""
    return _fit(in_colour(-depth_m, -high, -low, cv2.COLORMAP_INFERNO))


def _error(depth_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    return _fit(in_colour(np.abs(depth_m / truth_m - 1), 0.0, MAX_ERROR, cv2.COLORMAP_VIRIDIS))


def _caption(name: str, metrics: PairMetrics, region: str) -> str:
    return f"AbsRel of the {name}: {100 * metrics.regions[region].absrel:.1f} %"


def _fit(rgb: np.ndarray) -> np.ndarray:
    """In the cell's size, letterboxed on white."""
    scale = min(CELL[0] / rgb.shape[1], CELL[1] / rgb.shape[0])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=interpolation)[: CELL[1], : CELL[0]]
    cell = np.full((CELL[1], CELL[0], 3), PAPER, np.uint8)
    cell[: small.shape[0], : small.shape[1]] = small
    return cell


def _bar(row: np.ndarray, x: int, colormap: int, marks: Sequence[tuple[float, str]]) -> None:
    """A vertical colour bar from 0 at the bottom to 1 at the top."""
    ramp = np.linspace(1, 0, CELL[1], dtype=np.float32)[:, None]
    row[: CELL[1], x : x + 12] = in_colour(np.repeat(ramp, 12, axis=1), 0.0, 1.0, colormap)
    for unit, text in marks:
        _write(row, text, x + 15, round(12 + (1 - unit) * (CELL[1] - 14)), 0.4)


def _write(rgb: np.ndarray, text: str, x: int, y: int, size: float) -> None:
    cv2.putText(rgb, text, (x, y), FONT, size, INK, 1, cv2.LINE_AA)
