"""Judge the point clouds of targets: how many of their points are not on the target?

  python -m focusdepth_core.fde_bench clouds MODEL DATA/manifest.parquet --out clouds.json --picture clouds.png

A target's cloud is the depth in its mask, less 0 to 3 px along the edge. Of the prompted net it is judged in the mask
that the net found and in the true one; of the plain net in the true one, which is more than it could know.

A point is off if its depth differs by 5 % or more, the least step of boundary F1, from that of the target's true
surface at its pixel or, outside of the target, at the nearest one inside. It flies if it has left that surface for the
one of the nearest pixel across the edge by more than a quarter of the way, where those two differ by 5 % or more:
FDE-Bench's flying pixels and those that have gone all the way. Depth is aligned to the truth once per image, as
everywhere in FDE-Bench, so that what is wrong with the target as a whole counts; for the shape alone the cloud is
judged again with its median depth set right ("centred"). ``kept`` is the number of points in a cloud over that of the
target's true pixels. Clouds are averaged.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from focusdepth_core.fde_bench.alignment import MIN_PX, Prediction, Truth
from focusdepth_core.fde_bench.judging import FOCUS, PLAIN, UnusableImageError, answers, frames
from focusdepth_core.fde_bench.manifest import Manifest, Row
from focusdepth_core.fde_bench.report import provenance, write_json
from focusdepth_core.fde_bench.surfaces import CLEAR, differ, nearest
from focusdepth_core.perception.cloud import without_edge
from focusdepth_core.perception.pipeline import Pipeline
from focusdepth_core.perception.window import Window, bounds, grown

EDGES_PX = (0, 1, 2, 3)
FOCUS_TRUE = "focus in the true mask"
CLOUDS = (PLAIN, FOCUS, FOCUS_TRUE)


class Cloud(NamedTuple):
    """Of each point its flat place, its depth in metres, and whether it is off and flies."""

    places: np.ndarray
    z: np.ndarray
    off: np.ndarray
    flies: np.ndarray


@dataclass(frozen=True)
class Judged:
    """The clouds of one target, by the names in ``CLOUDS``, in a ``window`` of the image, h,w.

    ``depth``: metres; ``masks``: bool; ``own`` and ``other``: metres, the true surface of the target and that of what
    is nearest across its edge, each continued to every pixel.
    """

    row: Row
    window: Window
    depth: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    own: np.ndarray
    other: np.ndarray

    def cloud(self, name: str, edge_px: int, centred: bool) -> Cloud:
        places = np.flatnonzero(without_edge(self.masks[name], edge_px))
        z, own, other = (depth.ravel()[places] for depth in (self.depth[name], self.own, self.other))
        if centred and places.size:
            z = z * np.median(own / z)
        gone = (z - own) * np.sign(other - own) > CLEAR * np.abs(other - own)
        return Cloud(places, z, differ(z, own), gone & differ(own, other))


def judged(pipeline: Pipeline, rows: Sequence[Row]) -> Iterator[Judged]:
    """The targets of one image that have enough pixels and something around them."""
    found = answers(pipeline, rows, "box", False)
    truth = Truth(rows[0].read_depth())
    for answer in found:
        true = answer.row.read_mask()
        inside, outside = true & truth.valid, ~true & truth.valid
        if np.count_nonzero(inside) < MIN_PX or not outside.any():
            continue
        window = grown(bounds(true | answer.mask), len(EDGES_PX), true.shape)
        depth = {net: Prediction(answer.raw[net], answer.space, truth).depth[window].copy() for net in (PLAIN, FOCUS)}
        masks = {PLAIN: true[window].copy(), FOCUS: answer.mask[window].copy(), FOCUS_TRUE: true[window].copy()}
        surfaces = (nearest(truth.depth, side)[window].copy() for side in (inside, outside))
        yield Judged(answer.row, window, {**depth, FOCUS_TRUE: depth[FOCUS]}, masks, *surfaces)


def figures(targets: Sequence[Judged]) -> dict:
    """Means over the targets whose cloud has points, by cloud and pixels left out."""
    return {cloud: {f"{edge} px": _mean(targets, cloud, edge) for edge in EDGES_PX} for cloud in CLOUDS}


def _mean(targets: Sequence[Judged], name: str, edge_px: int) -> dict:
    found: dict[str, list[float]] = defaultdict(list)
    for target in targets:
        aligned, centred = (target.cloud(name, edge_px, centred) for centred in (False, True))
        found["kept"].append(aligned.places.size / np.count_nonzero(target.masks[PLAIN]))
        if aligned.places.size:
            found["off"].append(aligned.off.mean())
            found["flying"].append(aligned.flies.mean())
            found["off_centred"].append(centred.off.mean())
            found["flying_centred"].append(centred.flies.mean())
    return {key: round(float(np.mean(values)), 4) for key, values in found.items()} | {"clouds": len(found["off"])}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("manifest", type=Path, help="manifest.parquet or its folder")
    parser.add_argument("--split", default="test", help="rows of this split (test)")
    parser.add_argument(
        "--limit", type=int, default=1000, help="about that many targets, spread evenly; 0 = all (1000)"
    )
    parser.add_argument("--backend", default="auto", help="what runs the model (auto)")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--picture", type=Path, help="clouds of a few targets from the side; needs matplotlib")


def run(args: argparse.Namespace) -> int:
    manifest = Manifest.open(args.manifest, args.split)
    pipeline = Pipeline.open(args.model, args.backend)
    targets: list[Judged] = []
    for rows in tqdm(frames(manifest, args.limit), unit="image"):
        try:
            targets += judged(pipeline, [manifest.row(i) for i in rows])
        except UnusableImageError as error:
            print(f"left out: {error}")
    if not targets:
        raise ValueError(f"{args.manifest} has no target of {MIN_PX} px or more in split {args.split}")
    result = figures(targets)
    for cloud, edges in result.items():
        for edge, found in edges.items():
            print(f"{cloud:24s} less {edge}: {', '.join(f'{name} {value}' for name, value in found.items())}")
    if args.out:
        about = {
            "model": pipeline.model.name,
            "backend": pipeline.backend,
            "split": args.split,
            "targets": len(targets),
        }
        method = " ".join(__doc__.split("\n\n", 2)[2].split())
        write_json(args.out, about | {"clouds": result, "method": method} | provenance())
    if args.picture:
        from focusdepth_core.fde_bench import cloud_plots, plots

        plots.save(cloud_plots.side_views(cloud_plots.chosen(targets)), args.picture)
    return 0
