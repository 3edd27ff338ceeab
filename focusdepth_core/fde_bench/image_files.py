"""Reading the image files of others: the size in the header is checked before anything is decoded."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

MAX_PIXELS = 64 * 2**20  # of one image; a small file can claim any size, and decoding would fill the memory
_TAIL = 1024  # bytes in which the end mark of a whole file lies
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, of any kind
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_PNM = re.compile(rb"P[56]\s+(?:#[^\n]*\s+)*(\d+)\s+(\d+)\s+\d+\s")


def read_rgb(path: Path) -> np.ndarray:
    """H,W,3 uint8. Raises ``OSError`` that names the file if it is missing, damaged or too large."""
    return cv2.cvtColor(_decoded(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), cv2.COLOR_BGR2RGB)


def read_depth(path: Path) -> np.ndarray:
    """H,W uint16. Raises ``OSError`` as ``read_rgb``, and for a file that is not 16-bit gray."""
    return _gray(path, ("uint16",))


def read_ids(path: Path) -> np.ndarray:
    """H,W uint8 or uint16: an instance map. Raises ``OSError`` as ``read_rgb``, and for a file that is not gray."""
    return _gray(path, ("uint8", "uint16"))


def _gray(path: Path, types: tuple[str, ...]) -> np.ndarray:
    image = _decoded(path, cv2.IMREAD_UNCHANGED)
    if image.ndim != 2 or image.dtype.name not in types:
        channels = image.shape[2] if image.ndim == 3 else 1
        raise OSError(f"{path} has {channels} channels of {image.dtype}; expected one of {' or '.join(types)}")
    return image


def _decoded(path: Path, flags: int) -> np.ndarray:
    data = path.read_bytes()
    width, height = _size(data, path)
    if not 0 < width * height <= MAX_PIXELS:
        raise OSError(f"{path} says it has {width} x {height} pixels; at most {MAX_PIXELS} are read")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise OSError(f"{path} is damaged")
    return image


def _size(data: bytes, path: Path) -> tuple[int, int]:
    """Width and height as the header of a PNG, JPEG or PNM says."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        _check_end(b"IEND" in data[-_TAIL:], path)
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(b"\xff\xd8"):
        _check_end(b"\xff\xd9" in data[-_TAIL:], path)
        return _jpeg_size(data, path)
    pnm = _PNM.match(data)
    if pnm:
        return int(pnm[1]), int(pnm[2])
    raise OSError(f"{path} is damaged, or no PNG, JPEG, PGM or PPM")


def _check_end(found: bool, path: Path) -> None:
    if not found:
        raise OSError(f"{path} is damaged: its end is missing")


def _jpeg_size(data: bytes, path: Path) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_SIZES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker == 0xFF:  # filling
            at += 1
        else:
            at += 2 if marker in _JPEG_ALONE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise OSError(f"{path} is damaged: no size in its header")
