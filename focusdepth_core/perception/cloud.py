"""The 3D points of one target."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.window import Part, grown


@dataclass(frozen=True)
class Cloud:
    """``points``: N,3 float32 metres in the optical frame (x right, y down, z forward); ``colours``: N,3 uint8 RGB."""

    points: np.ndarray
    colours: np.ndarray


def target_cloud(
    frame: Frame, depth_m: Part, mask: np.ndarray, drop_edge_px: int = 0, voxel_size: float = 0.0
) -> Cloud:
    """The pixels of ``mask`` (H,W bool) with a finite depth, in row-major order.

    ``depth_m``: float32 metres along z where the mask is. ``drop_edge_px``: pixels to leave out along the mask's edge;
    the image's own border is no edge. ``voxel_size``: side in metres of the cubes in each of which the points become
    one, at their mean; 0 leaves them as they are. Raises ``ValueError`` if the frame has no intrinsics.
    """
    if frame.intrinsics is None:
        raise ValueError("a point cloud needs the camera's intrinsics, and the frame has none; publish camera_info")
    window, z = depth_m
    x, y = frame.intrinsics.rays(window)
    around = grown(window, drop_edge_px, mask.shape)
    inner = Part(around, without_edge(mask[around], drop_edge_px)).within(window)
    kept = np.flatnonzero(inner & np.isfinite(z))
    points = np.stack([np.take(values, kept) for values in (x * z, y * z, z)])
    cloud = Cloud(points.T, np.take(frame.image[window].reshape(-1, 3), kept, axis=0))
    return _thinned(cloud, voxel_size) if voxel_size > 0 and kept.size else cloud


def without_edge(mask: np.ndarray, width_px: int) -> np.ndarray:
    """h,w bool less ``width_px`` along its edge; the map's own border is no edge."""
    if width_px == 0 or not mask.size:
        return mask
    kernel = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
    return cv2.erode(mask.view(np.uint8), kernel).view(bool)


def _thinned(cloud: Cloud, voxel_size: float) -> Cloud:
    """The mean point and colour of each occupied cube of a grid through the origin, in the order of the cubes."""
    cells = np.floor(cloud.points / np.float32(voxel_size)).astype(np.int64)
    cells -= cells.min(axis=0)
    order = np.lexsort(cells.T)
    first = np.flatnonzero(np.any(np.diff(cells[order], axis=0, prepend=-1), axis=1))
    counts = np.diff(first, append=len(order))[:, None]
    points = np.add.reduceat(cloud.points[order].astype(np.float64), first) / counts
    colours = np.add.reduceat(cloud.colours[order].astype(np.int64), first) / counts
    return Cloud(points.astype(np.float32), np.rint(colours).astype(np.uint8))
