"""A real camera's frame comes out of the manifest as it was measured when its masks were drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from focusdepth_core.fde_bench.build import build, merge
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.fde_bench.sources.rgbd import RGBD

REAL = Path(__file__).with_name("real")


def test_object_depths_match_their_json(tmp_path):
    source = RGBD(REAL)
    build(source, tmp_path, workers=1)
    assert merge(source, tmp_path).bad == []
    targets = json.loads((REAL / "ycbv_3.json").read_text())["targets"]
    rows = list(Manifest.open(tmp_path))
    assert len(rows) == len(targets) == 3
    for row, target in zip(rows, targets):
        depth = row.read_depth()[row.read_mask()]
        assert (row.category, row.area, list(row.box)) == (target["category"], target["area"], target["box_xyxy"])
        assert np.median(depth[depth > 0]) == pytest.approx(target["median_depth_m"], rel=0.01)
        assert np.mean(depth > 0) == pytest.approx(target["valid_depth_fraction"], abs=0.002)
        assert row.licence == "MIT" and "hand polygon" in row.mask_source
