"""Remove engines from the cache that nothing here can use any more.

  python -m focusdepth_core.engine clean                    of networks that changed or are gone, of another TensorRT,
                                                            GPU or version of this package, and damaged ones
  python -m focusdepth_core.engine clean --older-than 90    and those built more than 90 days ago
  python -m focusdepth_core.engine clean --all              all

An engine that is needed again is built again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Optional

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cache import Manifest, cache_folder
from focusdepth_core.engine.engine_key import SCHEMA, network_sha256
from focusdepth_core.engine.inspect import engines
from focusdepth_core.engine.tensorrt_build import Runtime, runtime

DAY_S = 86400
LEFT_S = 3600  # no engine takes that long to write


def stale(manifest: Optional[Manifest], here: Optional[Runtime]) -> Optional[str]:
    """Why no engine will be loaded by this manifest; None: it may be. ``here``: None: not known."""
    if manifest is None:
        return "its manifest is damaged"
    key = manifest.key
    if key.schema != SCHEMA:
        return "it is of another version of this package"
    try:
        if network_sha256(Path(manifest.network)) != key.onnx_sha256:
            return f"{manifest.network} has changed"
    except EngineError:
        return f"{manifest.network} is gone"
    if here is None:
        return None
    ours = (here.flavour, here.version, here.gpu)
    theirs = (key.flavour, key.tensorrt, key.gpu)
    return None if ours == theirs else f"it is of {' '.join(theirs)}"


def clean(everything: bool, older_than_days: Optional[float]) -> list[tuple[Path, str, int]]:
    """What was removed, why, and its bytes."""
    try:
        here: Optional[Runtime] = runtime()
    except EngineError:
        here = None
    removed = []
    for path, manifest in engines():
        why = "all were asked for" if everything else stale(manifest, here)
        days = (time.time() - path.stat().st_mtime) / DAY_S
        if why is None and older_than_days is not None and days > older_than_days:
            why = f"it was built {days:.0f} days ago"
        if why is not None:
            removed.append((path, why, path.stat().st_size))
            for suffix in (".json", ".lock", ".engine"):
                path.with_suffix(suffix).unlink(missing_ok=True)
    for path in cache_folder().glob(".*.part"):
        status = path.stat()
        if time.time() - status.st_mtime > LEFT_S:
            removed.append((path, "a process was killed while it wrote it", status.st_size))
            path.unlink()
    return removed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--older-than", type=float, metavar="DAYS", help="remove those built before that, too")
    which.add_argument("--all", action="store_true", help="remove all")


def run(args: argparse.Namespace) -> None:
    removed = clean(args.all, args.older_than)
    for path, why, _ in removed:
        print(f"{path.name}: {why}")
    print(f"{sum(size for _, _, size in removed) / 1e6:.1f} MB freed in {cache_folder()}")
