from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import numpy as np
import torch

from focusdepth_core.losses import presence_loss
from focusdepth_core.training.presence import best_threshold


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
