"""The TensorRT that the tests compute with has no name that the real one lacks, nor other parameters."""

from __future__ import annotations

import ast
import ctypes
import inspect
import json
from enum import EnumMeta
from pathlib import Path
from typing import Any

import pytest

from focusdepth_core.engine import tensorrt_build
from focusdepth_core.engine.cuda import cudart
from tests.engine import bindings, fake_tensorrt
from tests.engine.bindings import Names
from tests.engine.fake_cudart import FakeCudart
from tests.engine.fake_tensorrt import Fake

WHEELS = {
    "10.3.0": "tensorrt-cu12-bindings",
    "10.13.0.35": "tensorrt-cu11-bindings",
    "11.4.0.106": "tensorrt-cu13-bindings",
    "1.7.1.116": "tensorrt-rtx-cu13-bindings",
}
# What the code asks whether it is there.
ASKED = {
    ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
    ("PreviewFeature", "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"),
    ("OnnxParserFlag", "NATIVE_INSTANCENORM"),
    ("ComputeCapability", ""),
    ("IProgressMonitor", ""),
    ("IExecutionContext", "is_stream_capturable"),
}
RUNTIMES = ("nvidia-cuda-runtime-cu11", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime")


@pytest.fixture(scope="module", params=["8.5.3.1", "8.6.1", *WHEELS])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Names]:
    version = request.param
    if version not in WHEELS:
        return version, json.loads(bindings.TOLD.read_text())[version]
    folder = bindings.unpacked(WHEELS[version], tmp_path_factory.mktemp("bindings"))
    (library,) = folder.glob("tensorrt*_bindings/tensorrt*.so")
    return version, bindings.names(library)


def fake_of(version: str) -> dict[str, type]:
    flavour = "tensorrt_rtx" if version.startswith("1.") else "tensorrt"
    return {
        k: v for k, v in vars(fake_tensorrt.module(Fake(version, flavour, FakeCudart()))).items() if inspect.isclass(v)
    }


def members(kind: type) -> set[str]:
    if isinstance(kind, EnumMeta):
        return set(kind.__members__)
    names = {*dir(kind), *getattr(kind, "__annotations__", ())}
    return {name for name in names if name == "__init__" or not name.startswith("_")}


def test_it_has_no_name_that_the_real_one_lacks(real: tuple[str, Names]) -> None:
    version, there = real
    for name, kind in fake_of(version).items():
        assert name in there, f"TensorRT {version} has no {name}"
        assert not members(kind) - there[name].keys(), f"{name} of TensorRT {version} lacks these"


def test_its_methods_have_the_parameters_of_the_real_one(real: tuple[str, Names]) -> None:
    version, there = real
    compared = 0
    for name, kind in fake_of(version).items():
        for method, function in vars(kind).items():
            if inspect.isfunction(function) and there[name].get(method):
                parameters = list(inspect.signature(function).parameters)[1:]
                overloads = there[name][method] or []
                assert any(takes(o, parameters) for o in overloads), f"{name}.{method} of TensorRT {version}"
                compared += 1
    assert compared >= 30


def takes(overload: list[str], parameters: list[str]) -> bool:
    """The same ones, and more only with defaults."""
    names = [parameter.removesuffix(" =") for parameter in overload]
    more = overload[len(parameters) :]
    return names[: len(parameters)] == parameters and all(parameter.endswith(" =") for parameter in more)


def test_it_has_what_the_code_asks_for_where_the_real_one_has_it(real: tuple[str, Names]) -> None:
    version, there = real
    fake = fake_of(version)
    for kind, member in ASKED:
        found = kind in fake and (not member or member in members(fake[kind]))
        assert found == (kind in there and (not member or member in there[kind])), f"{kind}.{member} of {version}"


def test_what_the_code_asks_for_is_known_here() -> None:
    """So that a new question is compared with the real ones too."""
    folder = Path(tensorrt_build.__file__).parent
    asked: set[Any] = set()
    for path in folder.glob("tensorrt_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                texts = tuple(a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                asked |= {texts} if name in ("member", "hasattr", "getattr") and texts else set()
    assert asked == {tuple(filter(None, question)) for question in ASKED} - {
        ("IExecutionContext", "is_stream_capturable")
    } | {("is_stream_capturable",), ("ComputeCapability",), ("DataType",)}


@pytest.mark.parametrize("project", RUNTIMES)
def test_the_cuda_runtime_library_is_found_and_has_what_is_called(
    project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = bindings.unpacked(project, tmp_path).rglob("libcudart.so.*")
    monkeypatch.syspath_prepend(tmp_path)
    (library,) = (found for found in cudart.libraries() if found._name == str(path))  # with each function looked up
    count = ctypes.c_int()
    status = library.cudaGetDeviceCount(ctypes.byref(count))
    assert library.cudaGetErrorName(status) == {0: b"cudaSuccess", 35: b"cudaErrorInsufficientDriver"}[status]
    monkeypatch.setitem(cudart.SIGNATURES, "cudaNoSuchFunction", ())
    assert not [found for found in cudart.libraries() if found._name == str(path)]
