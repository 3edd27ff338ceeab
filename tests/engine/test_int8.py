"""INT8: what is quantised, and that only what passes the self-check stays."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import cv2
import numpy as np
import onnx
import pyarrow as pa

from focusdepth_core.engine import samples
from focusdepth_core.engine.base import Texts
from focusdepth_core.engine.int8 import write_int8
from focusdepth_core.engine.model_folder import ModelFolder, Stages, default_model_dir
from focusdepth_core.engine.open import open_model
from focusdepth_core.engine.precision import PRODUCTS
from focusdepth_core.engine.settings import EngineSettings, Thresholds
from focusdepth_core.fde_bench import manifest
from focusdepth_core.fde_bench.manifest import Manifest, encoded


def write_manifest(folder: Path, images: list[np.ndarray], boxes: list[tuple[float, ...]]) -> Manifest:
    rows = []
    for i, (image, box) in enumerate(zip(images, boxes)):
        height, width = image.shape[:2]
        cv2.imwrite(str(folder / f"{i}.png"), image[..., ::-1])
        about = {"id": str(i), "dataset": "sim", "split": "train", "group": "0", "image": f"{i}.png", "box": box}
        about |= {"depth": f"{i}.png", "depth_scale": 1, "width": width, "height": height, "licence": "none"}
        about |= {"mask": encoded(np.ones((height, width), bool)), "area": width * height, "mask_source": "true"}
        rows.append(about | {"category": "mug", "raw_name": "mug", "texts": [], "held_out": False})
    manifest.write(folder / "it.parquet", pa.Table.from_pylist(rows, manifest.FILE_SCHEMA), {})
    return Manifest.open(folder / "it.parquet")


@pytest.fixture
def black(model: ModelFolder, tmp_path: Path) -> Manifest:
    image = np.zeros((model.input.height, model.input.width, 3), np.uint8)
    return write_manifest(tmp_path, [image], [(10.0, 10.0, 90.0, 90.0)])


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    return ModelFolder.read(shutil.copytree(default_model_dir(), tmp_path / "model"))


@pytest.fixture
def texts(model: ModelFolder) -> Optional[Texts]:
    return open_model(model, "onnxruntime").texts


def test_what_is_seen_in_the_image_is_in_int8_and_passes(
    model: ModelFolder, texts: Optional[Texts], tmp_path: Path
) -> None:
    scenes = samples.read(model.samples)
    boxes = [scene.targets[0].box for scene in scenes]
    seen = write_manifest(tmp_path, [scene.frame.image for scene in scenes], boxes)
    figures = write_int8(model, texts, seen, len(scenes))
    for network in ("focus", "plain"):
        assert figures[network].faults(model.engine.thresholds) == [] and figures[network].deviation > 0
        (path,) = model.networks(network, "int8").values()
        quantised, prompted = products(onnx.load(path).graph)
        assert len(quantised) > 20 and not quantised & prompted, network


def products(graph: onnx.GraphProto) -> tuple[set[str], set[str]]:
    """Those in INT8, and those that a prompt has a part in."""
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    told = {value.name for value in graph.input if value.name != "image"}
    quantised, prompted = set(), set()
    for node in graph.node:
        kinds = {made_by.get(name) for name in node.input[:2]}
        if told & set(node.input):
            told.update(node.output)
            prompted.add(node.output[0])
        if node.op_type in PRODUCTS and kinds == {"DequantizeLinear"}:
            assert node.op_type in ("MatMul", "Gemm")
            quantised.add(node.output[0])
    return quantised, prompted


def test_what_fails_is_left_out_with_its_figures(model: ModelFolder, texts: Optional[Texts], black: Manifest) -> None:
    strict = replace(model, engine=EngineSettings(thresholds=Thresholds(deviation=0.0), inputs=model.engine.inputs))
    figures = write_int8(strict, texts, black, 1)
    for network in ("focus", "plain"):
        assert "deviation" in figures[network].faults(strict.engine.thresholds)[0]
        assert not any(path.exists() for path in model.networks(network, "int8").values())


def test_a_network_in_stages_gets_none(model: ModelFolder, black: Manifest) -> None:
    staged = replace(model, focus=Stages(*(model.plain,) * 3))
    with pytest.raises(ValueError, match="gets no INT8 networks: it is in stages"):
        write_int8(staged, None, black, 1)
