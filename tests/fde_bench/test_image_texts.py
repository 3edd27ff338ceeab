from __future__ import annotations

import pytest

pytest.importorskip("pyarrow", reason="needs focusdepth_core[bench]")

import numpy as np
import pyarrow as pa

from focusdepth_core.fde_bench.image_texts import ImageTexts
from focusdepth_core.fde_bench.manifest import FILE, FILE_SCHEMA, Manifest, write

IMAGES = {
    "a": [["mug", "red mug", "left mug"], ["mug", "blue mug", "right mug"], ["flower vase", "red flower vase"]],
    "b": [["mug", "green mug"], ["vase", "white vase", "left object"], ["object", "white object"]],
    "c": [["spoon", "left spoon"], ["spoon", "right spoon"]],
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    rows = [_row(image, k, texts) for image, all_texts in IMAGES.items() for k, texts in enumerate(all_texts)]
    write(folder / FILE, pa.Table.from_pylist(rows, FILE_SCHEMA), {})
    return ImageTexts(Manifest.open(folder))


def _row(image: str, k: int, texts: list[str]) -> dict:
    words = dict.fromkeys(("dataset", "split", "group", "depth", "mask_source", "licence"), "")
    about = {"id": f"{image}{k}", "image": image, "category": texts[0], "raw_name": texts[0], "texts": texts}
    return words | about | {"box": [0, 0, 1, 1], "mask": b"", "held_out": False}


def test_only_texts_that_no_other_target_has_single_one_out(texts):
    assert texts.singling(0) == ("red mug", "left mug")
    assert texts.singling(2) == ("flower vase", "red flower vase")
    assert texts.singling(3) == ("mug", "green mug"), "its image has one mug"


def test_an_absent_text_fits_nothing(texts):
    """Nor does a relation between things that are not there; one between others may fit."""
    rng, spoons = np.random.default_rng(0), {"spoon", "left spoon", "right spoon"}
    assert _drawn(texts, 0, rng) == {"green mug", "white vase", "white object", *spoons}, "a vase is there"
    assert _drawn(texts, 3, rng) == {"red mug", "blue mug", "flower vase", "red flower vase", *spoons}


def test_the_texts_of_an_image_come_with_the_targets_that_they_fit(texts):
    assert list(texts.rows(4)) == [3, 4, 5] and list(texts.rows(0)) == [0, 1, 2]
    assert texts.named(1) == {
        "mug": [1, 2],
        "red mug": [1],
        "left mug": [1],
        "blue mug": [2],
        "right mug": [2],
        "flower vase": [3],
        "red flower vase": [3],
    }


def _drawn(texts: ImageTexts, row: int, rng: np.random.Generator) -> set[str]:
    """Without the empty text, which is what a draw may come to among so few."""
    return {texts.absent(row, rng) for _ in range(100)} - {""}
