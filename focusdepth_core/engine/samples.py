"""What an engine is judged by: simulated scenes with what the network answers to them, in one npz of a model folder.

The answers are stored, so that a robot needs no second runtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Optional

import numpy as np

from focusdepth_core.engine.base import EngineError, Texts
from focusdepth_core.perception.frame import Frame
from focusdepth_core.perception.target import Target

SPLIT = "val"  # of the simulator: no model is trained on its scenes
PIXELS = 130_000  # of all images together, which keeps the file near 1 MB
SCENES = (2, 6)  # at least and at most
LONGEST_SIDE = 200  # px of the stored maps
MOST_TARGETS = 3


@dataclass(frozen=True)
class Scene:
    """``frame``: of the network's size; ``depth_m``: h,w true z, and ``mask``: h,w bool, of all targets, at every
    ``stride``-th pixel in both directions."""

    frame: Frame
    targets: tuple[Target, ...]
    stride: int
    depth_m: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Sample(Scene):
    """And what the network gives: ``focus`` h,w and ``mask_logits`` T,rows,columns for the targets, ``plain`` h,w
    without any."""

    focus: np.ndarray
    plain: np.ndarray
    mask_logits: np.ndarray


def scenes(width: int, height: int, texts: Optional[Texts] = None) -> list[Scene]:
    """The same for the same size and MuJoCo; with one target and with several in turn.

    ``texts``: targets that it knows are called by their names, too. Raises ``EngineError`` without MuJoCo or OpenGL.
    """
    try:
        rendered = _rendered(width, height)
    except Exception as error:  # OpenGL fails in many ways, and MuJoCo's error has no other base
        raise EngineError(f"scenes cannot be rendered, which needs focusdepth_core[sim] and OpenGL: {error}") from None
    return [replace(scene, targets=tuple(_named(target, texts) for target in scene.targets)) for scene in rendered]


@lru_cache(maxsize=1)
def _rendered(width: int, height: int) -> tuple[Scene, ...]:
    from focusdepth_core.sim.generate import scene_frames
    from focusdepth_core.sim.render import Renderer
    from focusdepth_core.sim.splits import seed_range

    count = min(max(PIXELS // (width * height), SCENES[0]), SCENES[1])
    stride = -(-max(width, height) // LONGEST_SIDE)
    renderer = Renderer(width, height)
    found: list[Scene] = []
    for seed in seed_range(SPLIT):
        shot = next(iter(scene_frames(seed, renderer, 1)))
        chosen = sorted(shot.targets, key=lambda t: -t.area_px)[: MOST_TARGETS if len(found) % 2 else 1]
        if chosen:
            targets = tuple(Target(str(t.id), t.box, f"{t.colour} {t.category}") for t in chosen)
            mask = np.isin(shot.instances, [t.id for t in chosen])
            maps = [np.ascontiguousarray(m[::stride, ::stride]) for m in (shot.depth_m, mask)]
            found.append(Scene(Frame(shot.image), targets, stride, *maps))
        if len(found) == count:
            break
    renderer.close()
    return tuple(found)


def _named(target: Target, texts: Optional[Texts]) -> Target:
    """By colour and category, or by category alone, or not."""
    name = target.text or ""
    for text in (name, name.partition(" ")[2]):
        try:
            if texts is not None and texts.features(text):
                return replace(target, text=text)
        except ValueError:  # not among those that it knows
            continue
    return replace(target, text=None)


def write(path: Path, samples: Sequence[Sample]) -> None:
    targets = [target for sample in samples for target in sample.targets]
    np.savez_compressed(
        path,
        stride=np.array(samples[0].stride),
        images=np.stack([sample.frame.image for sample in samples]),
        counts=np.array([len(sample.targets) for sample in samples]),
        boxes=np.array([target.box for target in targets], np.float32),
        texts=np.array([target.text or "" for target in targets], np.str_),
        depth_m=np.stack([sample.depth_m for sample in samples]).astype(np.float16),
        mask=np.stack([sample.mask for sample in samples]),
        focus=np.stack([sample.focus for sample in samples]).astype(np.float16),
        plain=np.stack([sample.plain for sample in samples]).astype(np.float16),
        mask_logits=np.concatenate([sample.mask_logits for sample in samples]).astype(np.float16),
    )


def read(path: Path) -> list[Sample]:
    """Raises ``EngineError`` for a file that is damaged or holds something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return list(_samples({name: file[name] for name in file.files}))
    except Exception as error:  # damaged archives fail in many ways: zlib.error, NotImplementedError, ...
        raise EngineError(f"{path} holds no samples for the self-check ({error}); export the model again") from None


def _samples(file: dict[str, np.ndarray]) -> Iterator[Sample]:
    ends = np.cumsum(file["counts"])
    for i, (end, count) in enumerate(zip(ends, file["counts"])):
        own = slice(end - count, end)
        boxes, texts = file["boxes"][own].tolist(), file["texts"][own].tolist()
        depth_m, focus, plain = (file[name][i].astype(np.float32) for name in ("depth_m", "focus", "plain"))
        yield Sample(
            Frame(file["images"][i]),
            tuple(Target(str(k), tuple(box), text or None) for k, (box, text) in enumerate(zip(boxes, texts))),
            int(file["stride"]),
            depth_m,
            file["mask"][i],
            focus,
            plain,
            file["mask_logits"][own].astype(np.float32),
        )
