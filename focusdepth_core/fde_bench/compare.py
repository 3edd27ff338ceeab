"""Two evaluations side by side: what changes from A to B, on the same pairs.

  python -m focusdepth_core.fde_bench compare a.json b.json

A and B are JSON files of python -m focusdepth_core.fde_bench evaluate; the pairs beside them (FILE.pairs.parquet) are
needed as well. The focused depth of A is compared with that of B; to see what prompting does, evaluate once with
--prompt none. Intervals are a 95 % paired bootstrap over scenes; one that does not contain 0 is a difference.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from focusdepth_core.fde_bench.evaluate import pairs_path
from focusdepth_core.fde_bench.judging import FOCUS
from focusdepth_core.fde_bench.pairs import Pairs
from focusdepth_core.fde_bench.report import results, tables, write_json

A, B = "A", "B"
ABOUT = ("model", "prompt", "split", "space", "backend", "date", "commit")


class ComparisonError(ValueError):
    """Two evaluations that cannot be compared; one sentence with the files and the difference."""


def compare(a: Path, b: Path) -> dict[str, Any]:
    """As ``report.results`` with the nets A and B. Raises ``ComparisonError`` for a bad file or different pairs."""
    abouts = {name: _about(path) for name, path in ((A, a), (B, b))}
    return abouts | results(joined(*(_pairs(path) for path in (a, b))), B, A)


def joined(a: Pairs, b: Pairs) -> Pairs:
    """The focused nets of both as nets A and B of the same pairs. Raises ``ComparisonError`` if those differ."""
    _check_same(a, b)
    order = {row_id: i for i, row_id in enumerate(b["id"])}
    b = Pairs(b.table.take([order[row_id] for row_id in a["id"]]))
    moved = a["group"] != b["group"]
    if moved.any():
        raise ComparisonError(f"pair {a['id'][np.argmax(moved)]} belongs to another scene in B; is it the same data?")
    columns = {name: a.table[name] for name in a.table.column_names if ":" not in name}
    for name, pairs in ((A, a), (B, b)):
        own = [c for c in pairs.table.column_names if c.startswith(f"{FOCUS}:")]
        columns |= {c.replace(FOCUS, name, 1): pairs.table[c] for c in own}
    return Pairs(pa.table(columns | {"mask_iou": b.table["mask_iou"]}))


def _check_same(a: Pairs, b: Pairs) -> None:
    ids = set(a["id"]), set(b["id"])
    parts = []
    for name, only in ((A, ids[0] - ids[1]), (B, ids[1] - ids[0])):
        if only:
            parts.append(f"{len(only)} pairs only in {name}, such as {min(only)}")
    if parts:
        counts = f"A has {len(ids[0])} pairs, B {len(ids[1])}"
        raise ComparisonError(f"{counts}: {' and '.join(parts)}; evaluate both on the same manifests, split and limit")


def _pairs(path: Path) -> Pairs:
    try:
        return Pairs.read(pairs_path(path))
    except ValueError as error:
        raise ComparisonError(f"{error}; evaluate with --out {path} writes it") from None


def _about(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        return {name: result[name] for name in ABOUT}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ComparisonError(f"{path} is no result of evaluate: {error!r}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", type=Path, metavar="A", help="FILE.json of evaluate, the baseline")
    parser.add_argument("b", type=Path, metavar="B", help="FILE.json of evaluate")
    parser.add_argument("--out", type=Path, help="write the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    result = compare(args.a, args.b)
    if args.out:
        write_json(args.out, result)
    for name in (A, B):
        about = result[name]
        print(f"{name}: {about['model']}, prompt {about['prompt']}, {about['backend']}, {about['date']}")
    print(f"\n{tables(result, B, A)}")
    return 0
