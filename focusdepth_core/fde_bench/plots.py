"""Pictures of an evaluation, drawn with matplotlib, which is imported when the first is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from focusdepth_core.fde_bench.examples import JUDGED_BY, Example
from focusdepth_core.fde_bench.judging import FOCUS, PLAIN
from focusdepth_core.fde_bench.manifest import Row
from focusdepth_core.fde_bench.pairs import Pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BETTER, WORSE, INK = "#1b7f5c", "#b5452c", "#333333"
REGION_COLOURS = {"foreground": "#c44e2c", "band": "#d99a1c", "global": "#3a6ea5"}
REGION_NAMES = {"foreground": "the target", "band": "10 px around its edge", "global": "the whole image"}
DEPTH_COLOURS, ERROR_COLOURS = "viridis_r", "magma"
MAX_ERROR = 0.3  # AbsRel at which the colours of an error map end
CONTEXT = 3.0  # an example shows a window this much larger than its box
LEAST_WINDOW = 0.35  # of the image's width


def write(folder: Path, pairs: Pairs, result: dict, shown: Sequence[Example]) -> None:
    """change.png, pairs.png and examples.png, and prompts.png of an evaluation with disturbed prompts.

    Raises ``ValueError`` if matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save(change_plot(result), folder / "change.png")
    save(pair_plot(pairs), folder / "pairs.png")
    save(example_sheet(shown), folder / "examples.png")
    if "disturbed" in result:
        save(prompt_plot(result), folder / "prompts.png")


def figure(width: float, height: float) -> Figure:
    """Inches. Raises ``ValueError`` if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("pictures need matplotlib: pip install matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")


def save(picture: Figure, path: Path, dpi: int = 110) -> None:
    part = path.with_name(f".{path.name}.part")
    picture.savefig(part, format="png", dpi=dpi)
    part.replace(path)


def change_plot(result: dict) -> Figure:
    """The change of AbsRel by region, of all targets, each source and the parts."""
    sources = result["sources"] if len(result["sources"]) > 1 else {}
    return _intervals(
        f"What the prompt changes: {result['model']}",
        {f"{name}\n{part['pairs']} pairs": part for name, part in (result["targets"] | sources).items()},
    )


def prompt_plot(result: dict) -> Figure:
    """The change of AbsRel with disturbed prompts."""
    parts = {"the target as it is": result["targets"]["all"]} | result["disturbed"]
    return _intervals(f"How much depends on the prompt: {result['model']}", parts)


def _intervals(title: str, parts: dict[str, dict]) -> Figure:
    picture = figure(9, 1.6 + 0.62 * len(parts))
    axes = picture.subplots()
    for offset, region in zip((-0.22, 0, 0.22), REGION_COLOURS):
        changes = [part["change"][f"absrel/{region}"] for part in parts.values()]
        known = [(i, [100 * v for v in c.values()]) for i, c in enumerate(changes) if c["mean"] is not None]
        y = [i + offset for i, _ in known]
        mean, low, high = np.array([values for _, values in known]).T
        style = {"fmt": "o", "markersize": 6, "capsize": 3, "color": REGION_COLOURS[region]}
        axes.errorbar(mean, y, xerr=(mean - low, high - mean), label=REGION_NAMES[region], **style)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set(title=title, xlabel="change of AbsRel from plain to prompted, % (95 % interval); left of 0 is better")
    axes.set_yticks(range(len(parts)), parts)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(title="AbsRel of", loc="center left", bbox_to_anchor=(1.01, 0.5))
    return picture


def pair_plot(pairs: Pairs) -> Figure:
    """Every pair: its error with and without the prompt, and how the ratio of both is spread."""
    picture = figure(11, 5)
    left, right = picture.subplots(1, 2)
    plain, focus = (pairs.metric(net, JUDGED_BY) for net in (PLAIN, FOCUS))
    _scatter(left, plain, focus)
    _histogram(right, focus / plain)
    picture.suptitle(f"Each of {len(pairs)} pairs: AbsRel on the target with and without the prompt")
    return picture


def _scatter(axes: Axes, plain: np.ndarray, focus: np.ndarray) -> None:
    low, high = np.nanquantile(np.concatenate([plain, focus]), (0.002, 0.998))
    limits = np.array([max(low, 1e-4) / 1.3, 1.3 * high])
    axes.fill_between(limits, limits[0], limits, color=BETTER, alpha=0.08)
    axes.scatter(plain, focus, s=7, alpha=0.35, color=REGION_COLOURS["global"], linewidths=0)
    axes.plot(limits, limits, color=INK, linewidth=1)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, xlabel="plain AbsRel", ylabel="focused AbsRel")
    axes.text(0.97, 0.04, "below the line: the prompt helped", transform=axes.transAxes, ha="right", color=BETTER)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")


def _histogram(axes: Axes, ratio: np.ndarray) -> None:
    edges = np.linspace(-3, 3, 61)
    octaves = np.clip(np.log2(ratio[np.isfinite(ratio) & (ratio > 0)]), edges[0], edges[-1])
    _, _, bars = axes.hist(octaves, edges)
    for edge, bar in zip(edges, bars):
        bar.set_facecolor(BETTER if edge < -1e-9 else WORSE)
    axes.axvline(0, color=INK, linewidth=1)
    ticks = range(-3, 4)
    axes.set_xticks(ticks, [f"{2.0**t:g}x" for t in ticks])
    helped = f"{100 * np.mean(octaves < 0):.0f} % of the pairs are better with the prompt"
    axes.set(title=helped, xlabel="focused / plain AbsRel", ylabel="pairs")


def example_sheet(shown: Sequence[Example]) -> Figure:
    """One row per example, cut to the target's surroundings: image, truth, both depths and both errors."""
    titles = ("image, box, true mask", "true depth", "plain depth", "focused depth", "plain error", "focused error")
    picture = figure(14, 1.2 + 1.9 * len(shown))
    picture.suptitle("Targets on which the prompt helped most (best), as usual (median) and least (worst)")
    grid = picture.subplots(len(shown), len(titles), squeeze=False)
    for cells, example in zip(grid, shown):
        _example_row(cells, example)
    for axes, title in zip(grid[0], titles):
        axes.set_title(title)
    colours = [(cells[3].images[0], cells[5].images[0]) for cells in grid]
    for cells, (depth, error) in zip(grid, colours):
        picture.colorbar(depth, ax=list(cells[1:4]), shrink=0.9, pad=0.01, label="depth, m")
        bar = picture.colorbar(error, ax=list(cells[4:]), shrink=0.9, pad=0.01, extend="max", label="relative error")
        bar.set_ticks([0, MAX_ERROR / 2, MAX_ERROR], labels=[f"{100 * e:.0f} %" for e in (0, MAX_ERROR / 2, MAX_ERROR)])
    return picture


def _example_row(cells: Sequence[Axes], example: Example) -> None:
    around, truth = window(example.row), example.truth
    depth = np.where(truth.valid, truth.depth, np.nan)[around]
    near, far = np.nanquantile(depth, (0.01, 0.99))
    draw_target(cells[0], example.row, around)
    cells[0].set_ylabel(f"{example.kind}\n{example.row.category}", fontsize=12)
    nets = (example.plain[1], example.focus[1])
    for axes, z in zip(cells[1:4], (depth, *(net.depth[around] for net in nets))):
        axes.imshow(z, cmap=DEPTH_COLOURS, vmin=near, vmax=far)
    for axes, net, absrel in zip(cells[4:], nets, (example.plain[0], example.focus[0])):
        axes.imshow(np.where(truth.valid, net.error, np.nan)[around], cmap=ERROR_COLOURS, vmin=0, vmax=MAX_ERROR)
        axes.set_xlabel(f"AbsRel on the target {100 * absrel:.1f} %", fontsize=10)
    mask = example.row.read_mask()[around]
    for axes in cells[1:]:
        axes.contour(mask, [0.5], colors="white", linewidths=0.8)
        axes.set(xticks=[], yticks=[])


def draw_target(axes: Axes, row: Row, around: tuple[slice, slice]) -> None:
    """A window of the image (rows, columns) with the outline of the mask and the box."""
    from matplotlib.patches import Rectangle

    rows, columns = around
    x0, y0, x1, y1 = row.box
    axes.imshow(row.read_image()[around])
    axes.contour(row.read_mask()[around], [0.5], colors="#ffe14d", linewidths=0.9)
    corner = (x0 - columns.start - 0.5, y0 - rows.start - 0.5)  # matplotlib's pixel centres are whole numbers
    axes.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor="#ff3b30", linewidth=1.4))
    axes.set(xticks=[], yticks=[])


def window(row: Row) -> tuple[slice, slice]:
    """Rows and columns around the box in the image's proportions."""
    x0, y0, x1, y1 = row.box
    scale = max(CONTEXT * (x1 - x0) / row.width, CONTEXT * (y1 - y0) / row.height, LEAST_WINDOW)
    width, height = (round(min(scale, 1) * side) for side in (row.width, row.height))
    left = round(np.clip((x0 + x1 - width) / 2, 0, row.width - width))
    top = round(np.clip((y0 + y1 - height) / 2, 0, row.height - height))
    return slice(top, top + height), slice(left, left + width)
