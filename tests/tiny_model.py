"""A model folder that costs nothing: depth is the image's mean over RGB, the mask is the box or what a text says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEIGHT = 56, 42
MASK_WIDTH, MASK_HEIGHT = 4 * WIDTH // 14, 4 * HEIGHT // 14
X = (np.arange(MASK_WIDTH, dtype=np.float32) + 0.5).reshape(1, 1, -1) / MASK_WIDTH
Y = (np.arange(MASK_HEIGHT, dtype=np.float32) + 0.5).reshape(1, -1, 1) / MASK_HEIGHT


def config(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": "tiny",
        "license": "Apache-2.0",
        "space": "affine_disparity",
        "prompts": ["box"],
        "input": {"width": WIDTH, "height": HEIGHT, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "files": {"focus": "focus.onnx", "plain": "plain.onnx"},
        **changes,
    }


class BoxEngine:
    """The same network in numpy; remembers the inputs of its last run."""

    name = "numpy"

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.inputs = dict(inputs)
        outputs = {"depth": inputs["image"].mean(axis=1)}
        if "boxes" in inputs:
            cx, cy, w, h = inputs["boxes"].T[..., None, None]
            outputs["mask_logits"] = 50 * np.minimum(w / 2 - abs(X - cx), h / 2 - abs(Y - cy))
        return outputs


class WordEngine(BoxEngine):
    """Takes text too: features of one are the box cx, cy, w, h that it stands for, which a target's own box cuts."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = dict(inputs)
        if "boxes" not in given:
            return super().run(given)
        has_box, has_text = given["has_box"][:, None, None] > 0, given["text_mask"][:, :1, None] > 0
        by_box = super().run(given)["mask_logits"]
        by_text = super().run({**given, "boxes": given["text"][:, 0]})["mask_logits"]
        masks = np.minimum(np.where(has_box, by_box, np.inf), np.where(has_text, by_text, np.inf))
        outputs = super().run({"image": given["image"]}) | {"mask_logits": masks.astype(np.float32)}
        self.inputs = given
        return outputs


def write_model_folder(folder: Path, **changes: Any) -> Path:
    """``changes`` replace top-level values of config.json."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(**changes)))
    onnx.save(_network(with_boxes=False), folder / "plain.onnx")
    onnx.save(_network(with_boxes=True), folder / "focus.onnx")
    return folder


def _network(with_boxes: bool) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    def tensor(name: str, *shape: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs, outputs = [tensor("image", 1, 3, HEIGHT, WIDTH)], [tensor("depth", 1, HEIGHT, WIDTH)]
    nodes = [helper.make_node("ReduceMean", ["image"], ["depth"], axes=[1], keepdims=0)]
    constants = {"x": X, "y": Y, "half": np.float32(0.5), "gain": np.float32(50), "axes": np.array([2])}
    if with_boxes:
        inputs.append(tensor("boxes", "T", 4))
        outputs.append(tensor("mask_logits", "T", MASK_HEIGHT, MASK_WIDTH))
        nodes += [
            helper.make_node("Unsqueeze", ["boxes", "axes"], ["columns"]),
            helper.make_node("Split", ["columns"], ["cx", "cy", "w", "h"], axis=1),
            *_inside(helper, "x", "cx", "w"),
            *_inside(helper, "y", "cy", "h"),
            helper.make_node("Min", ["x_inside", "y_inside"], ["inside"]),
            helper.make_node("Mul", ["inside", "gain"], ["mask_logits"]),
        ]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()] if with_boxes else []
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _inside(helper: Any, axis: str, centre: str, side: str) -> list[Any]:
    """side / 2 - abs(axis - centre)"""
    return [
        helper.make_node("Sub", [axis, centre], [f"{axis}_offset"]),
        helper.make_node("Abs", [f"{axis}_offset"], [f"{axis}_distance"]),
        helper.make_node("Mul", [side, "half"], [f"{axis}_half"]),
        helper.make_node("Sub", [f"{axis}_half", f"{axis}_distance"], [f"{axis}_inside"]),
    ]
