"""One compiled tabletop scene: room, table, objects, and in most scenes a robot arm."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from focusdepth_core.sim import texture
from focusdepth_core.sim.arm import Arm, add_arm
from focusdepth_core.sim.colour import colour_word, random_colour
from focusdepth_core.sim.mesh import Part, merged
from focusdepth_core.sim.shapes import CATEGORIES, Category
from focusdepth_core.sim.splits import categories_for, is_varied

OBJECTS = 16  # objects in a compiled scene; an arrangement shows some of them
PROXY_GROUP = 4  # collision boxes, never drawn
CAMERA = "camera"
ARM_SHARE = 0.75  # of the scenes
TWIN_SHARE = 0.5  # of the varied scenes
TWINS = 4  # objects of those that are of the same category as another
SURFACE_POINTS = 600  # samples per object for the visible fraction
_MESH, _BOX, _PLANE = mujoco.mjtGeom.mjGEOM_MESH, mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
_RGB = mujoco.mjtTextureRole.mjTEXROLE_RGB
_FOLIAGE = np.array([0.2, 0.45, 0.15])


@dataclass(frozen=True)
class SceneObject:
    """``size``: extent along x, y, z in metres when standing; ``surface``: points on it, body frame, N,3."""

    category: Category
    colour: str
    size: np.ndarray
    surface: np.ndarray
    body: int
    qpos: int  # address of its seven pose values


class Scene:
    """Everything random follows from ``seed``; ``categories`` default to those that the seed's split may show.

    ``is_varied``: see ``splits.is_varied``.
    """

    def __init__(self, seed: int, categories: list[str] | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        spec = mujoco.MjSpec()
        _set_options(spec)
        self._materials = _add_materials(spec, self.rng)
        self.table = self.rng.uniform([0.38, 0.5], [0.6, 0.8])  # half sizes, m; its top is z = 0
        _add_room(spec, self.rng, self.table, self._materials)
        names = categories_for(seed) if categories is None else categories
        self.is_varied = is_varied(seed)
        picked = self.rng.choice(names, OBJECTS, replace=len(names) < OBJECTS)
        if self.is_varied and self.rng.random() < TWIN_SHARE:
            picked[-TWINS:] = picked[:TWINS]
        built = [self._add_object(spec, i, CATEGORIES[n]) for i, n in enumerate(picked)]
        with_arm = bool(self.rng.random() < ARM_SHARE)
        if with_arm:
            add_arm(spec, self.rng)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.arm = Arm.of(self.model) if with_arm else None
        self.objects = [self._resolve(i, *b) for i, b in enumerate(built)]
        self.instance_of_geom = self._instances()

    def _add_object(
        self, spec: mujoco.MjSpec, i: int, category: Category
    ) -> tuple[Category, str, np.ndarray, np.ndarray]:
        rng = self.rng
        parts = _standing(category.build(rng), rng.uniform(0.85, 1.2))
        body = spec.worldbody.add_body(name=f"object{i}", pos=[3 + i, 0, 0.2])
        body.add_freejoint()
        look = self._look(category, parts)
        for slot in sorted({p.slot for p in parts}):
            part = merged([p for p in parts if p.slot == slot])
            mesh = spec.add_mesh(name=f"object{i}_{slot}", inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
            mesh.uservert = part.vertices.astype(np.float32).ravel()
            mesh.userface = part.faces.astype(np.int32).ravel()
            mesh.usertexcoord = part.uv.astype(np.float32).ravel()
            kind = dict(type=_MESH, meshname=f"object{i}_{slot}", mass=0, contype=0, conaffinity=0)
            body.add_geom(name=f"object{i}_{slot}", **kind, **look[slot])
        whole = merged(parts)
        low, high = whole.vertices.min(0), whole.vertices.max(0)
        proxy = np.maximum((high - low) / 2 * [0.85, 0.85, 1], 0.002)
        body.add_geom(
            type=_BOX, size=proxy, pos=(low + high) / 2, mass=0.2, group=PROXY_GROUP, friction=[1, 0.02, 0.001]
        )
        main = look[min(look)]
        rgb = np.asarray(main["rgba"][:3]) if "rgba" in main else self._materials.mean[main["material"]]
        return category, colour_word(rgb), high - low, _surface_points(whole, rng)

    def _look(self, category: Category, parts: list[Part]) -> dict[int, dict]:
        """Geom colour or material of each slot."""
        rng, look = self.rng, {}
        for slot in sorted({p.slot for p in parts}):
            usual = category.colours if slot == 0 else (_FOLIAGE,) if slot == 3 else ()
            if len(usual) and rng.random() < 0.85:
                rgb = np.clip(np.array(usual[int(rng.integers(len(usual)))]) + rng.normal(0, 0.05, 3), 0, 1)
            elif slot == 2 or rng.random() < 0.2:
                look[slot] = {
                    "material": str(rng.choice(self._materials.prints if slot == 2 else self._materials.surfaces))
                }
                continue
            else:
                rgb = random_colour(rng, 0.08) if rng.random() < 0.8 else np.full(3, rng.uniform(0.1, 0.95))
            look[slot] = {"rgba": [*rgb, 1]}
        return look

    def _resolve(self, i: int, category: Category, colour: str, size: np.ndarray, surface: np.ndarray) -> SceneObject:
        body = self.model.body(f"object{i}")
        return SceneObject(category, colour, size, surface, body.id, int(self.model.jnt_qposadr[body.jntadr[0]]))

    def _instances(self) -> np.ndarray:
        """Geom id -> object index + 1, or 0; the last entry answers for 'no geom' (-1)."""
        owner = {o.body: i + 1 for i, o in enumerate(self.objects)}
        ids = [owner.get(int(b), 0) for b in self.model.geom_bodyid]
        return np.array([*ids, 0], np.uint16)


@dataclass(frozen=True)
class _Materials:
    surfaces: list[str]
    prints: list[str]
    mean: dict[str, np.ndarray]  # mean colour of each


def _set_options(spec: mujoco.MjSpec) -> None:
    spec.stat.extent = 1.0  # so that znear and zfar are metres
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 12.0
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 4
    limits = spec.visual.global_
    limits.offwidth, limits.offheight = 1280, 960
    head = spec.visual.headlight
    head.ambient, head.diffuse, head.specular = [0.15] * 3, [0.2] * 3, [0.0] * 3
    spec.option.timestep = 0.005
    spec.option.iterations = 12  # settling objects need no more


def _add_materials(spec: mujoco.MjSpec, rng: np.random.Generator) -> _Materials:
    names: dict[str, list[str]] = {"surface": [], "print": []}
    mean = {}
    for kind, count, drawings in (("surface", 7, texture.SURFACES), ("print", 5, texture.PRINTS)):
        for k in range(count):
            name, image = f"{kind}{k}", texture.draw(rng, drawings)
            added = spec.add_texture(
                name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=texture.SIZE, height=texture.SIZE, nchannel=3
            )
            added.data = image.tobytes()
            material = spec.add_material(name=name, specular=rng.uniform(0, 0.5), shininess=rng.uniform(0.1, 0.9))
            material.textures[_RGB] = name
            tiled = spec.add_material(
                name=f"{name}_tiled", specular=0.2 * rng.random(), texrepeat=[2, 2], texuniform=True
            )
            tiled.textures[_RGB] = name
            names[kind].append(name)
            mean[name] = image.reshape(-1, 3).mean(0) / 255
    return _Materials(names["surface"], names["print"], mean)


def _add_room(spec: mujoco.MjSpec, rng: np.random.Generator, table: np.ndarray, materials: _Materials) -> None:
    world, tiled = spec.worldbody, [f"{n}_tiled" for n in rng.permutation(materials.surfaces)]
    world.add_geom(type=_PLANE, size=[6, 6, 0.1], pos=[0, 0, -0.75], material=tiled[0])
    world.add_geom(type=_BOX, size=[0.05, 5, 2.5], pos=[-rng.uniform(1, 2.6), 0, 1], material=tiled[1])
    for side in (1, -1):
        world.add_geom(type=_BOX, size=[5, 0.05, 2.5], pos=[0, side * rng.uniform(1.2, 3), 1], material=tiled[2])
    world.add_geom(type=_BOX, size=[*table, 0.02], pos=[0, 0, -0.02], material=tiled[3])
    wood = [*random_colour(rng), 1]
    for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        at = [x * (table[0] - 0.05), y * (table[1] - 0.05), -0.4]
        world.add_geom(type=_BOX, size=[0.025, 0.025, 0.36], pos=at, rgba=wood, contype=0, conaffinity=0)
    for _ in range(int(rng.integers(2, 7))):  # furniture behind the table
        at = [-rng.uniform(table[0] + 0.15, 1.6), rng.uniform(-1.5, 1.5), rng.uniform(-0.6, 0.6)]
        kind = dict(size=rng.uniform(0.06, 0.5, 3), euler=[0, 0, rng.uniform(0, 90)], contype=0, conaffinity=0)
        world.add_geom(type=_BOX, pos=at, material=str(rng.choice(materials.surfaces + materials.prints)), **kind)
    spot, sun = mujoco.mjtLightType.mjLIGHT_SPOT, mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    for k in range(3):
        world.add_light(
            pos=[0, 0, 2], dir=[0, 0, -1], castshadow=k == 0, type=sun if k else spot, cutoff=80, exponent=1
        )
    world.add_camera(name=CAMERA, pos=[1, 0, 1], fovy=45)


def _standing(parts: list[Part], scale: float) -> list[Part]:
    """Scaled, centred over the origin and resting on z = 0."""
    vertices = np.concatenate([p.vertices for p in parts]) * scale
    low, high = vertices.min(0), vertices.max(0)
    x, y = -(low + high)[:2] / 2
    return [p.scaled(scale, scale, scale).moved(x, y, -low[2]) for p in parts]


def _surface_points(part: Part, rng: np.random.Generator) -> np.ndarray:
    """SURFACE_POINTS points spread evenly over the surface, N,3."""
    corners = part.vertices[part.faces]  # M,3,3
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = rng.choice(len(area), SURFACE_POINTS, p=area / area.sum())
    u, v = np.sqrt(rng.random(SURFACE_POINTS)), rng.random(SURFACE_POINTS)
    weights = np.stack([1 - u, u * (1 - v), u * v], 1)
    return np.einsum("nk,nkd->nd", weights, corners[chosen])
