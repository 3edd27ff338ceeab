from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import numpy as np
import torch

from focusdepth_core.fde_bench.augment import ASKED
from focusdepth_core.losses import presence_loss
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.prompt.lite import LiteConfig
from focusdepth_core.training.data import validation_batches
from focusdepth_core.training.presence import best_threshold, calibrate, scores
from focusdepth_core.training.recipe import Stage
from tests.training.tiny import GEOMETRY, config, write_data

SEARCH = Stage("search", "search", 1, "first")


@pytest.mark.parametrize(
    ("present", "absent", "threshold", "accuracy"),
    [
        ([0.9, 0.8], [0.1, 0.2], 0.5, 1.0),
        ([0.9, 0.8, 0.3, 0.7], [0.1, 0.2, 0.6, 0.1], 0.25, 0.875),
        ([0.02, 0.03], [0.01], 0.015, 1.0),
    ],
)
def test_the_threshold_lies_between_what_it_parts(present, absent, threshold, accuracy):
    assert best_threshold(np.array(present), np.array(absent)) == pytest.approx((threshold, accuracy))


def test_the_loss_is_low_for_right_answers_alone():
    right, wrong = torch.tensor([4.0, -4.0]), torch.tensor([-4.0, 4.0])
    present = torch.tensor([1.0, 0.0])
    assert presence_loss(right, present) < 0.02 < 3.9 < presence_loss(wrong, present)


def test_texts_that_fit_and_texts_that_do_not_choose_the_threshold(tmp_path):
    words = LiteConfig(width=16, depth=1, heads=2, stem=8, text=8, words=("mug", "red", "spoon"), prior=True)
    settings = config(tmp_path / "run", write_data(tmp_path), model=FocusDepthConfig(GEOMETRY, words))
    model = FocusDepth(settings.model).eval()
    present, absent = scores(model, settings, SEARCH)
    shown = [text for batch, _ in validation_batches(settings, SEARCH, model.prompt) for text in sum(batch.asked, ())]
    assert {"mug", "red spoon"} == set(shown) and len(present) + len(absent) == len(shown) == 4 * ASKED
    assert len(absent) > 0
    accuracy = calibrate(model, settings, SEARCH)
    threshold = float(model.prompt.threshold)
    assert accuracy == pytest.approx(((present >= threshold).mean() + (absent < threshold).mean()) / 2)
    assert accuracy >= 0.5
