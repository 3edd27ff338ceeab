"""Frames into the image input of an engine by the GPU: what ``Letterbox.image`` does, and the upload, in one."""

from __future__ import annotations

from ctypes import c_float, c_int, c_void_p
from typing import Optional

import cv2
import numpy as np

from focusdepth_core.engine.base import EngineError
from focusdepth_core.engine.cuda.kernels import Image, image, kernels
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
        pixels = self._uploaded(frame, stream)
        sizes = (spec.width, spec.height, box.width, box.height)
        scales = [1 / (255 * std) for std in spec.std]
        shifts = [mean / std for mean, std in zip(spec.mean, spec.std)]
        arguments = (c_int(halved(box)), c_void_p(address), *map(c_int, sizes), *map(c_float, scales + shifts))
        self._kernels.launch("letterbox", spec.width, spec.height, stream, pixels, *arguments)

    def prove(self, width: int, height: int, input_buffer: Buffer, stream: int) -> None:
        """For an input of that size. Raises ``EngineError`` if the values are not those of ``Letterbox.image``."""
        spec = InputSpec(width, height, *STATISTICS)
        random = np.random.default_rng(0)
        try:
            for rows, columns in ((height // 2, width // 2 - 1), (height + 37, width + 11), (4 * height, 4 * width)):
                rgb = random.integers(0, 256, (rows, columns, 3), np.uint8)
                self._compare(FrameInput(rgb, Letterbox(columns, rows, spec)), input_buffer, stream)
            nv12 = random.integers(0, 256, (rows * 3 // 2, columns), np.uint8)
            rgb = cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12)
            self._compare(FrameInput(rgb, Letterbox(columns, rows, spec), nv12), input_buffer, stream)
        finally:
            self.release()  # frames may be smaller

    def _compare(self, frame: FrameInput, input_buffer: Buffer, stream: int) -> None:
        _, planes, height, width = frame.shape
        size = 4 * planes * height * width
        self.fill(frame, input_buffer.address, stream)
        self._cuda.download(input_buffer, size, stream)
        self._cuda.synchronize(stream)
        got, want = input_buffer.host[:size].view(np.float32).reshape(frame.shape), np.asarray(frame)
        error = float((255 * np.abs(got - want) * np.reshape(frame.letterbox.spec.std, (3, 1, 1))).max())
        if not error <= TOLERANCE:
            size_px = f"{frame.letterbox.frame_width} x {frame.letterbox.frame_height}"
            raise EngineError(f"{size_px} pixels differ by {error:.1f} grey levels from OpenCV's")

    def release(self) -> None:
        if self._buffer is not None:
            self._cuda.release(self._buffer)
        self._buffer = None

    def _uploaded(self, frame: FrameInput, stream: int) -> Image:
        """As the camera gave it: frames of BGR cameras may be views with their channels reversed."""
        if frame.nv12 is not None:
            order, packed = "nv12", frame.nv12
        elif frame.rgb[..., ::-1].flags.c_contiguous:
            order, packed = "bgr", frame.rgb[..., ::-1]
        else:
            order, packed = "rgb", frame.rgb
        if self._buffer is None or self._buffer.host.size < packed.size:
            self.release()
            self._buffer = self._cuda.buffer(packed.size)
        self._buffer.host[: packed.size].reshape(packed.shape)[...] = packed
        self._cuda.upload(self._buffer, packed.size, stream)
        return image(self._buffer.address, frame.rgb.shape[:2], order)


def halved(letterbox: Letterbox) -> int:
    """How ``resized`` does it: from 2, 4, ... pixels halved into one, then bilinearly; 1: bilinearly; 0: by area."""
    rows, columns, factor = letterbox.frame_height, letterbox.frame_width, 1
    while rows >= 2 * letterbox.height and columns >= 2 * letterbox.width and not (rows % 2 or columns % 2):
        rows, columns, factor = rows // 2, columns // 2, 2 * factor
    return factor if factor > 1 or letterbox.width >= columns else 0
