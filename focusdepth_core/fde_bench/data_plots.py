"""Pictures of what is in manifests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from focusdepth_core.fde_bench.manifest import Manifest, Row
from focusdepth_core.fde_bench.plots import DEPTH_COLOURS, draw_target, figure, save, window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Places = list[tuple[Manifest, np.ndarray]]  # manifests and some of their rows

DEPTHS = 400  # targets of each source whose depth is read for the histogram
SHEET = (6, 2)  # targets in a row, rows


def write(folder: Path, manifests: Sequence[Manifest]) -> None:
    """histograms.png and targets.png. Raises ``ValueError`` without matplotlib, ``OSError`` for a bad file."""
    places = by_source(manifests)
    save(histograms(places), folder / "histograms.png")
    shown = [row for p in places.values() for row in spread(p, SHEET[0] * SHEET[1] // len(places) + 1)]
    save(target_sheet(shown[: SHEET[0] * SHEET[1]]), folder / "targets.png", dpi=68)  # photographs make large files


def by_source(manifests: Sequence[Manifest]) -> dict[str, Places]:
    """By data set."""
    places: dict[str, Places] = {}
    for manifest in manifests:
        datasets = np.array(manifest.table["dataset"].to_pylist())
        for name in np.unique(datasets):
            places.setdefault(str(name), []).append((manifest, np.flatnonzero(datasets == name)))
    return places


def spread(places: Places, count: int) -> list[Row]:
    """About that many rows of one source, spread evenly."""
    found = []
    for manifest, rows in places:
        chosen = np.linspace(0, len(rows) - 1, min(-(-count // len(places)), len(rows))).round().astype(int)
        found += [manifest.row(int(rows[i])) for i in chosen]
    return found


def histograms(sources: dict[str, Places]) -> Figure:
    """Size of the targets, their depth, and how many there are in an image."""
    picture = figure(13, 3.8)
    size, depth, crowd = picture.subplots(1, 3)
    shares = [np.concatenate([_shares(m)[rows] for m, rows in places]) for places in sources.values()]
    size.hist([100 * share for share in shares], np.geomspace(0.1, 60, 30), stacked=True, label=list(sources))
    size.set(xscale="log", xlabel="area of a target, % of the image", ylabel="targets")
    size.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    depths = [_median_depths(spread(places, DEPTHS)) for places in tqdm(sources.values(), unit="source")]
    depth.hist(depths, 30, stacked=True)
    drawn = sum(len(d) for d in depths)
    depth.set(xlabel=f"median depth of a target, m ({drawn} targets drawn)", ylabel="targets")
    crowds = [np.concatenate([_per_image(m, rows) for m, rows in places]) for places in sources.values()]
    most = max(crowd.max() for crowd in crowds)
    crowd.hist(crowds, np.arange(0.5, most + 1), stacked=True)
    crowd.set(xlabel="targets in an image", ylabel="images")
    crowd.xaxis.get_major_locator().set_params(integer=True)
    size.legend()
    return picture


def target_sheet(rows: Sequence[Row]) -> Figure:
    """Each target as its image, with box and outline, above its true depth."""
    columns = min(SHEET[0], len(rows))
    lines = -(-len(rows) // columns)
    picture = figure(2.35 * columns, 0.4 + 4.1 * lines)
    picture.suptitle("Targets: box (red) and mask (yellow) in the image, and the true depth below, yellow is near")
    grid = picture.subplots(2 * lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for k, row in enumerate(rows):
        above, below = grid[2 * (k // columns) : 2 * (k // columns) + 2, k % columns]
        around = window(row)
        draw_target(above, row, around)
        above.set_title(f"{row.dataset}: {row.texts[-1]}", fontsize=10)
        _draw_depth(below, row, around)
    return picture


def _draw_depth(axes: Axes, row: Row, around: tuple[slice, slice]) -> None:
    depth = row.read_depth()[around]
    known = np.where(depth > 0, depth, np.nan)
    near, far = np.nanquantile(known, (0.01, 0.99))
    axes.imshow(known, cmap=DEPTH_COLOURS, vmin=near, vmax=far)
    axes.contour(row.read_mask()[around], [0.5], colors="white", linewidths=0.8)
    axes.set_title(f"{near:.2f} to {far:.2f} m", fontsize=8)


def _shares(manifest: Manifest) -> np.ndarray:
    area, width, height = (manifest.table[name].to_numpy() for name in ("area", "width", "height"))
    return area / (width.astype(float) * height)


def _per_image(manifest: Manifest, rows: np.ndarray) -> np.ndarray:
    images = manifest.table["image"].combine_chunks().indices.to_numpy()[rows]
    return np.unique(images, return_counts=True)[1]


def _median_depths(rows: Sequence[Row]) -> np.ndarray:
    found = [row.read_depth()[row.read_mask()] for row in rows]
    return np.array([np.median(depth[depth > 0]) for depth in found])
