"""The 3D points of one target."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from focusdepth_core.perception.frame import Frame


@dataclass(frozen=True)
class Cloud:
    """``points``: N,3 float32 metres in the optical frame (x right, y down, z forward); ``colours``: N,3 uint8 RGB;
    ``pixels``: N, row-major index of each point's pixel in the image.
    """

    points: np.ndarray
    colours: np.ndarray
    pixels: np.ndarray


def target_cloud(frame: Frame, depth_m: np.ndarray, mask: np.ndarray, drop_edge_px: int = 0) -> Cloud:
    """The pixels of ``mask`` (H,W bool) with a finite ``depth_m`` (H,W, metres along z), in row-major order.

    ``drop_edge_px``: pixels to leave out along the mask's edge; the image's own border is no edge. Raises
    ``ValueError`` if the frame has no intrinsics.
    """
    k = frame.intrinsics
    if k is None:
        raise ValueError("a point cloud needs the camera's intrinsics, and the frame has none; publish camera_info")
    kernel = np.ones((2 * drop_edge_px + 1, 2 * drop_edge_px + 1), np.uint8)
    pixels = np.flatnonzero(cv2.erode(mask.view(np.uint8), kernel))
    z = depth_m.ravel()[pixels]
    finite = np.isfinite(z)
    pixels, z = pixels[finite], z[finite]
    v, u = np.divmod(pixels, frame.width)
    points = np.empty((pixels.size, 3), np.float32)
    points[:, 0] = (u - k.cx) * z / k.fx
    points[:, 1] = (v - k.cy) * z / k.fy
    points[:, 2] = z
    return Cloud(points, frame.image[v, u], pixels)
