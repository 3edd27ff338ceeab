"""What a robot is asked to reach for: one object in a view of a tabletop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from focusdepth_core.perception.frame import Intrinsics
from focusdepth_core.perception.target import Box
from focusdepth_core.sim.arrange import arrange
from focusdepth_core.sim.exposure import Exposure
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.scene import Scene
from focusdepth_core.sim.view import SimFrame, SimTarget, look_at, shoot

DISTANCE_M = (0.5, 1.2)  # of the object along z: an arm's reach
MIN_VISIBLE = 0.6
MIN_AREA = 0.002  # of the image: 25 px across at 640 x 480
FOVY_DEG = 48.0
ATTEMPTS = 40
BOX_NOISE = 0.04  # standard deviation of a detected side, as a share of the box


@dataclass(frozen=True)
class Task:
    """``target`` is the one of ``frame.targets`` that is asked for; its name fits no other visible object."""

    seed: int
    frame: SimFrame
    target: SimTarget

    @property
    def name(self) -> str:
        return name_of(self.target)

    @property
    def mask(self) -> np.ndarray:
        """H,W bool: the target's visible pixels."""
        return self.frame.instances == self.target.id

    def detected_box(self, rng: np.random.Generator) -> Box:
        """The target's box as a detector gives it: whole pixels, each side a little off, inside the image."""
        x0, y0, x1, y1 = self.target.box
        sides = np.array(self.target.box) + BOX_NOISE * rng.standard_normal(4) * ([x1 - x0, y1 - y0] * 2)
        height, width = self.frame.instances.shape
        left, top, right, bottom = np.clip(np.rint(sides), 0, [width, height] * 2).tolist()
        return left, top, right, bottom


def draw_task(seed: int, renderer: Renderer) -> Task:
    """The same for the same seed, size and MuJoCo. Raises ``ValueError`` if the scene shows nothing to ask for."""
    scene = Scene(seed)
    renderer.load(scene.model)
    for _ in range(ATTEMPTS):
        shown = arrange(scene)
        wanted = int(scene.rng.choice(shown))
        _look_near(scene, wanted)
        frame = shoot(scene, renderer, shown, Exposure.random(scene.rng))
        for target in frame.targets:
            if target.id == wanted + 1 and _can_be_asked_for(target, frame):
                return Task(seed, frame, target)
    raise ValueError(f"scene {seed} shows nothing to reach for in {ATTEMPTS} views; take another seed")


def name_of(target: SimTarget) -> str:
    return f"{target.colour} {target.category}"


def visible_position(depth_m: np.ndarray, mask: np.ndarray, k: Intrinsics) -> np.ndarray:
    """Median along x, y and z of the surface that ``mask`` shows, m in the optical frame; NaN where there is none."""
    v, u = np.nonzero(mask & (depth_m > 0))
    if not len(v):
        return np.full(3, np.nan)
    z = depth_m[v, u].astype(np.float64)
    return np.median([(u - k.cx) * z / k.fx, (v - k.cy) * z / k.fy, z], axis=1)


def _look_near(scene: Scene, wanted: int) -> None:
    """The object is somewhere about the image's middle, seen from 20 to 65 degrees above the table."""
    rng = scene.rng
    aim = scene.data.xpos[scene.objects[wanted].body] + [*rng.uniform(-0.08, 0.08, 2), 0.03]
    azimuth, elevation = rng.normal(0, 0.75), np.radians(rng.uniform(20, 65))
    away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    look_at(scene, aim + rng.uniform(*DISTANCE_M) * away, aim, FOVY_DEG)


def _can_be_asked_for(target: SimTarget, frame: SimFrame) -> bool:
    if target.visible_fraction < MIN_VISIBLE or target.area_px < MIN_AREA * frame.instances.size:
        return False
    is_unique = [name_of(other) for other in frame.targets].count(name_of(target)) == 1
    z = visible_position(frame.depth_m, frame.instances == target.id, frame.intrinsics)[2]
    return is_unique and DISTANCE_M[0] <= z <= DISTANCE_M[1]
