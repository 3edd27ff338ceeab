"""Simulated videos with exact truth: a camera at rest, one that moves, and one whose view something passes through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from focusdepth_core.sim.arrange import arrange
from focusdepth_core.sim.exposure import Exposure
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.scene import CAMERA, Scene
from focusdepth_core.sim.view import SimFrame, SimTarget, look_at, shoot

KINDS = ("static", "moving", "passing")
MIN_VISIBLE, MIN_AREA = 0.7, 0.01  # of the target in the first frame: of its silhouette, and of the image
ATTEMPTS = 12  # arrangements to try until one has such a target
CROSSING_S = 2.6  # from outside the view on one side to the other, for the object that passes
CROSSING_AT = 0.5  # of the way from the camera to the target
TO_OPTICAL = np.diag([1.0, -1.0, -1.0])  # MuJoCo's cameras look along -z with y up


@dataclass(frozen=True)
class VideoFrame:
    """``stamp``: s from the start; ``camera``: 4,4 from the camera's optical frame to the world, m."""

    view: SimFrame
    stamp: float
    camera: np.ndarray


@dataclass(frozen=True)
class Video:
    """``target``: value in the frames' ``instances`` of the object to focus on; ``passing``: of the one that moves, or
    None."""

    kind: str
    seed: int
    target: int
    passing: int | None
    frames: tuple[VideoFrame, ...]

    def truth(self, frame: VideoFrame) -> SimTarget | None:
        """The target in this frame; None where next to nothing of it is to be seen."""
        return next((target for target in frame.view.targets if target.id == self.target), None)


def record(seed: int, kind: str, renderer: Renderer, frames: int, rate: float) -> Video:
    """The same for the same arguments, size and MuJoCo. ``rate``: frames per s.

    static: nothing moves, and the sensor's noise alone differs. moving: the camera sways around the target, which
    wanders through the image at up to a third of its width per s. passing: so it does, and halfway an object crosses in
    front of the target. Raises ``ValueError`` for another kind, or a scene that shows no object well.
    """
    if kind not in KINDS:
        raise ValueError(f"video kind '{kind}' is unknown; known: {', '.join(KINDS)}")
    scene = Scene(seed)
    renderer.load(scene.model)
    exposure = Exposure.random(scene.rng)
    for _ in range(ATTEMPTS):
        path = _Path(scene, arrange(scene, "normal"))
        path.look(0.0)
        first = shoot(scene, renderer, path.shown, exposure)
        if _is_well_seen(path.target, first):
            break
    else:
        raise ValueError(f"scene {seed} shows no object well; take another seed")
    crossing = _Crossing(path, frames / rate) if kind == "passing" else None
    stamps = [n / rate for n in range(frames)]
    shots = _still(path, first, renderer, exposure, stamps) if kind == "static" else None
    shots = shots or _moving(path, crossing, renderer, exposure, stamps)
    return Video(kind, seed, path.target, crossing and crossing.id, tuple(shots))


def _is_well_seen(target: int, frame: SimFrame) -> bool:
    height, width = frame.instances.shape
    for seen in frame.targets:
        x0, y0, x1, y1 = seen.box
        if seen.id == target and min(x0, y0, width - x1, height - y1) > 0:
            return seen.visible_fraction >= MIN_VISIBLE and seen.area_px >= MIN_AREA * frame.instances.size
    return False


def _still(
    path: _Path, first: SimFrame, renderer: Renderer, exposure: Exposure, stamps: list[float]
) -> Iterator[VideoFrame]:
    clean, camera = renderer.colour(), path.camera()
    for stamp in stamps:
        yield VideoFrame(replace(first, image=exposure.apply(clean, path.scene.rng)), stamp, camera)


def _moving(
    path: _Path, crossing: _Crossing | None, renderer: Renderer, exposure: Exposure, stamps: list[float]
) -> Iterator[VideoFrame]:
    shown = path.shown if crossing is None else [*path.shown, crossing.id - 1]
    for stamp in stamps:
        path.look(stamp)
        if crossing is not None:
            crossing.move(stamp)
        yield VideoFrame(shoot(path.scene, renderer, shown, exposure), stamp, path.camera())


class _Path:
    """A camera's way around one of the objects ``shown``, drawn at random. ``target``: its value in the images."""

    def __init__(self, scene: Scene, shown: list[int]) -> None:
        self.scene, self.shown, rng = scene, shown, scene.rng
        thing = int(rng.choice(shown))
        self.target = thing + 1
        self.place = scene.data.xpos[scene.objects[thing].body] + [0, 0, scene.objects[thing].size[2] / 2]
        self._azimuth, self._elevation = rng.normal(0, 0.6), np.radians(rng.uniform(25, 50))
        self._distance, self._fovy = rng.uniform(0.45, 0.75), rng.uniform(42, 54)
        self._phases, self._periods = rng.uniform(0, 2 * np.pi, 5), rng.uniform(3.5, 7, 5)

    def look(self, t: float) -> None:
        """Point the camera as it is at ``t`` s."""
        turn, lift, near, right, up = np.sin(2 * np.pi * t / self._periods + self._phases)
        azimuth, elevation = self._azimuth + 0.3 * turn, self._elevation + 0.12 * lift
        level = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
        away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        distance = self._distance * (1 + 0.15 * near)
        at = self.place + self._distance * (0.16 * right * level + 0.1 * up * np.cross(away, level))
        self.eye, self.level = at + distance * away, level
        self.half_width = distance * np.tan(np.radians(self._fovy) / 2) * 4 / 3  # of the view at the target, m
        look_at(self.scene, self.eye, at, self._fovy)

    def camera(self) -> np.ndarray:
        """See ``VideoFrame``."""
        data, camera = self.scene.data, self.scene.model.camera(CAMERA).id
        matrix = np.eye(4)
        matrix[:3, :3] = data.cam_xmat[camera].reshape(3, 3) @ TO_OPTICAL
        matrix[:3, 3] = data.cam_xpos[camera]
        return matrix


class _Crossing:
    """The largest object that is not on the table crosses the line of sight to the target in the middle of ``seconds``.

    ``id``: its value in the images.
    """

    def __init__(self, path: _Path, seconds: float) -> None:
        scene = path.scene
        waiting = [i for i in range(len(scene.objects)) if i not in path.shown]
        largest = max(waiting, key=lambda i: float(np.sort(scene.objects[i].size)[1]))
        self.id, self._thing, self._path, self._middle = largest + 1, scene.objects[largest], path, seconds / 2

    def move(self, t: float) -> None:
        path, data, qpos = self._path, self._path.scene.data, self._thing.qpos
        aside = 2 * (t - self._middle) / CROSSING_S * CROSSING_AT * path.half_width * 2  # outside at both ends
        middle = path.eye + CROSSING_AT * (path.place - path.eye) + aside * path.level
        data.qpos[qpos : qpos + 7] = [*(middle - [0, 0, self._thing.size[2] / 2]), 1, 0, 0, 0]
        mujoco.mj_kinematics(path.scene.model, data)
