"""Clouds of targets seen from the side, with the points that are off the target in colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from focusdepth_core.fde_bench.clouds import Judged
from focusdepth_core.fde_bench.judging import FOCUS, PLAIN
from focusdepth_core.fde_bench.plots import BETTER, WORSE, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = ((PLAIN, 0, "plain net, true mask"), (FOCUS, 0, "focused"), (FOCUS, 1, "focused, less 1 px of the edge"))
EXAMPLES = 3
AREA_PX = (800, 5000)
SURFACE = "#9a9a9a"


def chosen(targets: Sequence[Judged]) -> list[Judged]:
    """Of middling size, each of another image, with a change by focusing that is about the median of all.

    Raises ``ValueError`` if no image has the camera's intrinsics.
    """
    known = [target for target in targets if target.row.intrinsics is not None]
    if not known:
        raise ValueError("no image of the manifest has intrinsics, without which a depth has no height")
    middling = [t for t in known if AREA_PX[0] <= t.row.area <= AREA_PX[1] and _is_aligned(t)] or known
    change = np.diff([[_off(target, net) for net in (PLAIN, FOCUS)] for target in middling], axis=1)[:, 0]
    usual = [middling[place] for place in np.argsort(np.abs(change - np.nanmedian(change)))]
    return list({target.row.image: target for target in reversed(usual)}.values())[: -EXAMPLES - 1 : -1]


def _is_aligned(target: Judged) -> bool:
    """A failed alignment leaves a constant."""
    return all(np.ptp(target.depth[net]) > 0 for net in (PLAIN, FOCUS))


def _off(target: Judged, net: str) -> float:
    cloud = target.cloud(net, 0, centred=True)
    return float(cloud.off.mean()) if cloud.off.size else float("nan")


def side_views(targets: Sequence[Judged]) -> Figure:
    """One row per target: depth to the right, height upwards."""
    picture = figure(12, 3.3 * len(targets))
    grid = picture.subplots(len(targets), len(SHOWN), squeeze=False, sharex="row", sharey="row")
    for line, target in zip(grid, targets):
        true = np.flatnonzero(target.masks[PLAIN])
        for axes, (name, edge_px, title) in zip(line, SHOWN):
            cloud = target.cloud(name, edge_px, centred=True)
            axes.scatter(*_seen(target, true, target.own.ravel()[true]), s=2, color=SURFACE, label="true surface")
            depth, height = _seen(target, cloud.places, cloud.z)
            axes.scatter(depth[~cloud.off], height[~cloud.off], s=3, color=BETTER, label="cloud")
            axes.scatter(depth[cloud.off], height[cloud.off], s=3, color=WORSE, label="off by 5 % or more")
            share = 100 * cloud.off.mean() if cloud.off.size else float("nan")
            axes.set_title(
                f"{target.row.category}: {title}\n{share:.0f} % of {cloud.off.size} points are off", fontsize=10
            )
            axes.set_xlabel("depth, m")
        line[0].set_ylabel("height, m")
    grid[0][0].legend(fontsize=8, markerscale=3)
    return picture


def _seen(target: Judged, places: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth and height in metres of flat ``places`` in the target's window."""
    rows, columns = target.window
    k = target.row.intrinsics
    return z, (k.cy - rows.start - places // (columns.stop - columns.start)) * z / k.fy
