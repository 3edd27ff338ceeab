"""A camera that moves smoothly around one tabletop: what a robot's wrist or head would stream."""

from __future__ import annotations

import numpy as np

from focusdepth_core.sim.arrange import arrange
from focusdepth_core.sim.exposure import Exposure
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.scene import Scene
from focusdepth_core.sim.view import SimFrame, look_at, shoot

MIN_TARGETS = 4  # well visible ones that the first frame must offer
MIN_VISIBLE = 0.6
MIN_TARGET_AREA = 0.006  # of the image
ATTEMPTS = 12


class MovingCamera:
    """Frames of the scene ``seed`` along a closed path of about 40 s.

    Belongs to the thread that made it (OpenGL). Raises ``ValueError`` if no arrangement of the scene shows enough
    objects from the path, so another seed is needed.
    """

    def __init__(self, seed: int, width: int, height: int) -> None:
        self._scene = Scene(seed)
        self._renderer = Renderer(width, height)
        self._renderer.load(self._scene.model)
        self._exposure = Exposure((1.0, 1.0, 1.0), 0.95, 1.0, 0.12, 0.0)
        for _ in range(ATTEMPTS):
            self._arrange()
            if self._offers_enough(self.render(0.0)):
                return
        self.close()
        raise ValueError(f"scene {seed} shows too few objects from the camera's path; take another seed")

    def render(self, t: float) -> SimFrame:
        """The view ``t`` seconds along the path."""
        phase = 2 * np.pi * t / 40
        azimuth = self._azimuth + 0.55 * np.sin(phase)
        elevation = np.radians(38 + 9 * np.sin(2 * phase + 1))
        distance = self._distance * (1 + 0.12 * np.sin(3 * phase))
        away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        look_at(self._scene, self._centre + distance * away, self._centre, self._fovy)
        return shoot(self._scene, self._renderer, self._shown, self._exposure)

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()

    def _arrange(self) -> None:
        scene = self._scene
        self._shown = arrange(scene, "normal")
        places = np.array([scene.data.xpos[scene.objects[i].body] for i in self._shown])
        self._centre = np.median(places, axis=0) * [1, 1, 0] + [0, 0, 0.03]
        self._azimuth, self._fovy = scene.rng.uniform(-0.5, 0.5), 48.0
        self._distance = scene.rng.uniform(0.6, 0.75)

    def _offers_enough(self, frame: SimFrame) -> bool:
        area = MIN_TARGET_AREA * frame.instances.size
        good = [t for t in frame.targets if t.visible_fraction >= MIN_VISIBLE and t.area_px >= area]
        return len(good) >= MIN_TARGETS
