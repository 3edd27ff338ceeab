"""Frames into the image input of an engine by the GPU: what ``Letterbox.image`` does, and the upload, in one."""

from __future__ import annotations

from ctypes import c_float, c_int, c_void_p
from typing import Optional

import numpy as np

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cuda.kernels import image, kernels
from focusdepth_core.engine.cuda.memory import Buffer, Cuda
from focusdepth_core.engine.model_folder import InputSpec
from focusdepth_core.perception.frame_input import FrameInput
from focusdepth_core.perception.letterbox import Letterbox

TOLERANCE = 3.0  # grey levels: OpenCV rounds to whole ones after each step, the kernel never
STATISTICS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # any do for a proof


class Frames:
    """Of one engine, and one thread at a time. Raises ``EngineError`` where the kernels cannot be had."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda, self._kernels = cuda, kernels(cuda.device.compute_capability)
        self._buffer: Optional[Buffer] = None

    def fill(self, frame: FrameInput, address: int, stream: int) -> None:
        """Puts the frame into the float32 input at ``address``, in the order of the stream."""
        box, spec = frame.letterbox, frame.letterbox.spec
        buffer, channel_step = self._uploaded(frame.rgb, stream)
        pixels = image(buffer.address, frame.rgb.shape[:2], channel_step)
        sizes = (spec.width, spec.height, box.width, box.height)
        scales = [1 / (255 * std) for std in spec.std]
        shifts = [mean / std for mean, std in zip(spec.mean, spec.std)]
        arguments = (c_int(halved(box)), c_void_p(address), *map(c_int, sizes), *map(c_float, scales + shifts))
        self._kernels.launch("letterbox", spec.width, spec.height, stream, pixels, *arguments)

    def prove(self, width: int, height: int, input_buffer: Buffer, stream: int) -> None:
        """For an input of that size. Raises ``EngineError`` if the values are not those of ``Letterbox.image``."""
        spec = InputSpec(width, height, *STATISTICS)
        random = np.random.default_rng(0)
        size = 4 * 3 * height * width
        for rows, columns in ((height // 2, width // 2 - 1), (height + 37, width + 11), (4 * height, 4 * width)):
            rgb = random.integers(0, 256, (rows, columns, 3), np.uint8)
            box = Letterbox(columns, rows, spec)
            self.fill(FrameInput(rgb, box), input_buffer.address, stream)
            self._cuda.download(input_buffer, size, stream)
            self._cuda.synchronize(stream)
            got = input_buffer.host[:size].view(np.float32).reshape(3, height, width)
            error = float((255 * np.abs(got - box.image(rgb)[0]) * np.reshape(spec.std, (3, 1, 1))).max())
            if not error <= TOLERANCE:
                raise EngineError(f"{columns} x {rows} pixels differ by {error:.1f} grey levels from OpenCV's")
        self.release()  # frames may be smaller

    def release(self) -> None:
        if self._buffer is not None:
            self._cuda.release(self._buffer)
        self._buffer = None

    def _uploaded(self, rgb: np.ndarray, stream: int) -> tuple[Buffer, int]:
        """And the step from one channel to the next: frames of BGR cameras are views with their channels reversed."""
        flipped = rgb[..., ::-1]
        packed, channel_step = (flipped, -1) if flipped.flags.c_contiguous else (rgb, 1)
        if self._buffer is None or self._buffer.host.size < rgb.size:
            self.release()
            self._buffer = self._cuda.buffer(rgb.size)
        self._buffer.host[: rgb.size].reshape(rgb.shape)[...] = packed
        self._cuda.upload(self._buffer, rgb.size, stream)
        return self._buffer, channel_step


def halved(letterbox: Letterbox) -> int:
    """How ``resized`` does it: from 2, 4, ... pixels halved into one, then bilinearly; 1: bilinearly; 0: by area."""
    rows, columns, factor = letterbox.frame_height, letterbox.frame_width, 1
    while rows >= 2 * letterbox.height and columns >= 2 * letterbox.width and not (rows % 2 or columns % 2):
        rows, columns, factor = rows // 2, columns // 2, 2 * factor
    return factor if factor > 1 or letterbox.width >= columns else 0
