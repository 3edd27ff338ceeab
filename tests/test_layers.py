"""Who may import whom: ROS imports core, core never imports ROS, and the running side knows no learning side."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "focusdepth_core"

ROS = {"rclpy", "focusdepth_ros", "ament_index_python", "launch", "launch_ros", "cv_bridge", "rcl_interfaces"}
HEAVY = {"torch", "transformers", "mujoco", "onnxruntime", "tensorrt", "pycuda"}
# These live with the engines, need torch or onnx, and are imported by nobody before they are asked for.
EXPORTING = (
    "export",
    "int8",
    "parity",
    "onnx_file",
    "onnx_graph",
    "precision",
    "prompted",
    "random_model",
    "shared_weights",
)
WITH_TORCH = {f"focusdepth_core.engine.{n}" for n in (*EXPORTING, "torch_backend")}
TORCH_BACKEND = "focusdepth_core.engine.torch_backend"
LEARNING_SIDE = (
    "focusdepth_core.model",
    "focusdepth_core.fde_bench",
    "focusdepth_core.train",
    "focusdepth_core.losses",
    *WITH_TORCH,
)
# Plain numpy, by which engines are judged as models are.
METRICS = tuple(f"focusdepth_core.fde_bench.{n}" for n in ("alignment", "boundary"))

# Imports the modules that are its arguments and prints the top-level names of all that got loaded.
PRINT_LOADED = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def modules(room: str) -> dict[str, Path]:
    """The modules in a folder of focusdepth_core by dotted name."""
    paths = sorted((CORE / room).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return {name: path for name, path in zip(names, paths) if name not in WITH_TORCH}


def loaded_by(names: Iterable[str]) -> set[str]:
    command = [sys.executable, "-c", PRINT_LOADED, *names]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def imports(path: Path) -> set[str]:
    """Every name that a file imports, at its top or inside a function: ``from a import b`` gives a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            base = ".".join([*package, *filter(None, [node.module])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", ["perception", "engine"])
def test_importing_the_running_side_loads_numpy_and_opencv_only(room: str) -> None:
    loaded = loaded_by(modules(room))
    assert "numpy" in loaded
    assert not loaded & (HEAVY | ROS)


def test_importing_the_simulator_loads_neither_torch_nor_ros() -> None:
    loaded = loaded_by(modules("sim"))
    assert "mujoco" in loaded
    assert not loaded & ({"torch", "transformers"} | ROS)


def test_importing_the_metrics_loads_no_network() -> None:
    assert not loaded_by(["focusdepth_core.fde_bench.metrics"]) & (HEAVY | ROS)


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: path.relative_to(CORE).as_posix())
def test_core_never_imports_ros(path: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(path)}
    assert not {name for name in tops if name in ROS or name.endswith("_msgs")}


@pytest.mark.parametrize("room", ["perception", "engine"])
def test_the_running_side_never_imports_the_learning_side(room: str) -> None:
    for module, path in modules(room).items():
        found = {name for name in imports(path) if name.startswith(LEARNING_SIDE)}
        bench = (TORCH_BACKEND, "focusdepth_core.engine.random_model")
        allowed = {"open": (TORCH_BACKEND,), "self_check": METRICS, "bench": bench}.get(module.rpartition(".")[2], ())
        assert not {name for name in found if not name.startswith(allowed)}, path


def test_importing_the_ros_package_does_not_need_ros() -> None:
    assert not loaded_by(["focusdepth_ros"]) & (HEAVY | {"rclpy"})
