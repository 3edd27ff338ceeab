"""The texts that an exported model knows, with what its text encoder said of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from focusdepth_core.engine.base import EngineError

ARTICLES = ("a", "an", "the")


def normalised(text: str) -> str:
    """Small letters and single spaces, as text encoders read it too, without an article in front."""
    first, *rest = text.lower().split() or [""]
    return " ".join(rest if rest and first in ARTICLES else [first, *rest])


class TextCache:
    """An npz with ``texts`` (N strings, normalised), ``features`` (N,L,C float16) and ``mask`` (N,L bool).

    Raises ``EngineError`` for a file that is none.
    """

    def __init__(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                texts, features, mask = file["texts"], file["features"], file["mask"]
        except Exception as error:  # damaged archives fail in many ways: zlib.error, NotImplementedError, ...
            raise EngineError(f"{path} is no text cache ({error}); export the model again") from None
        if texts.ndim != 1 or features.ndim != 3 or mask.shape != features.shape[:2] or len(texts) != len(mask):
            raise EngineError(
                f"{path} holds {texts.shape} texts, {features.shape} features and a {mask.shape} mask, which do not "
                "belong together; export the model again"
            )
        self._index = {str(text): i for i, text in enumerate(texts)}
        self._features, self._mask = features.astype(np.float32), mask.astype(np.float32)

    def features(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """See ``Texts.features``; a text that is not in the file is refused."""
        key = normalised(text)
        if key not in self._index:
            near = difflib.get_close_matches(key, self._index, 3)
            known = f"nearest known: {', '.join(near)}" if near else f"it knows {len(self._index)} others"
            raise ValueError(
                f"the model has not been told what '{text}' is; {known}. Export it again with --texts '{key}' to add it"
            )
        i = self._index[key]
        return self._features[i], self._mask[i]

    def nothing(self) -> tuple[np.ndarray, np.ndarray]:
        """See ``Texts.nothing``."""
        return np.zeros(self._features.shape[1:], np.float32), np.zeros(self._mask.shape[1:], np.float32)


def write(path: Path, texts: Sequence[str], features: np.ndarray, mask: np.ndarray) -> None:
    """``features``: N,L,C; ``mask``: N,L; N may be 0."""
    keys = np.array([normalised(text) for text in texts], dtype=np.str_)
    np.savez_compressed(path, texts=keys, features=features.astype(np.float16), mask=mask.astype(bool))
