"""Engines on disk: each is used for exactly what it was built from, with and on.

In the folder of ``cache_folder`` an engine is two files, NAME.engine and NAME.json, its manifest; NAME ends with the
start of the sha256 of its key. A third, NAME.lock, is held by the process that builds it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Optional, TypeVar

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.engine_key import EngineKey
from focusdepth_core.engine.tensorrt_backend import StalePlan

CACHE_VARIABLE = "FOCUSDEPTH_CACHE"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Loaded = TypeVar("Loaded")
Report = Callable[[str], None]


def cache_folder() -> Path:
    """``engines`` in FOCUSDEPTH_CACHE, or else in XDG_CACHE_HOME/focusdepth, or else in ~/.cache/focusdepth.

    Raises ``EngineError`` for a user without a home, as in containers.
    """
    own, shared = os.environ.get(CACHE_VARIABLE), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own) / "engines"
    try:
        return (Path(shared) if shared else Path.home() / ".cache") / "focusdepth" / "engines"
    except RuntimeError:
        raise EngineError(f"there is no home folder to keep engines in; name a folder in {CACHE_VARIABLE}") from None


@dataclass(frozen=True)
class Manifest:
    """``network``: the ONNX file; ``plan_sha256``: of the engine, so that a damaged one is not even tried; ``driver``:
    with which it was built; ``verdict``: of the self-check."""

    key: EngineKey
    network: str
    plan_sha256: str
    built: str
    build_s: float
    driver: str
    verdict: Optional[dict[str, Any]] = None

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Raises ``OSError`` or ``ValueError`` for a file that is missing or damaged."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**values, "key": EngineKey(**values["key"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is no manifest of an engine: {error}") from None


class Entry:
    """The place of one engine in the cache."""

    def __init__(self, network: Path, key: EngineKey) -> None:
        self.key, self.network = key, network
        self.plan = cache_folder() / f"{network.name.split('.')[0]}-{key.precision}-{key.digest[:16]}.engine"
        self.path = self.plan.with_suffix(".json")

    def load(self, load: Callable[[bytes], Loaded]) -> tuple[Loaded, Manifest]:
        """Raises ``StalePlan`` with the reason if there is none that can be used."""
        try:
            if not self.plan.exists():
                raise StalePlan("there is none for this network, GPU and TensorRT")
            manifest, plan = Manifest.read(self.path), self.plan.read_bytes()
        except (OSError, ValueError) as error:
            raise StalePlan(f"the one in the cache cannot be read ({error})") from None
        if manifest.key != self.key:
            raise StalePlan("the one in the cache has the manifest of another")
        if hashlib.sha256(plan).hexdigest() != manifest.plan_sha256:
            raise StalePlan("the one in the cache is not what was written there")
        return load(plan), manifest

    @contextmanager
    def locked(self, report: Report) -> Iterator[None]:
        """Among all processes. Raises ``OSError`` if the folder cannot be written."""
        self.plan.parent.mkdir(parents=True, exist_ok=True)
        with self.plan.with_suffix(".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report(f"waiting for another process that builds the engine of {self.network.name}")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def store(self, plan: bytes, manifest: Manifest) -> None:
        """Raises ``OSError`` and then leaves nothing that is half written."""
        _write(self.plan, plan)
        try:
            self.describe(manifest)
        except OSError:
            self.plan.unlink()
            raise

    def describe(self, manifest: Manifest) -> None:
        _write(self.path, (json.dumps(asdict(manifest), indent=1) + "\n").encode())


@dataclass
class Cached(Generic[Loaded]):
    """An engine with its manifest; ``entry``: None if it is in memory alone."""

    engine: Loaded
    manifest: Manifest
    entry: Optional[Entry]

    def remember(self, verdict: dict[str, Any]) -> None:
        """Of the self-check. In a folder that cannot be written it is forgotten, and found again at the next start."""
        self.manifest = replace(self.manifest, verdict=verdict)
        if self.entry is not None:
            with suppress(OSError):
                self.entry.describe(self.manifest)


def cached(
    entry: Entry, make: Callable[[], bytes], load: Callable[[bytes], Loaded], driver: str, report: Report
) -> Cached[Loaded]:
    """The engine in the cache, or a new one, which goes there. ``report`` is told why it is built, and where it could
    not be kept.

    Raises what ``make`` and ``load`` raise, apart from ``StalePlan`` for the one in the cache.
    """
    with suppress(StalePlan):  # looked at again under the lock: another process may build it now
        return Cached(*entry.load(load), entry)
    with ExitStack() as stack:
        kept = True
        try:
            stack.enter_context(entry.locked(report))
            return Cached(*entry.load(load), entry)
        except StalePlan as stale:
            report(f"building the engine of {entry.network.name}: {stale}")
        except OSError as error:
            kept = False
            report(_not_kept(entry, error))
        plan, manifest = _made(entry, make, driver)
        engine = load(plan)  # before it is stored: what does not load must not be found again
        try:
            if kept:
                entry.store(plan, manifest)
        except OSError as error:
            kept = False
            report(_not_kept(entry, error))
        return Cached(engine, manifest, entry if kept else None)


def _made(entry: Entry, make: Callable[[], bytes], driver: str) -> tuple[bytes, Manifest]:
    start = time.monotonic()
    plan = make()
    seconds, built = round(time.monotonic() - start, 1), time.strftime("%Y-%m-%d %H:%M:%S")
    digest = hashlib.sha256(plan).hexdigest()
    return plan, Manifest(entry.key, str(entry.network.resolve()), digest, built, seconds, driver)


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


def _not_kept(entry: Entry, error: OSError) -> str:
    remedy = "make room there" if error.errno in FULL else "make it writable"
    return (
        f"the engine of {entry.network.name} cannot be kept and will be built at each start: {entry.plan.parent} "
        f"cannot be written ({error.strerror or error}); {remedy}, or name another folder in {CACHE_VARIABLE}"
    )
