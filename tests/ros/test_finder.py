"""A node whose model takes boxes answers to text, by a finder on keyframes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("focusdepth_ros.msg", reason="needs the built package: ./run build")
pytest.importorskip("onnx", reason="writes the networks")

import onnx
from std_msgs.msg import String

from focusdepth_core.engine import text_cache
from focusdepth_ros.focus_node import open_pipeline
from focusdepth_ros.image_msgs import to_image
from tests.ros.harness import HEIGHT_PX, WIDTH_PX, Rig, header
from tests.tiny_model import config, write_model_folder

PAUSE_S, LAST = 1.0, 10  # to a finder that is late, and images; the next keyframe is due long after
MOVED_PX = 10
LEFT = (0.25, 0.5, 0.5, 1.0)  # cx, cy, w, h of what "left half" names
TEXTURE = np.random.default_rng(0).integers(0, 255, (HEIGHT_PX, 2 * WIDTH_PX, 3), np.uint8)


@pytest.fixture
def finder_dir(tmp_path: Path) -> Path:
    """The network for boxes, given the first row of a text's features in their place."""
    folder = write_model_folder(tmp_path / "finder")
    network = onnx.load(folder / "focus.onnx")
    graph, tensor, numbers = network.graph, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    for node in graph.node:
        node.input[:] = ["told" if name == "boxes" else name for name in node.input]
    first = onnx.numpy_helper.from_array(np.array(0), "first")
    graph.initializer.append(first)
    graph.node.insert(0, onnx.helper.make_node("Gather", ["text", "first"], ["told"], axis=1))
    shapes = {"has_box": ("T",), "text": ("T", 2, 4), "text_mask": ("T", 2)}
    graph.input.extend(tensor(name, numbers, shape) for name, shape in shapes.items())
    onnx.save(network, folder / "focus.onnx")
    files = {**config()["files"], "texts": "texts.npz"}
    (folder / "config.json").write_text(json.dumps(config(prompts=["box", "text"], files=files)))
    features = np.zeros((1, 2, 4), np.float32)
    features[0, 0] = LEFT
    text_cache.write(folder / "texts.npz", ["left half"], features, np.array([[1, 0]]))
    return folder


@pytest.fixture
def rig(make_rig: Any, finder_dir: Path, tmp_path: Path) -> Rig:
    model_dir = write_model_folder(tmp_path / "model")
    told = {"model_dir": str(model_dir), "finder__model_dir": str(finder_dir), "keyframe__max_age": 60.0}
    made: list[Rig] = []
    pipeline = lambda p: open_pipeline(p, on_trouble=lambda sentence: made[0].node._on_trouble(sentence))  # noqa: E731
    made.append(make_rig(pipeline, pair_wait=0.0, backend="onnxruntime", threads=1, **told))
    made[0].start("relative_depth/image", "target_mask")
    return made[0]


def answered(rig: Rig, seconds: int, picture: np.ndarray) -> np.ndarray:
    """The mask of the answer to an image, H,W."""
    rig.send("image", to_image(np.ascontiguousarray(picture), "rgb8", header(seconds)))
    masks = rig.received["target_mask"]
    rig.spin_until(lambda: any(m.header.stamp.sec == seconds for m in masks), "an answer")
    (mask,) = (m for m in masks if m.header.stamp.sec == seconds)
    return np.frombuffer(mask.data, np.uint16).reshape(HEIGHT_PX, WIDTH_PX)


def until_found(rig: Rig) -> int:
    """Sends the same image until the target is seen, however late the finder is, and returns the last one's second."""
    for n in range(2, LAST):
        if answered(rig, n, TEXTURE[:, :WIDTH_PX]).any():
            return n
        time.sleep(PAUSE_S)
    raise AssertionError("the finder has not answered")


def test_a_text_is_found_and_follows_the_image(rig: Rig) -> None:
    rig.focus(String(data="left half"))
    assert not answered(rig, 1, TEXTURE[:, :WIDTH_PX]).any(), "the first image waits for nobody"
    n = until_found(rig)
    for left in range(2, MOVED_PX + 1, 2):
        mask = answered(rig, n + left, TEXTURE[:, left : left + WIDTH_PX])
    assert abs(np.flatnonzero(mask.any(0)).max() - (WIDTH_PX / 2 - MOVED_PX)) <= 6


def test_a_text_that_the_finder_does_not_know_is_refused(rig: Rig) -> None:
    rig.send("target_text", String(data="left hall"))
    rig.spin_until(lambda: "nearest known: left half" in rig.said(), "the reason")


def test_a_target_that_cannot_be_followed_is_in_the_status_until_it_can(rig: Rig) -> None:
    rig.focus(String(data="left half"))
    n = until_found(rig)
    answered(rig, n + 1, np.full_like(TEXTURE[:, :WIDTH_PX], 90))
    rig.spin_until(lambda: "is lost: the image does not show where it went" in rig.said(), "the complaint")
    answered(rig, 1, TEXTURE[:, :WIDTH_PX])  # a new start
    rig.spin_until(lambda: "is lost" not in rig.said(), "no complaint")
