"""A six-jointed robot arm with a parallel gripper, generated: no mesh files, under 15,000 triangles.

Each scene draws its own lengths, thickness and colours, so that a network cannot learn one make.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from focusdepth_core.sim.colour import random_colour
from focusdepth_core.sim.mesh import Part, lathe, merged, slab, solid

JOINTS = ("base", "shoulder", "elbow", "forearm", "wrist", "flange")
RANGES_DEG = {
    "base": (-150, 150),
    "shoulder": (-60, 100),
    "elbow": (20, 150),
    "forearm": (-120, 120),
    "wrist": (-30, 130),
    "flange": (-170, 170),
}
TOOL_REACH = 0.13  # m from the flange to the point between the finger tips
FINGER_REACH = 0.075  # m from the palm to that point
MAX_OPENING = 0.08  # m between the fingers


@dataclass(frozen=True)
class Arm:
    """Addresses of the arm in a compiled model."""

    joints: tuple[int, ...]
    fingers: tuple[int, int]
    root: int
    tool: int

    @classmethod
    def of(cls, model: mujoco.MjModel) -> Arm:
        joints = tuple(model.joint(f"arm_{n}").qposadr[0] for n in JOINTS)
        fingers = (model.joint("arm_left").qposadr[0], model.joint("arm_right").qposadr[0])
        return cls(joints, fingers, model.body("arm_root").id, model.site("arm_tool").id)

    def pose(self, data: mujoco.MjData, angles: np.ndarray, opening: float) -> None:
        """Joint angles in radians, opening in metres between the fingers."""
        data.qpos[list(self.joints)] = angles
        data.qpos[list(self.fingers)] = opening / 2


def random_angles(rng: np.random.Generator) -> np.ndarray:
    """Joint angles, rad, for an arm that bends forward over a table."""
    middle = np.array([0, 20, 95, 0, 65, 0])
    low, high = np.array([RANGES_DEG[n] for n in JOINTS]).T
    spread = np.array([40, 22, 24, 35, 25, 90])
    return np.radians(np.clip(middle + rng.normal(0, 1, 6) * spread, low, high))


def add_arm(spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
    """Add the arm to the world of ``spec``; geoms, joints and bodies are prefixed ``arm_``."""
    girth = rng.uniform(0.85, 1.25)
    upper, lower = rng.uniform(0.24, 0.33), rng.uniform(0.2, 0.28)
    shell = np.clip(random_colour(rng, 0.5) * 0.35 + 0.6, 0, 1) if rng.random() < 0.6 else random_colour(rng, 0.05)
    dark = np.full(3, rng.uniform(0.06, 0.3))
    builder = _Builder(spec, girth, shell, dark)
    root = spec.worldbody.add_body(name="arm_root")
    builder.mesh(root, "foot", [solid((0.07, 0), (0.07, 0.02), (0.055, 0.03), (0.05, 0.1))])
    base = builder.link(root, "base", (0, 0, 0.1), (0, 0, 1))
    builder.mesh(base, "turret", [solid((0.05, 0), (0.052, 0.06), (0.045, 0.11), (0.02, 0.12), smooth=8)])
    shoulder = builder.link(base, "shoulder", (0, 0, 0.07), (0, 1, 0))
    builder.limb(shoulder, "upper", upper, 0.042, 0.036)
    elbow = builder.link(shoulder, "elbow", (0, 0, upper), (0, 1, 0))
    builder.limb(elbow, "lower", lower, 0.036, 0.03)
    forearm = builder.link(elbow, "forearm", (0, 0, lower * 0.6), (0, 0, 1))
    wrist = builder.link(forearm, "wrist", (0, 0, lower * 0.4), (0, 1, 0))
    builder.mesh(wrist, "wrist", [solid((0.03, -0.03), (0.03, 0.03)).turned("x", 90), solid((0.026, 0), (0.026, 0.06))])
    flange = builder.link(wrist, "flange", (0, 0, 0.06), (0, 0, 1))
    _add_gripper(builder, flange)


def _add_gripper(builder: _Builder, flange: mujoco.MjsBody) -> None:
    builder.mesh(
        flange, "palm", [solid((0.028, 0), (0.028, 0.015)), slab(0.03, 0.1, 0.035, 0.3).moved(z=0.015)], dark=True
    )
    for name, side in (("left", 1), ("right", -1)):
        finger = flange.add_body(name=f"arm_{name}", pos=[0, 0, 0.05])
        finger.add_joint(
            name=f"arm_{name}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, side, 0], range=[0, MAX_OPENING / 2]
        )
        parts = [
            slab(0.018, 0.014, 0.07, 0.2).moved(y=side * 0.012),
            slab(0.016, 0.01, 0.03, 0.2).moved(0, side * 0.006, 0.06),
        ]
        builder.mesh(finger, name, parts, dark=True)
    flange.add_site(name="arm_tool", pos=[0, 0, TOOL_REACH])


class _Builder:
    """Turns parts into bodies, joints and geoms of one arm."""

    def __init__(self, spec: mujoco.MjSpec, girth: float, shell: np.ndarray, dark: np.ndarray) -> None:
        self.spec, self.girth, self.shell, self.dark = spec, girth, shell, dark

    def link(
        self, parent: mujoco.MjsBody, name: str, pos: tuple[float, float, float], axis: tuple[int, int, int]
    ) -> mujoco.MjsBody:
        body = parent.add_body(name=f"arm_{name}", pos=pos, mass=0.1, inertia=[1e-3] * 3, explicitinertial=True)
        body.add_joint(name=f"arm_{name}", type=mujoco.mjtJoint.mjJNT_HINGE, axis=axis, range=list(RANGES_DEG[name]))
        return body

    def limb(self, body: mujoco.MjsBody, name: str, length: float, r0: float, r1: float) -> None:
        """A tapering link along z with a hub across at its foot and a dark collar at its head."""
        hub = solid((r0 * 1.15, -r0 * 1.3), (r0 * 1.15, r0 * 1.3)).turned("x", 90)
        shaft = solid((r0 * 0.6, 0), (r0, length * 0.15), (r1 * 0.85, length * 0.6), (r1 * 0.9, length), smooth=9)
        self.mesh(body, name, [hub, shaft])
        collar = lathe(
            [
                (r1 * 0.7, length * 0.82),
                (r1 * 1.08, length * 0.84),
                (r1 * 1.08, length * 0.9),
                (r1 * 0.7, length * 0.92),
            ]
        )
        self.mesh(body, f"{name}_collar", [collar], dark=True)

    def mesh(self, body: mujoco.MjsBody, name: str, parts: list[Part], dark: bool = False) -> None:
        part = merged(parts)
        scale = 1.0 if dark else self.girth
        mesh = self.spec.add_mesh(name=f"arm_{name}", inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
        mesh.uservert = (part.vertices * [scale, scale, 1]).astype(np.float32).ravel()
        mesh.userface = part.faces.astype(np.int32).ravel()
        colour = self.dark if dark else self.shell
        body.add_geom(
            name=f"arm_{name}",
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=f"arm_{name}",
            mass=0.1,
            rgba=[*colour, 1],
            contype=0,
            conaffinity=0,
        )
