"""The names and parameters that the real bindings of TensorRT have, read from them without TensorRT itself.

The bindings of a version are one library in a small wheel. Over empty libraries in place of TensorRT's they can be
imported, though not used. tensorrt_8.json holds what this found in those of TensorRT 8, whose wheels are large or for
old Pythons only; ``python -m tests.engine.bindings 8.5.3.1=tensorrt.so`` prints such a file.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Optional

import pytest

PROOFS = Path(sys.prefix) / "engine_proofs"  # wheels, see requirements/engine_proofs.txt
TOLD = Path(__file__).parent / "tensorrt_8.json"
# What the bindings take from TensorRT while they are imported.
STUBS = (
    *(f"createInfer{kind}_INTERNAL" for kind in ("Builder", "Refitter", "Runtime")),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
    *("_ZN11nvuffparser15createUffParserEv", "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi"),
    *("_ZN14nvcaffeparser117createCaffeParserEv", "_ZN14nvcaffeparser123shutdownProtobufLibraryEv"),
)

KINDS = (
    *("BuilderFlag", "ComputeCapability", "DataType", "MemoryPoolType", "NetworkDefinitionCreationFlag"),
    *("PreviewFeature", "TacticSource", "TensorIOMode", "Builder", "IBuilderConfig", "ICudaEngine"),
    *("IExecutionContext", "ILayer", "ILogger", "INetworkDefinition", "IOptimizationProfile", "IProgressMonitor"),
    *("ITensor", "OnnxParser", "OnnxParserFlag", "ParserError", "Runtime"),
)  # that the project uses

# Members by class; for methods the parameters of each overload, " =" after one with a default; else None.
Names = dict[str, dict[str, Optional[list[list[str]]]]]


def wheel(project: str) -> Path:
    """Skips the test where it was not downloaded."""
    found = sorted(PROOFS.glob(f"{project.replace('-', '_')}-*.whl"))
    if not found:
        pytest.skip(
            f"needs the wheel of {project}: pip download --no-deps -d {PROOFS} -r requirements/engine_proofs.txt"
        )
    return found[0]


def unpacked(project: str, folder: Path) -> Path:
    with zipfile.ZipFile(wheel(project)) as archive:
        archive.extractall(folder)
    return folder


def names(library: Path) -> Names:
    """In a process of its own, as no other can hold two versions."""
    command = [sys.executable, __file__, f"it={library}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["it"]


def read(library: Path) -> Names:
    with tempfile.TemporaryDirectory() as folder:
        for needed in _needed(library):
            ctypes.CDLL(str(_empty(Path(folder), needed)), ctypes.RTLD_GLOBAL)
        spec = importlib.util.spec_from_file_location(library.stem, library)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return {name: _members(getattr(module, name)) for name in KINDS if hasattr(module, name)}


def _needed(library: Path) -> list[str]:
    said = subprocess.run(["readelf", "-d", str(library)], capture_output=True, text=True, check=True).stdout
    return re.findall(r"NEEDED.*\[(lib(?:nv|tensorrt).*)\]", said)


def _empty(folder: Path, name: str) -> Path:
    source = folder / "stub.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in STUBS))
    command = ["g++", "-x", "c", "-shared", "-w", str(source), "-o", str(folder / name), f"-Wl,-soname,{name}"]
    subprocess.run(command, check=True)
    return folder / name


def _members(kind: type) -> dict[str, Optional[list[list[str]]]]:
    shown = [name for name in dir(kind) if name == "__init__" or not name.startswith("_")]
    return {name: _parameters(name, getattr(kind, name)) for name in shown}


def _parameters(name: str, member: Any) -> Optional[list[list[str]]]:
    """From the docstring, where pybind11 writes ``name(self: T, one: U, two: V = 0) -> W`` for each overload."""
    found = re.findall(rf"^(?:\d+\. )?{name}\(self: [^,()]*(?:, )?(.*)\) ->", member.__doc__ or "", re.MULTILINE)
    return [
        ["".join(p) for p in re.findall(r"(?:^|, )(\w+): [^=,]*?( =|(?=,|$))", parameters)] for parameters in found
    ] or None


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    print(json.dumps({version: read(Path(path)) for version, path in given.items()}, sort_keys=True))
