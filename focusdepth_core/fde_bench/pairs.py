"""The errors of every pair of one evaluation, as a table that is kept beside its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from focusdepth_core.fde_bench.manifest import Row
from focusdepth_core.fde_bench.metrics import REGIONS, EdgeMetrics, PairMetrics

RELATIVE = "absrel"  # its change is told as a share; that of the others, which are shares themselves, as a difference
METRICS = (
    *(f"absrel/{region}" for region in REGIONS),
    *(f"delta_1/{region}" for region in REGIONS),
    "boundary_f1/global",
    "boundary_f1/band",
    "flying_pixels/band",
    "depth_order/band",
)
DENSE_SOURCE = 0.5  # share of pairs with dense truth from which a source has a boundary F1


def record(row: Row, mask_iou: float, is_dense: bool, nets: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """One pair as columns; ``nets``: from ``values``, by the net's name."""
    about = {name: getattr(row, name) for name in ("id", "dataset", "group", "category", "held_out", "mask_source")}
    about["area_share"] = row.area / (row.width * row.height)
    about |= {"visible_fraction": row.visible_fraction, "mask_iou": mask_iou, "is_dense": is_dense}
    return about | {f"{net}:{metric}": value for net, metrics in nets.items() for metric, value in metrics.items()}


def values(regions: PairMetrics, edges: EdgeMetrics) -> dict[str, float]:
    """By the names in ``METRICS``, and ``clipped`` and ``failed`` of the alignment."""
    found = {f"{m}/{name}": getattr(r, m) for name, r in regions.regions.items() for m in ("absrel", "delta_1")}
    found |= {"boundary_f1/global": edges.f1, "boundary_f1/band": edges.f1_band}
    found |= {"flying_pixels/band": edges.flying_pixels, "depth_order/band": edges.depth_order}
    return found | {"clipped": regions.alignment.clipped, "failed": float(regions.alignment.failed)}


class Pairs:
    """``table``: one row per pair, as ``record`` makes them."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]]) -> Pairs:
        """Raises ``ValueError`` if two have the same id."""
        names = dict.fromkeys(chain.from_iterable(records))  # not every pair has another target to be mistaken for
        table = pa.table({name: [one.get(name) for one in records] for name in names})
        counts = pc.value_counts(table["id"]).to_pylist()
        twice = [count["values"] for count in counts if count["counts"] > 1]
        if twice:
            raise ValueError(
                f"{len(twice)} pairs are there more than once, such as {twice[0]}; name each manifest once"
            )
        return cls(table)

    @classmethod
    def read(cls, path: Path) -> Pairs:
        """Raises ``ValueError`` that names the file if it is missing or no such table."""
        try:
            return cls(pq.read_table(path))
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError(f"{path} cannot be read as the pairs of an evaluation: {error}") from None

    def write(self, path: Path) -> None:
        part = path.with_name(f".{path.name}.part")
        pq.write_table(self.table, part, compression="zstd")
        part.replace(path)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, column: str) -> np.ndarray:
        return self.table[column].to_numpy(zero_copy_only=False)

    def where(self, chosen: np.ndarray) -> Pairs:
        return Pairs(self.table.filter(pa.array(chosen)))

    @property
    def nets(self) -> list[str]:
        """In the order of the columns."""
        return list(dict.fromkeys(name.partition(":")[0] for name in self.table.column_names if ":" in name))

    @property
    def sources(self) -> np.ndarray:
        """Of each pair; pairs with masks that are not true are a source of their own."""
        return np.where(self.is_true, self["dataset"], [f"{d} (pseudo masks)" for d in self["dataset"]])

    @property
    def is_true(self) -> np.ndarray:
        return self["mask_source"] == "true"

    def metric(self, net: str, metric: str) -> np.ndarray:
        """NaN where it has no meaning, which is all of the boundary F1 in a source whose truth is rarely dense."""
        found = self[f"{net}:{metric}"].astype(float)
        return np.where(self._of_dense_source, found, np.nan) if metric.startswith("boundary_f1") else found

    @cached_property
    def _of_dense_source(self) -> np.ndarray:
        _, codes = np.unique(self.sources, return_inverse=True)
        return (np.bincount(codes, self["is_dense"]) / np.bincount(codes) >= DENSE_SOURCE)[codes]
