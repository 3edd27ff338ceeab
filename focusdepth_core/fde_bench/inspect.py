"""Look into manifests: how many images and targets of which source, split and category, and what they look like.

  python -m focusdepth_core.fde_bench inspect DATA/manifest.parquet --out pictures

Prints Markdown tables, with the totals of the paper (arXiv 2605.11756) beside ours. With --out DIR it also writes
counts.json, histograms.png (size and depth of the targets) and targets.png (some of them).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.fde_bench.report import markdown, provenance, write_json

PAPER_TARGETS = {"train": 252_900, "val": 72_500}
PAPER_CATEGORIES = 972
MOST = 12  # categories that the printed list names
COUNTED = ("targets", "images", "groups", "categories")


def rows_of(manifests: Sequence[Manifest]) -> pa.Table:
    """What is counted, over all manifests."""
    columns = ("dataset", "split", "group", "image", "category", "mask_source", "held_out")
    tables = []
    for manifest in manifests:
        table = pa.table(
            {c: pc.cast(manifest.table[c], pa.bool_() if c == "held_out" else pa.string()) for c in columns}
        )
        # Two manifests may use the same names for different images and scenes.
        whole = {c: pc.binary_join_element_wise(str(manifest.path), table[c], ":") for c in ("image", "group")}
        tables.append(pa.table({c: whole.get(c, table[c]) for c in columns}))
    return pa.concat_tables(tables)


def counted(rows: pa.Table) -> dict:
    """By source and split, by split, by category, and how the paper's data set compares."""
    targets = pc.value_counts(rows["category"]).to_pylist()
    by_category = {c["values"]: c["counts"] for c in sorted(targets, key=lambda c: (-c["counts"], c["values"]))}
    held_out = rows.filter(rows["held_out"])["category"]
    return {
        "sources": _by(rows, ["dataset", "mask_source", "split"]),
        "splits": _by(rows, ["split"]),
        "categories": by_category,
        "held_out_categories": sorted(pc.unique(held_out).to_pylist()),
        "paper": {"targets": PAPER_TARGETS, "categories": PAPER_CATEGORIES},
    }


def _by(rows: pa.Table, keys: list[str]) -> list[dict]:
    distinct = [("image", "count_distinct"), ("group", "count_distinct"), ("category", "count_distinct")]
    found = rows.group_by(keys).aggregate([([], "count_all"), *distinct])
    names = dict(zip(["count_all", *(f"{c}_{how}" for c, how in distinct)], COUNTED))
    found = found.rename_columns([names.get(c, c) for c in found.column_names]).select([*keys, *COUNTED])
    return found.sort_by([(key, "ascending") for key in keys]).to_pylist()


def tables(counts: dict) -> str:
    """Markdown."""
    sources = [[str(v) for v in part.values()] for part in counts["sources"]]
    splits = {part["split"]: part for part in counts["splits"]}
    ours = {s: splits.get(s, {}).get("targets", 0) for s in dict.fromkeys([*PAPER_TARGETS, *splits])}
    against = [
        [f"targets, {s}", f"{n:,}", f"{PAPER_TARGETS[s]:,}" if s in PAPER_TARGETS else "-"] for s, n in ours.items()
    ]
    against.append(["categories", f"{len(counts['categories']):,}", f"{PAPER_CATEGORIES:,}"])
    held_out = set(counts["held_out_categories"])
    names = [[c + (" (held out)" if c in held_out else ""), str(n)] for c, n in counts["categories"].items()]
    shown = names if len(names) <= MOST + 1 else [*names[:MOST], [f"{len(names) - MOST} more", str(_rest(names))]]
    blocks = [
        markdown(f"source | masks | split | {' | '.join(COUNTED)}", sources),
        markdown("total | here | paper", against),
        markdown("category | targets", shown),
    ]
    return "\n\n".join(blocks)


def _rest(names: list[list[str]]) -> int:
    return sum(int(count) for _, count in names[MOST:])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifests", type=Path, nargs="+", metavar="manifest", help="manifest.parquet or its folder")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write counts and pictures; needs matplotlib")


def run(args: argparse.Namespace) -> int:
    manifests = [Manifest.open(path) for path in args.manifests]
    counts = counted(rows_of(manifests))
    print(tables(counts))
    if args.out:
        from focusdepth_core.fde_bench import data_plots

        args.out.mkdir(parents=True, exist_ok=True)
        write_json(args.out / "counts.json", provenance() | counts)
        data_plots.write(args.out, manifests)
    return 0
