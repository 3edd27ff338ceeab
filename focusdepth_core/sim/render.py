"""Colour, metric depth and object ids of a MuJoCo scene, off screen (EGL or OSMesa, by MUJOCO_GL).

Two passes: colour, and one id pass whose depth buffer is read with it. Depth is z along the optical axis; it and the
ids agree with ray casting (tested).
"""

from __future__ import annotations

import mujoco
import numpy as np

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.sim.scene import CAMERA, PROXY_GROUP

MAX_GEOMS = 2000


class Renderer:
    """Belongs to the thread that made it, as OpenGL contexts do. ``load`` takes another model, ``close`` ends it."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._gl = mujoco.GLContext(width, height)
        self._context: mujoco.MjrContext | None = None
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[PROXY_GROUP] = 0

    def load(self, model: mujoco.MjModel) -> None:
        """Upload meshes and textures of ``model``."""
        self._gl.make_current()
        if self._context is not None:
            self._context.free()
        self._model = model
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(model, MAX_GEOMS)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(CAMERA).id

    def update(self, data: mujoco.MjData) -> None:
        """Take over the poses of ``data``."""
        categories = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._camera, categories, self._scene)

    def colour(self) -> np.ndarray:
        """H,W,3 uint8 RGB."""
        self._draw(ids=False)
        pixels = np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, self._rect, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def depth_and_geoms(self) -> tuple[np.ndarray, np.ndarray]:
        """z in metres, H,W float32 with 0 where nothing was hit, and geom ids, H,W int32 with -1 there."""
        self._draw(ids=True)
        pixels = np.empty((self.height, self.width, 3), np.uint8)
        buffer = np.empty((self.height, self.width), np.float32)
        mujoco.mjr_readPixels(pixels, buffer, self._rect, self._context)
        near, far = (v * self._model.stat.extent for v in (self._model.vis.map.znear, self._model.vis.map.zfar))
        depth = near * far / (near + buffer.astype(np.float64) * (far - near))  # reversed z: 1 is near
        depth[buffer <= 0] = 0
        codes = pixels.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
        lookup = self._geom_of_code()
        geoms = lookup[np.minimum(codes, len(lookup) - 1)]
        return np.ascontiguousarray(depth[::-1], np.float32), np.ascontiguousarray(geoms[::-1])

    def intrinsics(self) -> Intrinsics:
        fovy = self._model.cam_fovy[self._camera.fixedcamid]
        focal = self.height / 2 / np.tan(np.radians(fovy) / 2)
        return Intrinsics(focal, focal, (self.width - 1) / 2, (self.height - 1) / 2, self.width, self.height)

    def close(self) -> None:
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._context = None
        self._gl.free()

    def _draw(self, ids: bool) -> None:
        self._gl.make_current()  # another context of this process may be current
        flags = mujoco.mjtRndFlag
        self._scene.flags[flags.mjRND_SEGMENT] = self._scene.flags[flags.mjRND_IDCOLOR] = int(ids)
        mujoco.mjr_render(self._rect, self._scene, self._context)

    def _geom_of_code(self) -> np.ndarray:
        lookup = np.full(self._scene.ngeom + 1, -1, np.int32)
        for k in range(self._scene.ngeom):
            geom = self._scene.geoms[k]
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                lookup[geom.segid + 1] = geom.objid
        return lookup
