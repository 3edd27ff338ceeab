"""Reading the image files of others: the size in the header is checked before anything is decoded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from focusdepth_core.perception import image_header

MAX_PIXELS = image_header.MAX_PIXELS
_TAIL = 1024  # bytes in which the end mark of a whole file lies


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
    _check(data, path)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise OSError(f"{path} is damaged")
    return image


def _check(data: bytes, path: Path) -> None:
    marks = {b"\x89PNG": b"IEND", b"\xff\xd8": b"\xff\xd9"}  # of the first and the last chunk
    if any(data.startswith(first) and last not in data[-_TAIL:] for first, last in marks.items()):
        raise OSError(f"{path} is damaged: its end is missing")
    try:
        image_header.check_size(data)
    except ValueError as error:
        raise OSError(f"{path} {error}") from None
