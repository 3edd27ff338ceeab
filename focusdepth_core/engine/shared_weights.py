"""The weights of several ONNX files in one file beside them: another precision of a network costs its graph only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

MIN_BYTES = 1024  # smaller tensors stay in the graph
ALIGNMENT = 64  # bytes, so that runtimes can map the file


def share(networks: Sequence[Path], weights: Path) -> None:
    """Move the large constants of ``networks`` to ``weights``, equal ones once; all are in one folder."""
    places: dict[bytes, int] = {}
    with weights.open("wb") as file:
        for path in networks:
            model = onnx.load(path)
            for tensor in model.graph.initializer:
                values = tensor.raw_data
                if len(values) < MIN_BYTES:
                    continue
                digest = hashlib.sha256(values).digest()
                if digest not in places:
                    file.write(bytes(-file.tell() % ALIGNMENT))
                    places[digest] = file.tell()
                    file.write(values)
                set_external_data(tensor, weights.name, places[digest], len(values))
                tensor.ClearField("raw_data")
            path.write_bytes(model.SerializeToString())
