"""TensorRT-RTX compiles what the project exports, with the project's own code; it alone can do so without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from focusdepth_core.engine.model_folder import ModelFolder, default_model_dir
from tests.engine import bindings

onnx = pytest.importorskip("onnx", reason="needs focusdepth_core[train]")
pytest.importorskip("onnx.parser")
ROOT = Path(__file__).parents[2]
MOST = 8  # targets
UNKNOWN = """<ir_version: 8, opset_import: ["" : 18, "elsewhere" : 1]>
net (float[1, 4] x) => (float[1, 4] y) { y = elsewhere.Unheard (x) }"""
COMPILE = """
import json, sys
from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.tensorrt_build import build
from focusdepth_core.engine.tensorrt_names import library
found = {"flavour": library().flavour}
for path, asked in json.loads(sys.argv[1]).items():
    said = []
    try:
        plan = build(path, workspace_mb=1024, report=lambda *state: said.append(state), **asked)
        found[path] = {"bytes": len(plan), "fractions": [fraction for fraction, _ in said]}
    except EngineError as error:
        found[path] = {"error": str(error)}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def rtx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import tensorrt_rtx from."""
    folder = tmp_path_factory.mktemp("rtx")
    for project in ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs"):
        bindings.unpacked(project, folder)
    (folder / "tensorrt_rtx.py").write_text(
        "from tensorrt_rtx_bindings import *\nfrom tensorrt_rtx_bindings import __version__\n"
    )  # as the package of that name does, which is built when it is installed
    return folder


def compiled(rtx: Path, paths: dict[Path, str]) -> dict[str, Any]:
    """``paths``: with the precision of each."""
    asked = {str(path): {"precision": precision, "profiles": profiles(path)} for path, precision in paths.items()}
    environment = {**os.environ, "PYTHONPATH": f"{rtx}:{ROOT}"}
    command = [sys.executable, "-c", COMPILE, json.dumps(asked)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("flavour") == "tensorrt_rtx"
    return found


def profiles(path: Path) -> dict[str, list[list[int]]]:
    graph = onnx.load(path, load_external_data=False).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    return {
        name: [[side.dim_value or targets for side in shape] for targets in (1, 2, MOST)]
        for name, shape in shapes.items()
        if any(side.dim_param for side in shape)
    }


def networks(folder: Path, *names: str) -> dict[Path, str]:
    """The FP32 files of a model, and the same in FP16."""
    from focusdepth_core.engine.precision import write_variants

    paths = {folder / f"{name}.onnx": "fp32" for name in names}
    return paths | {write_variants(path)[0]: "fp16" for path in list(paths)}


def test_every_network_of_the_shipped_model_compiles(rtx: Path, tmp_path: Path) -> None:
    model = ModelFolder.read(default_model_dir())
    for path in (model.focus, model.plain):
        onnx.save(onnx.load(path), tmp_path / path.name)  # with the weights that may lie beside it
    found = compiled(rtx, networks(tmp_path, "focus", "plain"))
    assert len(found) == 4 and not [value["error"] for value in found.values() if "error" in value]
    sizes = {Path(path).name: value["bytes"] for path, value in found.items()}
    assert all(0 < max(value["fractions"]) <= 1 for value in found.values()), "progress is told"
    assert all(1e6 < size < 5e7 for size in sizes.values()), sizes


def test_every_network_of_a_model_with_sam3_compiles(rtx: Path, tmp_path: Path) -> None:
    found = compiled(rtx, networks(sam3(tmp_path), "vision", "prompt", "geometry"))
    assert len(found) == 6 and not [value["error"] for value in found.values() if "error" in value]


def sam3(folder: Path) -> Path:
    """A tiny model with SAM3, exported."""
    torch = pytest.importorskip("torch", reason="needs focusdepth_core[train]")
    from focusdepth_core.engine.export import export
    from focusdepth_core.model.focusdepth import FocusDepth, FocusDepthConfig
    from focusdepth_core.model.geometry.da2 import DepthAnythingV2Config
    from focusdepth_core.model.prompt.sam3 import Sam3PromptConfig
    from tests.model import tiny_sam3

    weights = tiny_sam3.write(folder / "sam3", tiny_sam3.tensors())
    prompt = Sam3PromptConfig(weights=str(weights), side=112, architecture=tiny_sam3.ARCHITECTURE)
    geometry = DepthAnythingV2Config(
        height=42, width=56, hidden=16, layers=4, heads=2, neck=(8, 8, 8, 8), fusion=8, head=8
    )
    torch.manual_seed(0)
    FocusDepth(FocusDepthConfig(geometry, prompt)).save_pretrained(folder / "focus")
    export(folder / "focus", folder / "model", texts=["red mug"], opset=16)  # by the faster exporter
    return folder / "model"


def test_what_it_cannot_read_is_one_sentence(rtx: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(UNKNOWN), path)
    (found,) = compiled(rtx, {path: "fp32"}).values()
    assert "net.onnx cannot be read by tensorrt_rtx 1.7.1.116: " in found["error"] and "\n" not in found["error"]
