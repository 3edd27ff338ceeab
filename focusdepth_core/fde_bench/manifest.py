"""The manifest: one row per image and target, as Parquet.

Paths in it are relative to its folder, so that a folder can be moved together with the data it points to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pycocotools import mask as coco

from focusdepth_core.fde_bench.image_files import MAX_PIXELS, read_depth, read_rgb
from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.perception.target import Box

ROW_GROUP = 1024  # rows that are decoded to read one mask
FILE = "manifest.parquet"

_WORD = pa.dictionary(pa.int32(), pa.string())  # in memory; the file holds plain strings
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("dataset", _WORD),
        ("split", _WORD),
        ("group", _WORD),
        ("image", _WORD),
        ("depth", _WORD),
        ("depth_scale", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("mask", pa.binary()),
        ("box", pa.list_(pa.float32(), 4)),
        ("area", pa.int32()),
        ("category", _WORD),
        ("raw_name", _WORD),
        ("texts", pa.list_(pa.string())),
        ("fx", pa.float64()),
        ("fy", pa.float64()),
        ("cx", pa.float64()),
        ("cy", pa.float64()),
        ("mask_source", _WORD),
        ("licence", _WORD),
        ("visible_fraction", pa.float32()),
        ("held_out", pa.bool_()),
    ]
)
# As Arrow dictionaries, every row group would carry all words of the file.
FILE_SCHEMA = pa.schema([f.with_type(pa.string()) if f.type == _WORD else f for f in SCHEMA])
_NOTES = b"focusdepth"


class ManifestError(ValueError):
    """A manifest that cannot be used; one sentence with the file and the value."""


@dataclass(frozen=True)
class Row:
    """One target in one image. ``box``: x0, y0, x1, y1 in pixels, half-open; ``area``: of the mask, px.

    ``texts``: prompts, the category first; ``mask``: COCO run lengths; ``folder``: that of the manifest, to which
    ``image`` and ``depth`` are relative.
    """

    id: str
    dataset: str
    split: str
    group: str
    image: str
    depth: str
    depth_scale: float
    width: int
    height: int
    mask: bytes
    box: Box
    area: int
    category: str
    raw_name: str
    texts: tuple[str, ...]
    intrinsics: Intrinsics | None
    mask_source: str
    licence: str
    visible_fraction: float | None
    held_out: bool
    folder: Path

    def read_image(self) -> np.ndarray:
        """H,W,3 uint8 RGB. Raises ``OSError`` that names the file if it is missing, damaged or of another size."""
        return self._checked(self.image, read_rgb(self._path(self.image)))

    def read_depth(self) -> np.ndarray:
        """H,W float32 metres, 0 = missing. Raises ``OSError`` as ``read_image``."""
        depth = self._checked(self.depth, read_depth(self._path(self.depth)))
        return depth.astype(np.float32) / np.float32(self.depth_scale)

    def read_mask(self) -> np.ndarray:
        """H,W bool, the visible pixels. Raises ``OSError`` for a mask that does not fit the image."""
        size = [self.height, self.width]
        if not 0 < self.height * self.width <= MAX_PIXELS:
            raise OSError(f"{self.id} says it has {self.width} x {self.height} pixels; at most {MAX_PIXELS} are read")
        try:
            mask = coco.decode({"size": size, "counts": self.mask}).astype(bool)
        except ValueError:  # more run lengths than pixels
            mask = np.zeros(0)
        if np.count_nonzero(mask) != self.area:  # too few leave pixels undefined
            raise OSError(
                f"the mask of {self.id} does not fit {self.width} x {self.height} pixels, {self.area} of them its own"
            )
        return mask

    def _path(self, name: str) -> Path:
        if PurePosixPath(name).is_absolute() or "\0" in name:
            raise OSError(f"{self.id} names the file '{name}'; paths in a manifest are relative to its folder")
        return self.folder / name

    def _checked(self, name: str, image: np.ndarray) -> np.ndarray:
        if image.shape[:2] != (self.height, self.width):
            shape = f"{image.shape[1]} x {image.shape[0]}"
            raise OSError(f"{self._path(name)} has {shape} pixels; the manifest says {self.width} x {self.height}")
        return image


class Manifest:
    """``table``: every column but the masks, in memory; a mask is decoded from the memory-mapped file."""

    def __init__(self, path: Path, table: pa.Table, rows: np.ndarray) -> None:
        self.path = path
        self.table = table
        self._rows = rows  # where each row of the table is in the file
        self._file = pq.ParquetFile(path, memory_map=True)
        about = self._file.metadata
        self._starts = np.cumsum([0] + [about.row_group(i).num_rows for i in range(about.num_row_groups)])
        self._masks: tuple[int, pa.ChunkedArray] = (-1, pa.chunked_array([], pa.binary()))  # of the last row group

    @classmethod
    def open(cls, path: str | Path, split: str | None = None) -> Manifest:
        """``path``: the file or its folder; ``split``: only its rows.

        Raises ``FileNotFoundError``, or ``ManifestError`` for a file that is no manifest or has no row of ``split``.
        """
        file = Path(path).resolve()
        file = file / FILE if file.is_dir() else file
        if not file.is_file():
            raise FileNotFoundError(f"no manifest at {file}; make one with python -m focusdepth_core.fde_bench build")
        table = _read_columns(file)
        rows = np.arange(len(table))
        if split is not None:
            rows = np.flatnonzero(pc.equal(table["split"], split))
            table = table.take(rows)
        if not len(rows):
            raise ManifestError(f"{file} has no row" + (f" of split '{split}'" if split else ""))
        return cls(file, table.combine_chunks(), rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return (self.row(i) for i in range(len(self)))

    def __reduce__(self) -> tuple:
        return Manifest, (self.path, self.table, self._rows)

    def row(self, index: int) -> Row:
        (values,) = self.table.slice(index, 1).to_pylist()
        k = [values.pop(name) for name in ("fx", "fy", "cx", "cy")]
        values["intrinsics"] = None if k[0] is None else Intrinsics(*k, values["width"], values["height"])
        values["box"], values["texts"] = tuple(values["box"]), tuple(values["texts"])
        return Row(**values, mask=self._mask(int(self._rows[index])), folder=self.path.parent)

    def _mask(self, row: int) -> bytes:
        group = int(np.searchsorted(self._starts, row, "right")) - 1
        if self._masks[0] != group:
            self._masks = group, self._file.read_row_group(group, columns=["mask"], use_threads=False)["mask"]
        return self._masks[1][row - int(self._starts[group])].as_py()


def _read_columns(file: Path) -> pa.Table:
    try:
        schema = pq.read_schema(file)
        if not schema.equals(FILE_SCHEMA):
            raise ManifestError(f"{file} has other columns than a manifest: {schema.names}")
        words = [f.name for f in SCHEMA if f.type == _WORD]
        parquet = pq.ParquetFile(file, read_dictionary=words)
        return parquet.read([name for name in SCHEMA.names if name != "mask"]).unify_dictionaries()
    except pa.ArrowInvalid as error:
        raise ManifestError(f"{file} is no manifest: {error}") from None


def write(path: Path, rows: pa.Table, notes: dict) -> None:
    """Written whole or not at all; the same rows and notes give the same bytes. ``notes``: kept with it, as JSON."""
    part = path.with_name(f".{os.getpid()}.{path.name}")
    schema = FILE_SCHEMA.with_metadata({_NOTES: json.dumps(notes, sort_keys=True)})
    pq.write_table(rows.cast(schema), part, row_group_size=ROW_GROUP, compression="zstd")
    part.replace(path)


def read_notes(path: Path) -> dict:
    return json.loads(pq.read_schema(path).metadata[_NOTES])


def encoded(mask: np.ndarray) -> bytes:
    """COCO run lengths of H,W bool."""
    return coco.encode(np.asfortranarray(mask, np.uint8))["counts"]


def check_splits(rows: pa.Table) -> None:
    """Raises ``ManifestError`` that names a group with rows in two splits."""
    pairs = (
        rows.select(["dataset", "group", "split"])
        .group_by(["dataset", "group"])
        .aggregate([("split", "count_distinct")])
    )
    for pair in pairs.filter(pc.greater(pairs["split_count_distinct"], 1)).slice(0, 1).to_pylist():
        raise ManifestError(f"group '{pair['group']}' of {pair['dataset']} is in two splits; split by scene or episode")
