"""One item of a source becomes a part of the manifest, with the arrays that its source does not keep as files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pyarrow as pa

from focusdepth_core.fde_bench import manifest
from focusdepth_core.fde_bench.image_files import read_depth, read_rgb
from focusdepth_core.fde_bench.rules import normalised, reason_to_drop, texts_of, tight_box
from focusdepth_core.fde_bench.source import SPLITS, Instance, Source, SourceError, SourceFrame
from focusdepth_core.perception.target import Box
from focusdepth_core.sim.splits import held_out_categories

DEPTH_SCALES = (5000, 1000, 100)  # units per metre of a 16-bit PNG: 13 m at 0.2 mm, 65 m at 1 mm, 655 m at 1 cm
_NAME = re.compile(r"[a-z0-9_-][a-z0-9_.-]*(/[a-z0-9_-][a-z0-9_.-]*)*")


class OutputError(OSError):
    """A file of the build cannot be written; no data are to blame, so it stops the build."""


@dataclass
class Tally:
    """What became of the frames: ``dropped`` counts objects by reason, ``bad`` says which files could not be used."""

    frames: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.frames += other.frames
        self.dropped += other.dropped
        self.bad += other.bad

    @classmethod
    def read(cls, path: Path) -> Tally:
        """Of a part or a manifest."""
        notes = manifest.read_notes(path)
        return cls(notes["frames"], Counter(notes["dropped"]), notes["bad"])

    def notes(self) -> dict:
        return {"frames": self.frames, "dropped": dict(self.dropped), "bad": self.bad}


def part_path(out: Path, item: str) -> Path:
    return out / "parts" / f"{quote(item, safe='')}.parquet"


def convert(source: Source, item: str, out: Path) -> None:
    """Write the part of one item, whole or not at all. What goes wrong with a frame costs that frame and is noted in
    the part, foreseen or not: one odd file among a million must not end a build.

    Raises ``OSError`` if a file cannot be written.
    """
    tables = [manifest.FILE_SCHEMA.empty_table()]
    tally = Tally()
    for frame in _frames(source, item):
        if isinstance(frame, Exception):
            tally.bad.append(str(frame))
            continue
        try:
            rows, dropped = _rows(frame, source, out)
            tables.append(pa.Table.from_pylist(rows, manifest.FILE_SCHEMA))
            tally.add(Tally(1, dropped))
        except OutputError:
            raise
        except (SourceError, OSError) as error:
            tally.bad.append(str(error))
        except Exception as error:
            tally.bad.append(f"frame '{frame.name}' of {source.name} cannot be used: {error!r}")
    manifest.write(part_path(out, item), pa.concat_tables(tables), tally.notes())


def _frames(source: Source, item: str) -> Iterator[SourceFrame | SourceError | OSError]:
    try:
        yield from source.frames(item)
    except (SourceError, OSError) as error:
        yield error
    except Exception as error:
        yield SourceError(f"item '{item}' of {source.name} cannot be read on: {error!r}")


def _rows(frame: SourceFrame, source: Source, out: Path) -> tuple[list[dict], Counter[str]]:
    """One row per target, and how many objects were dropped by reason."""
    image, depth = _arrays(frame)
    boxes = [tight_box(instance.mask) for instance in frame.instances]
    reasons = [reason_to_drop(instance, box, depth) for instance, box in zip(frame.instances, boxes)]
    dropped = Counter(reason for reason in reasons if reason)
    kept = [k for k, reason in enumerate(reasons) if not reason]
    if not kept:
        return [], dropped
    common = _of_frame(frame, source, image.shape) | _files(frame, image, depth, out)
    rows = [{"id": f"{source.name}/{frame.name}#{k}"} | common | _of(frame.instances[k], boxes[k]) for k in kept]
    return rows, dropped


def _arrays(frame: SourceFrame) -> tuple[np.ndarray, np.ndarray]:
    """Image and depth in metres. Raises ``SourceError`` for what does not fit together."""
    if not _NAME.fullmatch(frame.name) or frame.split not in SPLITS:
        raise SourceError(f"frame '{frame.name}' of split '{frame.split}': names are [a-z0-9_/.-], splits {SPLITS}")
    image = read_rgb(frame.image) if isinstance(frame.image, Path) else frame.image
    depth = frame.depth
    if isinstance(depth, Path):
        depth = read_depth(depth) / np.float32(frame.depth_scale)
    k = frame.intrinsics
    sizes = {"depth": depth.shape} | ({"K": (k.height, k.width)} if k else {})
    sizes |= {f"mask {i}": instance.mask.shape for i, instance in enumerate(frame.instances)}
    for name, shape in sizes.items():
        if tuple(shape) != image.shape[:2]:
            raise SourceError(f"frame '{frame.name}': {name} is {shape}, the image {image.shape[:2]}, as rows, columns")
    return image, depth


def _of_frame(frame: SourceFrame, source: Source, shape: tuple[int, ...]) -> dict:
    k = frame.intrinsics
    return {
        "dataset": source.name,
        "split": frame.split,
        "group": frame.group,
        "width": shape[1],
        "height": shape[0],
        **{name: getattr(k, name) if k else None for name in ("fx", "fy", "cx", "cy")},
        "mask_source": frame.mask_source or source.mask_source,
        "licence": frame.licence or source.licence,
    }


def _of(instance: Instance, box: Box) -> dict:
    category = normalised(instance.category)
    return {
        "mask": manifest.encoded(instance.mask),
        "box": box,
        "area": int(np.count_nonzero(instance.mask)),
        "category": category,
        "raw_name": instance.raw_name,
        "texts": texts_of(instance),
        "visible_fraction": instance.visible_fraction,
        "held_out": category in held_out_categories(),
    }


def _files(frame: SourceFrame, image: np.ndarray, depth: np.ndarray, out: Path) -> dict:
    """Paths relative to ``out``; arrays are written first, without loss but for the steps of the depth."""
    paths = {"image": frame.image, "depth": frame.depth}
    scale = frame.depth_scale
    if not isinstance(frame.depth, Path):
        scale = _depth_scale(frame.name, depth)
        stored = np.rint(np.nan_to_num(depth, posinf=0, neginf=0).clip(0) * scale).astype(np.uint16)
        paths["depth"] = _write_png(out / "depth" / f"{frame.name}.png", stored)
    if not isinstance(frame.image, Path):
        paths["image"] = _write_png(out / "images" / f"{frame.name}.png", image[..., ::-1])
    relative = {name: Path(os.path.relpath(path.resolve(), out.resolve())).as_posix() for name, path in paths.items()}
    return relative | {"depth_scale": float(scale)}


def _depth_scale(name: str, depth: np.ndarray) -> int:
    farthest = float(np.max(depth, where=np.isfinite(depth), initial=0))
    for scale in DEPTH_SCALES:
        if farthest * scale <= np.iinfo(np.uint16).max:
            return scale
    raise SourceError(f"frame '{name}' is {farthest:.0f} m deep; depth must be in metres, with 0 where it is missing")


def _write_png(path: Path, image: np.ndarray) -> Path:
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(part), image, [cv2.IMWRITE_PNG_COMPRESSION, 2]):
            raise OSError("is the disk full?")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from None
    return path
