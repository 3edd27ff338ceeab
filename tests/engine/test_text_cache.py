from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.text_cache import TextCache, write

FEATURES = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
MASK = np.array([[1, 0], [1, 1]])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "texts.npz", ["Red  Mug", "cup"], FEATURES, MASK)
    return tmp_path / "texts.npz"


def test_gives_back_what_was_written_however_it_is_spelled(path: Path) -> None:
    texts = TextCache(path)
    for spelling in ("red mug", " RED\tmug ", "the red mug", "A Red Mug"):
        features, mask = texts.features(spelling)
        np.testing.assert_array_equal(features, FEATURES[0])
        np.testing.assert_array_equal(mask, [1, 0])
        assert features.dtype == mask.dtype == np.float32
    features, mask = texts.nothing()
    assert features.shape == (2, 3) and mask.shape == (2,) and not features.any() and not mask.any()


def test_unknown_text_is_named_with_its_neighbours_and_the_remedy(path: Path) -> None:
    with pytest.raises(ValueError, match=r"what 'Red mugs' is; nearest known: red mug\. Export .* --texts 'red mugs'"):
        TextCache(path).features("Red mugs")
    with pytest.raises(ValueError, match="what 'screwdriver' is; it knows 2 others"):
        TextCache(path).features("screwdriver")


def test_a_model_that_was_told_nothing_still_has_the_shape_of_no_text(tmp_path: Path) -> None:
    write(tmp_path / "texts.npz", [], FEATURES[:0], MASK[:0])
    texts = TextCache(tmp_path / "texts.npz")
    assert texts.nothing()[0].shape == (2, 3)
    with pytest.raises(ValueError, match="it knows 0 others"):
        texts.features("cup")


def test_damaged_files_are_named(path: Path, tmp_path: Path) -> None:
    cut, other, pickled, packed = (tmp_path / f"{name}.npz" for name in ("cut", "other", "pickled", "packed"))
    content = bytearray(path.read_bytes())
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 99  # by a method of compression that nobody knows
    packed.write_bytes(content)
    cut.write_bytes(path.read_bytes()[:-60])
    np.savez(other, texts=np.array(["a", "b", "c"]), features=FEATURES, mask=MASK)
    np.savez(pickled, texts=np.array(["a", "b"], object), features=FEATURES, mask=MASK, allow_pickle=True)
    none = "is no text cache"
    for bad, reason in ((cut, none), (other, r"holds \(3,\) texts"), (pickled, none), (packed, none)):
        with pytest.raises(EngineError, match=f"{bad.name} {reason}.*export the model again"):
            TextCache(bad)
