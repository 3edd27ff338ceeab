"""Make a manifest from a data set: ``python -m focusdepth_core.fde_bench build SOURCE --root DIR --out DIR``.

Every item (an episode, a scene) becomes a part, OUT/parts/ITEM.parquet, written whole or not at all, and all parts
together OUT/manifest.parquet. A stopped build goes on where it was; items with bad files are tried again. Images and
depth that the data set keeps as files stay where they are. How to get each source: docs/FDE_BENCH.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from focusdepth_core.fde_bench import manifest
from focusdepth_core.fde_bench.convert import Tally, convert, part_path
from focusdepth_core.fde_bench.source import Source, SourceError
from focusdepth_core.fde_bench.sources import SOURCES, open_source

ABOUT = "build.json"  # of which data the parts in a folder are
SHOWN = 10  # bad files that the summary names


def build(source: Source, out: Path, workers: int, ray: str | None = None, shard: tuple[int, int] = (1, 1)) -> None:
    """Make the parts that are missing in ``out``; ``shard``: only every n-th, from the i-th; ``ray``: on that cluster.

    Raises ``SourceError`` if the source has no item.
    """
    mine = source.items()[shard[0] - 1 :: shard[1]]
    if not mine:
        raise SourceError(f"{source.name} has no item" + (f" in shard {shard[0]}/{shard[1]}" if shard[1] > 1 else ""))
    (out / "parts").mkdir(parents=True, exist_ok=True)
    missing = [item for item in mine if not _is_done(part_path(out, item))]
    work = partial(convert, source, out=out)
    if ray:
        finished = _on_ray(work, missing, ray)
    else:
        finished = _in_processes(work, missing, workers) if workers > 1 else map(work, missing)
    with tqdm(total=len(mine), initial=len(mine) - len(missing), unit="item", desc=source.name) as bar:
        for _ in finished:
            bar.update()


def _is_done(part: Path) -> bool:
    return part.exists() and not Tally.read(part).bad


def _in_processes(work: partial, items: Sequence[str], workers: int) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            for future in as_completed([pool.submit(work, item) for item in items]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker() -> None:
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    # A killed parent cannot stop its workers, which would wait for work for ever.
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _on_ray(work: partial, items: Sequence[str], address: str) -> Iterator[None]:
    """Every node needs focusdepth_core and the same paths. Raises ``SourceError`` if Ray is not installed."""
    try:
        import ray
    except ImportError:
        raise SourceError("--ray needs Ray: pip install 'focusdepth_core[ray]'") from None
    ray.init(address)
    task = ray.remote(lambda item: work(item))
    pending = [task.remote(item) for item in items]
    while pending:
        done, pending = ray.wait(pending)
        yield from ray.get(done)
    ray.shutdown()


def merge(source: Source, out: Path) -> Tally:
    """Join the parts of all items, in their order, to OUT/manifest.parquet.

    Raises ``SourceError`` if no target is left or an id comes twice, ``ManifestError`` for a group in two splits.
    """
    parts = [part_path(out, item) for item in source.items()]
    rows = pa.concat_tables(pq.ParquetFile(part).read() for part in parts)
    tally = Tally()
    for part in parts:
        tally.add(Tally.read(part))
    if not len(rows):
        why = tally.bad[0] if tally.bad else f"dropped: {dict(tally.dropped)}"
        raise SourceError(f"{source.name} gave no target from {tally.frames} frames; {why}")
    if pc.count_distinct(rows["id"]).as_py() < len(rows):
        twice = next(i for i, n in Counter(rows["id"].to_pylist()).items() if n > 1)
        raise SourceError(f"{source.name} has two frames of the same name: '{twice}' comes twice")
    manifest.check_splits(rows)
    manifest.write(out / manifest.FILE, rows, tally.notes())
    return tally


def summary(rows: pa.Table, tally: Tally) -> str:
    counts = Counter(rows["split"].to_pylist())
    lines = [f"{tally.frames} frames, {len(rows)} targets, {len(pc.unique(rows['category']))} categories"]
    lines += [f"  {split}: {n}" for split, n in sorted(counts.items())]
    lines += [f"dropped {n}: {reason}" for reason, n in tally.dropped.most_common()]
    lines += [f"{len(tally.bad)} bad files or frames"] if tally.bad else []
    lines += [f"  {bad}" for bad in tally.bad[:SHOWN]] + (["  ..."] if len(tally.bad) > SHOWN else [])
    return "\n".join(lines)


def claim(out: Path, source: str, root: Path, names: Path | None) -> None:
    """Note in OUT what it is built from. Raises ``SourceError`` if that was something else, or the note is damaged."""
    names_hash = hashlib.sha256(names.read_bytes()).hexdigest() if names else None
    about = {"source": source, "root": str(root.resolve()), "names_sha256": names_hash}
    path = out / ABOUT
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid.uuid4().hex}.{ABOUT}")  # shards on other machines can have the same process id
        part.write_text(json.dumps(about, indent=1) + "\n")
        part.replace(path)
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        remedy = f"if all in {out} is of {about}, delete that file; else give another --out"
        raise SourceError(f"{path} is damaged ({error}); {remedy}") from None
    if found != about:
        raise SourceError(f"{out} holds a build of {found}, not of {about}; give another --out")


def _render(root: Path, split: str, images: int, workers: int) -> None:
    from focusdepth_core.sim.generate import Size, generate  # needs MuJoCo

    generate(root, split, images, workers, Size(320, 240))


def _shard(text: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(f"'{text}' is not I/N with 1 <= I <= N")
    return int(i), int(n)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", choices=sorted(SOURCES))
    parser.add_argument("--root", type=Path, help="folder of the data set; for sim OUT/scenes if left out")
    parser.add_argument("--out", type=Path, required=True, help="folder of the manifest")
    parser.add_argument("--names", type=Path, help="side file with what the data set does not say (docs/FDE_BENCH.md)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--shard", type=_shard, help="I/N: only that part of the items; merge by a last call without")
    parser.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster instead ('local' starts one)")
    parser.add_argument("--images", type=int, help="sim: render that many first")
    parser.add_argument("--split", default="test", choices=["train", "val", "test"], help="sim: whose seeds to render")


def run(args: argparse.Namespace) -> int:
    if args.source != "sim" and (args.images or not args.root):
        raise SourceError(f"{args.source} needs --root, the folder of the data set, and takes no --images")
    root = args.root or args.out / "scenes"
    if args.images:
        _render(root, args.split, args.images, args.workers)
    source = open_source(args.source, root, args.names)
    claim(args.out, args.source, root, args.names)
    build(source, args.out, args.workers, args.ray, args.shard or (1, 1))
    if args.shard:
        print(f"shard {args.shard[0]}/{args.shard[1]} is done; after the last one, call again without --shard to merge")
        return 0
    tally = merge(source, args.out)
    print(summary(manifest.Manifest.open(args.out).table, tally))
    print(f"written to {args.out / manifest.FILE}")
    return 0
