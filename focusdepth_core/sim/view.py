"""One rendered view with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import mujoco
import numpy as np

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.perception.target import Box
from focusdepth_core.sim.exposure import Exposure
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.scene import CAMERA, Scene

MIN_AREA = 0.0008  # of the image; smaller things are not offered as targets
USUAL, CLOSE = (0.3, 1.2), (0.14, 0.35)  # m from the camera to what it looks at
CLOSE_SHARE = 0.25  # of the views in varied scenes
SILHOUETTE_CELLS = 16  # along the longer side of the box when the visible fraction is estimated


@dataclass(frozen=True)
class SimTarget:
    """``id``: its value in ``instances``; ``box``: x0, y0, x1, y1 around the visible pixels, half-open."""

    id: int
    category: str
    colour: str
    box: Box
    visible_fraction: float
    area_px: int


@dataclass(frozen=True)
class SimFrame:
    """``image`` H,W,3 uint8 RGB; ``depth_m`` H,W float32 z, 0 = invalid; ``instances`` H,W uint16, 0 = no object."""

    image: np.ndarray
    depth_m: np.ndarray
    instances: np.ndarray
    targets: tuple[SimTarget, ...]
    intrinsics: Intrinsics


def look_at(scene: Scene, eye: np.ndarray, target: np.ndarray, fovy: float, roll: float = 0.0) -> None:
    """Point the scene's camera from ``eye`` at ``target`` (m); ``fovy`` in degrees, ``roll`` in radians."""
    camera = scene.model.camera(CAMERA).id
    back = (eye - target) / np.linalg.norm(eye - target)
    level = np.cross([0.0, 0.0, 1.0], back)
    level /= np.linalg.norm(level)
    right = np.cos(roll) * level + np.sin(roll) * np.cross(back, level)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, np.cross(back, right), back], 1).ravel())
    scene.model.cam_pos[camera], scene.model.cam_quat[camera], scene.model.cam_fovy[camera] = eye, quat, fovy
    mujoco.mj_camlight(scene.model, scene.data)


def random_view(scene: Scene, shown: list[int]) -> None:
    """A camera as robots carry them, 12 to 70 degrees above the table, on some object: at 0.3 to 1.2 m, and in varied
    scenes also as near as that of a wrist before it grasps."""
    rng = scene.rng
    target = scene.data.xpos[scene.objects[int(rng.choice(shown))].body] * [rng.uniform(0.3, 1), rng.uniform(0.3, 1), 1]
    target[2] = np.clip(target[2], -0.02, 0.4) + rng.uniform(0, 0.08)
    azimuth, elevation = rng.normal(0, 0.75), np.radians(rng.uniform(12, 70))
    away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    nearest, farthest = CLOSE if scene.is_varied and rng.random() < CLOSE_SHARE else USUAL
    look_at(scene, target + rng.uniform(nearest, farthest) * away, target, rng.uniform(36, 60), rng.normal(0, 0.06))


def shoot(scene: Scene, renderer: Renderer, shown: list[int], exposure: Exposure) -> SimFrame:
    """Render the scene as its camera sees it now."""
    renderer.update(scene.data)
    image = exposure.apply(renderer.colour(), scene.rng)
    depth, geoms = renderer.depth_and_geoms()
    instances = scene.instance_of_geom[geoms]
    intrinsics = renderer.intrinsics()
    targets = [_target(scene, i, instances, intrinsics) for i in shown]
    return SimFrame(image, depth, instances, tuple(t for t in targets if t is not None), intrinsics)


def _target(scene: Scene, i: int, instances: np.ndarray, intrinsics: Intrinsics) -> SimTarget | None:
    mask = (instances == i + 1).view(np.uint8)
    area = cv2.countNonZero(mask)
    if area < MIN_AREA * mask.size:
        return None
    x, y, w, h = cv2.boundingRect(mask)
    fraction = visible_fraction(scene, i, instances, intrinsics)
    thing = scene.objects[i]
    return SimTarget(i + 1, thing.category.name, thing.colour, (x, y, x + w, y + h), fraction, area)


def visible_fraction(scene: Scene, i: int, instances: np.ndarray, intrinsics: Intrinsics) -> float:
    """Visible share of the object's silhouette, the part outside the image counting as hidden.

    Estimated without another render: points on the whole surface are projected and fall into cells of the silhouette;
    a cell is as visible as the share of its points whose pixel, or a neighbour of it, shows the object.
    """
    points = _project(scene, scene.objects[i].body, scene.objects[i].surface, intrinsics)
    if points is None:
        return 0.0
    seen = cv2.dilate((instances == i + 1).view(np.uint8), np.ones((3, 3), np.uint8))
    u, v = np.rint(points).astype(int).T
    inside = (u >= 0) & (v >= 0) & (u < intrinsics.width) & (v < intrinsics.height)
    shown = np.zeros(len(points))
    shown[inside] = seen[v[inside], u[inside]]
    size = max(np.ptp(points, axis=0).max() / SILHOUETTE_CELLS, 1.0)
    cells = np.floor((points - points.min(0)) / size).astype(int)
    key = cells[:, 0] * (2 * SILHOUETTE_CELLS) + cells[:, 1]
    count = np.bincount(key)
    share = np.bincount(key, shown)[count > 0] / count[count > 0]
    return float(share.mean())


def _project(scene: Scene, body: int, points: np.ndarray, k: Intrinsics) -> np.ndarray | None:
    """Pixel coordinates N,2 of body-frame points, or None if some lie behind the camera."""
    data, camera = scene.data, scene.model.camera(CAMERA).id
    world = points @ data.xmat[body].reshape(3, 3).T + data.xpos[body]
    local = (world - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)
    z = -local[:, 2]
    if z.min() < 0.02:
        return None
    return np.stack([k.fx * local[:, 0] / z + k.cx, k.cy - k.fy * local[:, 1] / z], 1)
