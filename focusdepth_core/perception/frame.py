"""A camera frame and its intrinsics."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Optional

import cv2
import numpy as np

from focusdepth_core.perception.window import Window


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole K in pixels of an image of ``width`` x ``height``.

    A pixel (u, v) covers [u, u + 1) x [v, v + 1); ``cx`` and ``cy`` follow the ROS convention in which integer
    coordinates are pixel centres. ``distortion``: of a lens whose image is not rectified, as OpenCV orders its
    coefficients; those of a ``fisheye`` are of OpenCV's model of that name.

    Raises ``ValueError`` if a focal length is zero, negative or not finite, or a size is not positive.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    fisheye: bool = False

    def __post_init__(self) -> None:
        for name in ("fx", "fy"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"focal length {name} = {value} px; a calibrated camera has a finite value above 0")
        if not (math.isfinite(self.cx) and math.isfinite(self.cy)):
            raise ValueError(f"principal point ({self.cx}, {self.cy}) px is not finite")
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"intrinsics are for a {self.width} x {self.height} image; both sides must be positive")

    def resized(self, width: int, height: int) -> Intrinsics:
        """The same camera seen at another image size (pixel centres at integers, hence the half pixels)."""
        sx, sy = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5
        return replace(self, fx=self.fx * sx, fy=self.fy * sy, cx=cx, cy=cy, width=width, height=height)

    @property
    def matrix(self) -> np.ndarray:
        """K, 3,3."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    def pixel(self, x: float, y: float, z: float) -> tuple[float, float]:
        """u, v at which a point of the optical frame is seen."""
        if not self.distortion:
            return self.cx + self.fx * x / z, self.cy + self.fy * y / z
        project = cv2.fisheye.projectPoints if self.fisheye else cv2.projectPoints
        point, nowhere = np.array([[[x, y, z]]], np.float64), np.zeros(3)
        u, v = project(point, nowhere, nowhere, self.matrix, np.array(self.distortion))[0].ravel().tolist()
        return u, v

    def rays(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """x / z and y / z of the pixels in ``window``, float32, of a shape that broadcasts to the window's.

        The rays of a distorted image are worked out when they are first asked for, all at once.
        """
        rows, columns = window
        if self.distortion:
            x, y = _undistorted(self)
            return x[window], y[window]
        x = (np.arange(columns.start, columns.stop) - self.cx) / self.fx
        y = (np.arange(rows.start, rows.stop) - self.cy) / self.fy
        return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


@lru_cache(maxsize=4)  # cameras
def _undistorted(k: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """x / z and y / z of all pixels, H,W float32 each."""
    pixels = np.stack(np.meshgrid(np.arange(k.width), np.arange(k.height)), axis=-1).astype(np.float32)
    undistort = cv2.fisheye.undistortPoints if k.fisheye else cv2.undistortPoints
    rays = undistort(pixels.reshape(-1, 1, 2), k.matrix, np.array(k.distortion)).reshape(k.height, k.width, 2)
    return np.ascontiguousarray(rays[..., 0]), np.ascontiguousarray(rays[..., 1])


@dataclass(frozen=True)
class Frame:
    """One image. ``image``: H,W,3 uint8 RGB (a view is fine, it is never written); ``stamp``: seconds; ``nv12``: the
    same image as the camera gave it, if in NV12: H*3/2,W uint8. A GPU takes that in its place, which is half the bytes.

    Raises ``ValueError`` for an image of another shape or type, or intrinsics of another size.
    """

    image: np.ndarray
    stamp: float = 0.0
    intrinsics: Optional[Intrinsics] = None
    nv12: Optional[np.ndarray] = None

    def __post_init__(self) -> None:
        image, nv12 = self.image, self.nv12
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image has shape {image.shape} and type {image.dtype}; expected H,W,3 uint8 RGB")
        if image.size == 0:
            raise ValueError(f"image is empty: shape {image.shape}")
        height, width = image.shape[:2]
        if nv12 is not None and (nv12.dtype != np.uint8 or nv12.shape != (height * 3 / 2, width) or width % 2):
            raise ValueError(f"nv12 of {height} x {width} pixels has shape {nv12.shape} and type {nv12.dtype}")
        k = self.intrinsics
        if k is not None and (k.width, k.height) != (image.shape[1], image.shape[0]):
            raise ValueError(
                f"camera_info is for {k.width} x {k.height}, the image is {image.shape[1]} x {image.shape[0]}; "
                "publish both at the same size"
            )

    @property
    def height(self) -> int:
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        return int(self.image.shape[1])
