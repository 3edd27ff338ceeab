"""The inputs and outputs of a TensorRT engine, with their memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cuda.memory import Buffer
from focusdepth_core.engine.tensorrt_names import Library

Shape = tuple[int, ...]

DTYPES = {"FLOAT": np.float32, "HALF": np.float16}


@dataclass(frozen=True)
class Tensor:
    """``shape``: with -1 per free axis; ``least`` and ``most``: an input's limits; ``buffer``: holds the largest."""

    name: str
    dtype: Any
    shape: Shape
    least: Shape
    most: Shape
    buffer: Buffer

    def size(self, shape: Shape) -> int:
        return size(shape, self.dtype)

    def host(self, shape: Shape) -> np.ndarray:
        return self.buffer.host[: self.size(shape)].view(self.dtype).reshape(shape)

    def takes(self, shape: Shape) -> bool:
        return all(low <= side <= high for low, side, high in zip(self.least, shape, self.most))


def size(shape: Shape, dtype: Any) -> int:
    """Bytes."""
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def input_limits(engine: Any, name: str) -> tuple[Shape, Shape, Shape]:
    """Shape, least and most of an input of the ``ICudaEngine``."""
    shape = tuple(engine.get_tensor_shape(name))
    if -1 not in shape:
        return shape, shape, shape
    least, _, most = engine.get_tensor_profile_shape(name, 0)
    return shape, tuple(least), tuple(most)


def numpy_type(trt: Library, engine: Any, name: str) -> Any:
    """Raises ``EngineError`` for an input or output of another type than FP32 and FP16."""
    kind = engine.get_tensor_dtype(name)
    for key, dtype in DTYPES.items():
        if kind == trt.member("DataType", key):
            return dtype
    raise EngineError(f"'{name}' is {kind}; inputs and outputs are FP32 or FP16")
