"""Which texts single a target out among those of its image, and which fit none of them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.sim.texts import ANYTHING, RELATIONS

ALIKE = 0.5  # share of the absent texts that are drawn from targets of the same category, such as a mug of other colour
TRIES = 20  # texts that are looked at to find one that fits nothing


class ImageTexts:
    """Of the images in ``manifest``, whose rows of one image lie next to each other."""

    def __init__(self, manifest: Manifest) -> None:
        table = manifest.table
        self._texts = table["texts"]
        images = table["image"].combine_chunks().indices.to_numpy()
        self._starts = np.append(np.flatnonzero(np.diff(images, prepend=-1)), len(images))
        self._codes = table["category"].combine_chunks().indices.to_numpy()
        self._by_category = np.argsort(self._codes, kind="stable")
        self._sorted = self._codes[self._by_category]

    def singling(self, row: int) -> tuple[str, ...]:
        """The row's texts that no other row of its image has; all of them if there is none."""
        here = self._of_image(row)
        counts = Counter(text for texts in here for text in set(texts))
        own = self._of_row(row)
        return tuple(text for text in own if counts[text] == 1) or own

    def rows(self, row: int) -> range:
        """Of the image that ``row`` is of."""
        image = int(np.searchsorted(self._starts, row, "right")) - 1
        return range(*self._starts[image : image + 2].tolist())

    def named(self, row: int) -> dict[str, list[int]]:
        """The texts of the row's image, each with the targets that it fits: their numbers in the image, from 1."""
        found: dict[str, list[int]] = {}
        for label, texts in enumerate(self._of_image(row), 1):
            for text in texts:
                found.setdefault(text, []).append(label)
        return found

    def absent(self, row: int, rng: np.random.Generator) -> str:
        """A text of another image's target that fits none of this image; empty if none was found."""
        present = [_meant(text) for texts in self._of_image(row) for text in texts]
        for _ in range(TRIES):
            text = str(rng.choice(self._of_row(self._other(row, rng))))
            meant = _meant(text)
            if meant and not any(meant <= words for words in present):
                return text
        return ""

    def _other(self, row: int, rng: np.random.Generator) -> int:
        if rng.random() >= ALIKE:
            return int(rng.integers(len(self._codes)))
        low, high = (np.searchsorted(self._sorted, self._codes[row], side) for side in ("left", "right"))
        return int(self._by_category[rng.integers(low, high)])

    def _of_row(self, row: int) -> tuple[str, ...]:
        return tuple(self._texts[row].as_py())

    def _of_image(self, row: int) -> list[list[str]]:
        rows = self.rows(row)
        return self._texts.slice(rows.start, len(rows)).to_pylist()


def _meant(text: str) -> set[str]:
    """Its words but for those that can fit anything: without a mug there is no left one, and with one there may be."""
    return set(text.lower().split()) - {ANYTHING, *RELATIONS}
