"""What an engine depends on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.tensorrt_build import Runtime

SCHEMA = 1  # of how engines are built; another one makes all older engines stale
# In an ONNX file the place of a tensor in another: a field of TensorProto with the key "location" and the file's name.
EXTERNAL = re.compile(rb"\x6a([\x80-\xff]?.)\x0a\x08location\x12([\x80-\xff]?.)", re.DOTALL)
JETSON = Path("/etc/nv_tegra_release")  # where the GPU has the computer's memory, of which there are several sizes


@dataclass(frozen=True)
class EngineKey:
    """``onnx_sha256``: of the network with its weights; ``memory_gb``: on Jetson, else 0; ``shapes``: smallest, usual
    and largest of each input, such as "1x4 1x4 16x4"."""

    onnx_sha256: str
    flavour: str
    tensorrt: str
    gpu: str
    compute_capability: str
    memory_gb: int
    cuda_major: str
    precision: str
    shapes: Mapping[str, str]
    workspace_mb: int
    schema: int = SCHEMA

    @classmethod
    def of(
        cls,
        network: Path,
        runtime: Runtime,
        precision: str,
        profiles: Mapping[str, Sequence[Sequence[int]]],
        workspace_mb: int,
    ) -> EngineKey:
        """Raises ``EngineError`` for a file that cannot be read."""
        return cls(
            network_sha256(network),
            runtime.flavour,
            runtime.version,
            runtime.gpu,
            runtime.compute_capability,
            round(runtime.memory_mb / 1024) if JETSON.exists() else 0,
            runtime.cuda.partition(".")[0],
            precision,
            {name: " ".join("x".join(map(str, shape)) for shape in shapes) for name, shapes in profiles.items()},
            workspace_mb,
        )

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def network_sha256(network: Path) -> str:
    """Of an ONNX file, and of the files with weights that it names. Raises ``EngineError`` if they cannot be read."""
    try:
        graph = network.read_bytes()
        digest = hashlib.sha256(graph)
        for name in external_files(graph):
            status = (network.parent / name).stat()
            digest.update(_sha256(network.parent / name, status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise EngineError(f"{network} cannot be read: {error}") from None
    return digest.hexdigest()


def external_files(graph: bytes) -> list[str]:
    """That an ONNX file names, relative to its folder; read without the ``onnx`` package, which robots do without."""
    names = set()
    for found in EXTERNAL.finditer(graph):
        length, entry = (_varint(digits) for digits in found.groups()[::-1])
        if found.end() - found.end(1) + length == entry:  # else it is by accident in some weights
            names.add(graph[found.end() : found.end() + length].decode(errors="replace"))
    return sorted(names)


def _varint(digits: bytes) -> int:
    return sum((digit & 0x7F) << 7 * place for place, digit in enumerate(digits))


@lru_cache(maxsize=4)
def _sha256(path: Path, size: int, changed_ns: int) -> bytes:
    """Once for all networks of a folder; ``size`` and ``changed_ns`` tell an edited file from the one before."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.digest()
