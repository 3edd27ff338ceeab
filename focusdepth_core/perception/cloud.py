"""The 3D points of one target."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.window import Part, Window, grown

SHIFTS = np.array([16, 8, 0], np.uint32)  # of red, green and blue in a word


@dataclass(frozen=True)
class Cloud:
    """``points``: N,3 float32 metres in the optical frame (x right, y down, z forward); ``rgb``: N uint32, 0x00RRGGBB,
    as PCL has it.
    """

    points: np.ndarray
    rgb: np.ndarray


def cloud_of(frame: Frame, pixels: Part, z: np.ndarray, voxel_size: float = 0.0, range_max: float = math.inf) -> Cloud:
    """The pixels of a bool mask with a finite depth of at most ``range_max``, in row-major order.

    ``z``: float32 metres of these pixels, N. ``voxel_size``: side in metres of the cubes in each of which the points
    become one, at their mean; 0 leaves them as they are. Raises ``ValueError`` if the frame has no intrinsics.
    """
    if frame.intrinsics is None:
        raise ValueError("a point cloud needs the camera's intrinsics, and the frame has none; publish camera_info")
    window, inside = pixels
    points = np.empty((3, len(z)), np.float32)
    for ray, row in zip(frame.intrinsics.rays(window), points):
        np.multiply(np.broadcast_to(ray, inside.shape)[inside], z, out=row)
    points[2] = z
    cloud = Cloud(points.T, _words(frame.image[window])[inside])
    kept = np.isfinite(z) & (z <= range_max)
    if not kept.all():
        cloud = Cloud(cloud.points[kept], cloud.rgb[kept])
    return _thinned(cloud, voxel_size) if voxel_size > 0 and len(cloud.rgb) else cloud


def inner(mask: np.ndarray, window: Window, drop_edge_px: int) -> Part:
    """``mask``, H,W bool, in a window around it, ``without_edge``; the image's own border is no edge."""
    around = grown(window, drop_edge_px, mask.shape)
    return Part(window, Part(around, without_edge(mask[around], drop_edge_px)).within(window))


def without_edge(mask: np.ndarray, width_px: int) -> np.ndarray:
    """h,w bool less ``width_px`` along its edge; the map's own border is no edge."""
    if width_px == 0 or not mask.size:
        return mask
    kernel = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
    return cv2.erode(mask.view(np.uint8), kernel).view(bool)


def _words(colours: np.ndarray) -> np.ndarray:
    """h,w,3 uint8 RGB -> h,w uint32."""
    if not colours.size:
        return np.empty(colours.shape[:2], np.uint32)
    return cv2.cvtColor(colours, cv2.COLOR_RGB2BGRA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)


def _thinned(cloud: Cloud, voxel_size: float) -> Cloud:
    """The mean point and colour of each occupied cube of a grid through the origin, in the order of the cubes."""
    cells = np.floor(cloud.points / np.float32(voxel_size)).astype(np.int64)
    cells -= cells.min(axis=0)
    order = np.lexsort(cells.T)
    first = np.flatnonzero(np.any(np.diff(cells[order], axis=0, prepend=-1), axis=1))
    counts = np.diff(first, append=len(order))[:, None]
    points = np.add.reduceat(cloud.points[order].astype(np.float64), first) / counts
    colours = np.add.reduceat(cloud.rgb[order, None] >> SHIFTS & 0xFF, first) / counts
    return Cloud(points.astype(np.float32), np.bitwise_or.reduce(np.rint(colours).astype(np.uint32) << SHIFTS, axis=1))
