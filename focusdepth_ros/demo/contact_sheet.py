"""The demo's picture: some frames as rows, from the image to the target's points."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from focusdepth_core.fde_bench.metrics import PairMetrics
from focusdepth_core.perception.result import Scale
from focusdepth_ros.demo.recording import Shot
from focusdepth_ros.demo.scores import Scored
from focusdepth_ros.demo.side_view import side_view
from focusdepth_ros.drawing import PALETTE, draw_box, draw_outline, in_colour

CELL = (300, 225)  # width, height, px
GAP, HEAD, CAPTION = 10, 36, 26
BAR = 66  # width of a colour bar with its numbers
INK, PAPER, WINDOW = (30, 30, 30), (255, 255, 255), (235, 235, 235)
FONT = cv2.FONT_HERSHEY_SIMPLEX
ROWS_PER_TARGET = 2
CONTEXT = 2.4  # the depth is shown around the target, in a window this much larger than its box
LEAST_WINDOW = 0.3  # of the image's width
MAX_ERROR = 0.1  # AbsRel at which the error's colours end
TITLES = ("image, box, mask", "plain depth", "focused depth", "truth", "plain error", "focused error", "from the side")

Window = tuple[slice, slice]  # rows, columns


def contact_sheet(scored: Sequence[Scored]) -> np.ndarray:
    """H,W,3 uint8 RGB; a few rows per target, spread over its time. ``scored`` is not empty."""
    rows = [_row(one) for one in chosen(scored)]
    head = np.full((HEAD, rows[0].shape[1], 3), PAPER, np.uint8)
    for title, x in zip(TITLES, _column_x()):
        _write(head, title, x, HEAD - 12, 0.6)
    return np.concatenate([head, *rows])


def chosen(scored: Sequence[Scored]) -> list[Scored]:
    picked = []
    for target_id in dict.fromkeys(one.shot.target_id for one in scored):
        same = [one for one in scored if one.shot.target_id == target_id]
        places = np.linspace(0, len(same) - 1, min(ROWS_PER_TARGET, len(same)) + 2)[1:-1]
        picked += [same[round(place)] for place in places]
    return picked


def _row(one: Scored) -> np.ndarray:
    shot, window = one.shot, _window(one.shot)
    truth = np.where(shot.truth_m > 0, shot.truth_m, np.nan)[window]
    plain = _metres(one.plain, one.plain_metrics, one)[window]
    focus = _metres(shot.relative_depth, one.focus_metrics, one)[window]
    near, far = np.nanquantile(truth, (0.01, 0.99))
    cells = [_photo(shot, window)]
    cells += [_fit(in_colour(1 / depth, 1 / far, 1 / near)) for depth in (plain, focus, truth)]
    cells += [_error(depth, truth) for depth in (plain, focus)]
    cells += [side_view(shot, CELL)]
    captions = [
        shot.target.text if shot.target else "",
        _caption("target", one.plain_metrics, "foreground"),
        _caption("target", one.focus_metrics, "foreground"),
        f"{near:.2f} to {far:.2f} m",
        _caption("band", one.plain_metrics, "band"),
        _caption("band", one.focus_metrics, "band"),
        "depth in m; grey: truth",
    ]
    row = np.full((CELL[1] + CAPTION + GAP, _width(), 3), PAPER, np.uint8)
    for cell, caption, x in zip(cells, captions, _column_x()):
        row[: CELL[1], x : x + CELL[0]] = cell
        _write(row, caption, x, CELL[1] + 18, 0.5)
    depth_bar_x, error_bar_x = _bar_x()
    middle = 2 / (1 / near + 1 / far)
    _bar(row, depth_bar_x, cv2.COLORMAP_INFERNO, (f"{far:.2f}", f"{middle:.2f}", f"{near:.2f} m"))
    _bar(row, error_bar_x, cv2.COLORMAP_VIRIDIS, ("0", f"{50 * MAX_ERROR:.0f}", f"{100 * MAX_ERROR:.0f} %"))
    return row


def _window(shot: Shot) -> Window:
    """Around the target, in the image's proportions and inside it."""
    height, width = shot.true_mask.shape
    x, y, w, h = cv2.boundingRect(shot.true_mask.view(np.uint8))
    share = float(np.clip(CONTEXT * max(w / width, h / height), LEAST_WINDOW, 1))
    columns, rows = round(share * width), round(share * height)
    left = int(np.clip(x + w / 2 - columns / 2, 0, width - columns))
    top = int(np.clip(y + h / 2 - rows / 2, 0, height - rows))
    return slice(top, top + rows), slice(left, left + columns)


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


def _photo(shot: Shot, window: Window) -> np.ndarray:
    """The whole image; the light frame is what the depths show."""
    image = shot.image.copy()
    rows, columns = window
    draw_box(image, (columns.start, rows.start, columns.stop, rows.stop), WINDOW, 1)
    draw_outline(image, shot.answered_mask, PALETTE[1])
    if shot.target is not None:
        roi = shot.target.roi
        box = (roi.x_offset, roi.y_offset, roi.x_offset + roi.width, roi.y_offset + roi.height)
        draw_box(image, box, PALETTE[0])
    return _fit(image)


def _error(depth_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    return _fit(in_colour(np.abs(depth_m / truth_m - 1), 0.0, MAX_ERROR, cv2.COLORMAP_VIRIDIS))


def _caption(name: str, metrics: PairMetrics, region: str) -> str:
    return f"AbsRel of the {name} {100 * metrics.regions[region].absrel:.1f} %"


def _fit(rgb: np.ndarray) -> np.ndarray:
    """In the cell's size, on white."""
    scale = min(CELL[0] / rgb.shape[1], CELL[1] / rgb.shape[0])
    size = (round(scale * rgb.shape[1]), round(scale * rgb.shape[0]))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    cell = np.full((CELL[1], CELL[0], 3), PAPER, np.uint8)
    cell[: small.shape[0], : small.shape[1]] = small
    return cell


def _bar(row: np.ndarray, x: int, colormap: int, marks: Sequence[str]) -> None:
    """A vertical colour bar; ``marks`` at equal distances from the bottom to the top."""
    ramp = np.linspace(1, 0, CELL[1], dtype=np.float32)[:, None]
    row[: CELL[1], x : x + 12] = in_colour(np.repeat(ramp, 12, axis=1), 0.0, 1.0, colormap)
    for y, mark in zip(np.linspace(CELL[1] - 2, 11, len(marks)), marks):
        _write(row, mark, x + 16, round(y), 0.42)


def _write(rgb: np.ndarray, text: str, x: int, y: int, size: float) -> None:
    cv2.putText(rgb, text, (x, y), FONT, size, INK, 1, cv2.LINE_AA)
