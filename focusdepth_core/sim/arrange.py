"""Random arrangements of a compiled scene: clutter, arm, grasped object, light."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from focusdepth_core.sim.arm import FINGER_REACH, MAX_OPENING, random_angles
from focusdepth_core.sim.scene import Scene, SceneObject

ATTEMPTS = 5  # deep overlaps make the physics diverge about once in 200 arrangements
PARKED_Z = 30.0  # m; objects that an arrangement leaves out wait there, beyond the far plane


@dataclass(frozen=True)
class Clutter:
    """``objects``: fewest and most shown; ``spread``: standard deviation of places, m; ``drop``: share let fall.

    ``apart``: least distance of two objects, as a share of the sum of their radii.
    """

    objects: tuple[int, int]
    spread: tuple[float, float]
    drop: float
    apart: float


LEVELS: dict[str, Clutter] = {
    "sparse": Clutter((3, 6), (0.16, 0.28), 0.0, 1.0),
    "normal": Clutter((7, 12), (0.13, 0.24), 0.1, 0.75),
    "packed": Clutter((11, 16), (0.07, 0.13), 0.3, 0.6),
    "pile": Clutter((9, 15), (0.03, 0.06), 1.0, 0.0),
}
LEVEL_WEIGHTS = (0.15, 0.35, 0.3, 0.2)
HELD_SHARE = 0.5  # of the arrangements with an arm

mujoco.set_mju_user_warning(lambda message: None)  # or MuJoCo writes a log file into the working folder


def arrange(scene: Scene, level: str | None = None) -> list[int]:
    """Place objects, arm and lights anew and let the objects settle.

    Returns the indices of the objects that are shown. ``level``: a key of LEVELS, or None for a random one. Raises
    ``RuntimeError`` in the very unlikely case that the physics diverges again and again.
    """
    for _ in range(ATTEMPTS):
        shown = _arrange_once(scene, level)
        if not scene.data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number:
            return shown
    raise RuntimeError(f"the physics of the scene diverged {ATTEMPTS} times; take another seed")


def _arrange_once(scene: Scene, level: str | None) -> list[int]:
    rng = scene.rng
    clutter = LEVELS[str(rng.choice(list(LEVELS), p=LEVEL_WEIGHTS)) if level is None else level]
    mujoco.mj_resetData(scene.model, scene.data)
    shown = rng.permutation(len(scene.objects))[
        : int(rng.integers(clutter.objects[0], clutter.objects[1] + 1))
    ].tolist()
    held = _pose_arm(scene, shown) if scene.arm is not None else None
    fallen = _place_objects(scene, clutter, [i for i in shown if i != held])
    _light(scene)
    _settle(scene, 110 if fallen else 20)
    if held is not None:
        _put_into_gripper(scene, scene.objects[held])
    mujoco.mj_forward(scene.model, scene.data)
    return shown


def _place_objects(scene: Scene, clutter: Clutter, shown: list[int]) -> bool:
    """Scatter the objects over the table; returns whether some have to fall first."""
    rng, data = scene.rng, scene.data
    centre, spread = rng.uniform(-0.1, 0.1, 2), rng.uniform(*clutter.spread)
    placed: list[tuple[np.ndarray, float]] = []
    any_falls = False
    for i, thing in enumerate(scene.objects):
        if i not in shown:
            data.qpos[thing.qpos : thing.qpos + 7] = [0, 0, PARKED_Z + i, 1, 0, 0, 0]
            continue
        radius = float(np.linalg.norm(thing.size[:2]) / 2)
        at, free = _find_place(scene, centre, spread, radius * clutter.apart, placed)
        turn, height = _yaw(rng.uniform(0, 2 * np.pi)), 0.001
        if thing.category.family in ("vessel", "box") and rng.random() < 0.15:
            turn, height = _product(turn, np.array([np.sqrt(0.5), np.sqrt(0.5), 0, 0])), thing.size[1] / 2 + 0.005
        falls = not free or rng.random() < clutter.drop
        if falls:
            height += rng.uniform(0.02, 0.06) * (1 + len(placed) * clutter.drop)
        any_falls |= falls or height > 0.002
        data.qpos[thing.qpos : thing.qpos + 7] = [*at, height, *turn]
        placed.append((at, radius * clutter.apart))
    return any_falls


def _find_place(
    scene: Scene, centre: np.ndarray, spread: float, radius: float, placed: list[tuple[np.ndarray, float]]
) -> tuple[np.ndarray, bool]:
    """A place on the table, and whether its disc of ``radius`` is free of those placed so far."""
    edge = scene.table - 0.05
    for attempt in range(40):
        at = np.clip(centre + scene.rng.normal(0, spread * (1 + attempt / 30), 2), -edge, edge)
        if all(np.linalg.norm(at - other) >= radius + r for other, r in placed):
            return at, True
    return at, False


def _pose_arm(scene: Scene, shown: list[int]) -> int | None:
    """Stand the arm at the table with its tool over it; returns the index of the object that it will hold, if any."""
    rng, model, data, arm = scene.rng, scene.model, scene.data, scene.arm
    assert arm is not None
    model.body_pos[arm.root] = [rng.uniform(-0.55, -0.35), rng.uniform(-0.4, 0.4), 0]
    model.body_quat[arm.root] = _yaw(rng.uniform(-0.6, 0.6))
    graspable = [i for i in shown if np.sort(scene.objects[i].size)[0] < MAX_OPENING * 0.9]
    held = int(rng.choice(graspable)) if graspable and rng.random() < HELD_SHARE else None
    opening = rng.uniform(0.0, MAX_OPENING) if held is None else float(min(scene.objects[held].size)) * 0.9
    lowest = 0.06 if held is None else 0.03 + float(np.linalg.norm(scene.objects[held].size)) / 2
    for _ in range(60):
        arm.pose(data, random_angles(rng), opening)
        mujoco.mj_kinematics(model, data)
        x, y, z = data.site_xpos[arm.tool]
        if -0.25 < x < scene.table[0] and abs(y) < scene.table[1] * 0.8 and lowest < z < 0.45:
            return held
    return None  # nowhere to hold it clear of the table


def _put_into_gripper(scene: Scene, thing: SceneObject) -> None:
    """Hold the object's middle between the fingers, its thinnest side across them and its longest side across both."""
    assert scene.arm is not None
    data, rng = scene.data, scene.rng
    thin, along, long = np.argsort(thing.size)
    axes = np.zeros((3, 3))
    axes[thin], axes[long], axes[along] = [0, 1, 0], [1, 0, 0], [0, 0, 1]  # object axis -> tool axis; z leaves the palm
    if np.linalg.det(axes) < 0:
        axes[long] *= -1
    site = data.site_xmat[scene.arm.tool].reshape(3, 3)
    matrix = site @ axes.T
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, matrix.ravel())
    reach = max(rng.uniform(0, 0.3) * thing.size[along], thing.size[along] / 2 - FINGER_REACH)
    centre = matrix @ np.array([0, 0, thing.size[2] / 2])
    data.qpos[thing.qpos : thing.qpos + 7] = [*(data.site_xpos[scene.arm.tool] + site[:, 2] * reach - centre), *quat]


def _settle(scene: Scene, steps: int) -> None:
    """Run the physics with the arm held still and velocities damped."""
    arm, data = scene.arm, scene.data
    fixed = [] if arm is None else [*arm.joints, *arm.fingers]
    pose = data.qpos[fixed].copy()
    arm_speeds = [scene.model.joint(f"arm_{n}").dofadr[0] for n in ("base", "right")] if arm is not None else []
    for step in range(steps):
        mujoco.mj_step(scene.model, data)
        if arm is not None:
            data.qpos[fixed] = pose
            data.qvel[arm_speeds[0] : arm_speeds[1] + 1] = 0
        if step % 15 == 14:
            data.qvel[:] *= 0.4
    mujoco.mj_kinematics(scene.model, data)


def _light(scene: Scene) -> None:
    rng, model = scene.rng, scene.model
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.6)
    position = np.array([away * np.cos(angle), away * np.sin(angle), rng.uniform(1.2, 2.2)])
    tint = 1 + rng.normal(0, 0.07, 3)
    model.light_pos[0], model.light_dir[0] = position, _unit(np.array([*rng.uniform(-0.2, 0.2, 2), 0]) - position)
    model.light_diffuse[0] = np.clip(rng.uniform(0.45, 0.9) * tint, 0, 1)
    model.light_specular[0] = rng.uniform(0.1, 0.5)
    for k in (1, 2):
        model.light_dir[k] = _unit(np.array([rng.normal(), rng.normal(), -rng.uniform(0.6, 2)]))
        model.light_diffuse[k] = rng.uniform(0.05, 0.3) * tint
        model.light_specular[k], model.light_ambient[k] = 0.05, 0.0
    model.vis.headlight.ambient[:] = rng.uniform(0.15, 0.35)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _yaw(radians: float) -> np.ndarray:
    return np.array([np.cos(radians / 2), 0, 0, np.sin(radians / 2)])


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result = np.zeros(4)
    mujoco.mju_mulQuat(result, a, b)
    return result
