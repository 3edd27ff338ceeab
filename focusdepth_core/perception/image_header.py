"""The size that an image file claims, checked before it is decoded: a small file can claim any."""

from __future__ import annotations

import re

MAX_PIXELS = 64 * 2**20  # of one image; decoding more would fill the memory
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, of any kind
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_PNM = re.compile(rb"P[56]\s+(?:#[^\n]*\s+)*(\d+)\s+(\d+)\s+\d+\s")


def check_size(data: bytes) -> None:
    """Raises ``ValueError``, a sentence that lacks its subject, for no PNG, JPEG or PNM and for one too large."""
    width, height = _size(data)
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"says it has {width} x {height} pixels; at most {MAX_PIXELS} are read")


def _size(data: bytes) -> tuple[int, int]:
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    pnm = _PNM.match(data)
    if pnm:
        return int(pnm[1]), int(pnm[2])
    raise ValueError("is damaged, or no PNG, JPEG, PGM or PPM")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_SIZES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker == 0xFF:  # filling
            at += 1
        else:
            at += 2 if marker in _JPEG_ALONE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ValueError("is damaged: no size in its header")
