from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from focusdepth_core.fde_bench import manifest
from focusdepth_core.losses import presence_loss
from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
from focusdepth_core.model.prompt.lite import LiteConfig
from focusdepth_core.training import presence
from focusdepth_core.training.presence import best_threshold, scores
from focusdepth_core.training.step import predict
from tests.training.tiny import GEOMETRY, STAGES, config, write_data


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


def test_texts_of_all_forms_choose_the_threshold(tmp_path, monkeypatch):
    rows = pq.read_table(write_data(tmp_path) / manifest.FILE)
    texts = pa.array([[name, f"blue {name}"] for name in rows["category"].to_pylist()], rows["texts"].type)
    manifest.write(tmp_path / manifest.FILE, rows.set_column(rows.schema.get_field_index("texts"), "texts", texts), {})
    words = LiteConfig(width=16, depth=1, heads=2, stem=8, text=8, words=("mug", "red", "spoon", "blue"))
    settings = config(tmp_path / "run", tmp_path, model=FocusDepthConfig(GEOMETRY, words))
    settings = replace(settings, data=replace(settings.data, validation_samples=16))
    asked = []

    def noted(model, batch, kinds):
        asked.extend(batch.text)
        return predict(model, batch, kinds)

    monkeypatch.setattr(presence, "predict", noted)
    present, absent = scores(FocusDepth(settings.model).eval(), settings, STAGES[2])
    assert {"mug", "blue mug"} <= set(asked) and len(present) + len(absent) == len(asked) == 32
