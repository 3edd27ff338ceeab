from __future__ import annotations

import cv2
import numpy as np
import pytest

from focusdepth_core.perception.cut import CutDetector


def scene(seed: int, width: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    few = rng.choice(rng.integers(0, 256, (6, 3)), (6, width // 40)).astype(np.uint8)  # six colours of its own
    return cv2.resize(few, (width, 240), interpolation=cv2.INTER_NEAREST)


def test_another_scene_is_a_cut_and_only_its_first_frame() -> None:
    cuts = CutDetector()
    assert [cuts.is_cut(scene(seed)) for seed in (1, 1, 2, 2, 1)] == [False, False, True, False, True]


def test_motion_noise_and_slow_light_are_none() -> None:
    cuts, rng, wide = CutDetector(), np.random.default_rng(0), scene(3, 800)
    for n in range(12):
        seen = wide[:, 12 * n : 12 * n + 320] * (0.7 + 0.02 * n) + rng.normal(0, 4, (240, 320, 3))
        assert not cuts.is_cut(np.clip(seen, 0, 255).astype(np.uint8)), n


@pytest.mark.parametrize("shape", [(30, 20), (720, 1280), (1, 1)])
def test_images_of_any_size(shape: tuple[int, int]) -> None:
    cuts = CutDetector()
    black, white = np.zeros((*shape, 3), np.uint8), np.full((*shape, 3), 255, np.uint8)
    assert [cuts.is_cut(image) for image in (black, black, white)] == [False, False, True]
