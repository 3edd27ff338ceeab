"""One training sample from a row of a manifest: crop, flip, colour, and a box as a detector would draw it."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from focusdepth_core.engine.model_folder import InputSpec, PromptInput
from focusdepth_core.fde_bench.manifest import Row
from focusdepth_core.fde_bench.rules import tight_box
from focusdepth_core.perception.letterbox import Letterbox
from focusdepth_core.perception.network_inputs import stretched

MEAN = (0.485, 0.456, 0.406)  # ImageNet statistics, as all Depth Anything models use
STD = (0.229, 0.224, 0.225)
PROMPT_MEAN = PROMPT_STD = (0.5, 0.5, 0.5)  # SAM3's
ASKED, ABSENT = 8, 2  # texts of an image that are asked for at a time, and at least so many that fit nothing in it
KEPT = 0.5  # share of the target's pixels that a crop shows
_SIDED = re.compile(r"\b(left|right)", re.IGNORECASE)  # words that a flip would make wrong
_CHOOSES = re.compile(r"\b(left|right|nearest|farthest)", re.IGNORECASE)  # among several, of which a crop may lack some


@dataclass(frozen=True)
class CanvasSpec:
    """The networks' inputs, px. ``prompt_side``: of the prompt branch's square one, 0 if it has none of its own."""

    width: int
    height: int
    prompt_side: int = 0

    @property
    def input(self) -> InputSpec:
        return InputSpec(self.width, self.height, MEAN, STD)

    @property
    def prompt_input(self) -> PromptInput:
        return PromptInput(self.prompt_side, PROMPT_MEAN, PROMPT_STD)


@dataclass(frozen=True)
class Augment:
    """How far a sample may depart from its row. Raises ``ValueError`` for a share outside [0, 1].

    ``smallest_crop``: shortest side of a crop, of the image's; ``letterboxed``: share of the crops with another aspect
    ratio, down to ``flattest`` times one side, so that both kinds of padding are seen; ``flip``: share of mirrored
    ones; ``gamma``, ``gain`` (per channel) and ``contrast``: standard deviations in octaves; ``box_jitter``: standard
    deviation of each side, of the box; ``other_texts``: use all texts of the row and not only its category.
    """

    smallest_crop: float = 0.75
    letterboxed: float = 0.25
    flattest: float = 0.7
    flip: float = 0.5
    gamma: float = 0.3
    gain: float = 0.1
    contrast: float = 0.2
    box_jitter: float = 0.04
    other_texts: bool = True

    def __post_init__(self) -> None:
        for name in ("smallest_crop", "letterboxed", "flattest", "flip"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} = {value}; it is a share from 0 to 1")

    @classmethod
    def none(cls) -> Augment:
        """The whole image as it is, the tight box and the category: for caches and validation."""
        return cls(1, 0, 1, 0, 0, 0, 0, 0, False)


@dataclass(frozen=True)
class Sample:
    """``image`` 3,h,w float32, normalised and letterboxed; ``prompt_image`` 3,S,S float32, the same view, or None.

    ``depth`` h,w float32 metres, 0 = missing; ``mask`` h,w float32 {0, 1}; ``box`` 1,4 float32 cxcywh in [0, 1] of the
    canvas; ``focal``: fx in pixels of the canvas, 0 = unknown; ``id``: of the row; ``asked``: other texts, and
    ``wanted`` Q,h,w uint8 {0, 1}: where what each names is, nowhere for one that fits nothing in the image.
    """

    image: np.ndarray
    prompt_image: np.ndarray | None
    depth: np.ndarray
    mask: np.ndarray
    box: np.ndarray
    text: str
    focal: float
    id: str
    asked: tuple[str, ...] = ()
    wanted: np.ndarray | None = None


@dataclass(frozen=True)
class Named:
    """What is where in an image. ``labels``: H,W uint8, its targets from 1, 0 elsewhere; ``present``: each text with
    the labels that it fits; ``absent``: texts that fit none."""

    labels: np.ndarray
    present: dict[str, list[int]]
    absent: list[str]


def sample(
    row: Row, canvas: CanvasSpec, augment: Augment, rng: np.random.Generator, named: Named | None = None
) -> Sample:
    """``named``: from which ``Sample.asked`` comes, if it is wanted.

    Raises ``OSError`` for a file that cannot be read, or a target that vanishes at the canvas's size.
    """
    text = str(rng.choice(row.texts)) if augment.other_texts else row.texts[0]
    image, depth, mask = row.read_image(), row.read_depth(), row.read_mask()
    window = _window(mask, row.box, augment, rng)
    mirror = slice(None, None, -1) if rng.random() < augment.flip and not _SIDED.search(text) else slice(None)
    image, depth, mask = (np.ascontiguousarray(x[window][:, mirror]) for x in (image, depth, mask))
    box = _jittered(np.array(tight_box(mask)), mask.shape[::-1], augment.box_jitter, rng)
    image = recoloured(image, augment, rng)
    letterbox = Letterbox(mask.shape[1], mask.shape[0], canvas.input)
    small = _on_canvas(mask.view(np.uint8), letterbox)
    if not small.any():
        raise OSError(f"the target of {row.id} vanishes at {letterbox.width} x {letterbox.height} pixels")
    return Sample(
        image=letterbox.image(image)[0],
        prompt_image=stretched(image, letterbox, canvas.prompt_input)[0] if canvas.prompt_side else None,
        depth=_on_canvas(depth, letterbox),
        mask=small.astype(np.float32),
        box=letterbox.boxes_to_input(box[None]).astype(np.float32),
        text=text,
        focal=row.intrinsics.fx * letterbox.width / mask.shape[1] if row.intrinsics else 0.0,
        id=row.id,
        **({} if named is None else _asked(named, window, mirror, letterbox, rng)),
    )


def _asked(
    named: Named, window: tuple[slice, slice], mirror: slice, letterbox: Letterbox, rng: np.random.Generator
) -> dict[str, Any]:
    """``Sample.asked`` and ``Sample.wanted``."""
    labels = _on_canvas(np.ascontiguousarray(named.labels[window][:, mirror]), letterbox)
    mirrored = mirror.step is not None
    present = [text for text in named.present if not (mirrored and _SIDED.search(text))]
    seen = np.unique(labels)
    present = [text for text in present if np.isin(named.present[text], seen).all() or not _CHOOSES.search(text)]
    texts = [str(text) for text in rng.permutation(present)[: ASKED - ABSENT]]
    texts = (texts + named.absent)[:ASKED]
    texts = tuple(itertools.islice(itertools.cycle(texts), ASKED))
    wanted = np.stack([np.isin(labels, named.present.get(text, [])) for text in texts])
    return {"asked": texts, "wanted": wanted.view(np.uint8)}


def _on_canvas(truth: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """In the top left corner, 0 elsewhere."""
    out = np.zeros((letterbox.spec.height, letterbox.spec.width), truth.dtype)
    size = (letterbox.width, letterbox.height)
    # EXACT takes the pixel under the centre; INTER_NEAREST would shift the truth by up to half an input pixel.
    out[: size[1], : size[0]] = cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return out


def _window(
    mask: np.ndarray, box: tuple[float, ...], augment: Augment, rng: np.random.Generator
) -> tuple[slice, slice]:
    """A random crop around the middle of the target; the whole image where the crop would show too little of it."""
    shares = np.full(2, rng.uniform(augment.smallest_crop, 1))
    if rng.random() < augment.letterboxed:
        shares[rng.integers(2)] *= rng.uniform(augment.flattest, 1)
    spans = zip(mask.shape, shares, (box[1], box[0]), (box[3], box[2]))
    window = tuple(_span(n, share, low, high, rng) for n, share, low, high in spans)
    if np.count_nonzero(mask[window]) < KEPT * np.count_nonzero(mask):
        return slice(None), slice(None)
    return window


def _span(n: int, share: float, low: float, high: float, rng: np.random.Generator) -> slice:
    """``share`` of ``n`` pixels that hold the middle half of the target's ``low`` to ``high``, or lie inside it."""
    length = max(1, round(share * n))
    ends = (3 * high + low) / 4 - length, (3 * low + high) / 4
    first, last = (int(np.clip(end, 0, n - length)) for end in sorted(ends))
    start = int(rng.integers(first, last + 1))
    return slice(start, start + length)


def _jittered(box: np.ndarray, size: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """x0, y0, x1, y1 px with each side moved, inside an image of ``size`` and at least a pixel wide."""
    moved = box + rng.normal(0, share, 4) * np.tile(box[2:] - box[:2], 2)
    low = np.clip(moved[:2], 0, np.subtract(size, 1))
    return np.concatenate([low, np.clip(moved[2:], low + 1, size)])


def recoloured(image: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Random gamma, channel gains and contrast; H,W,3 uint8."""
    levels = np.linspace(0, 1, 256) ** 2 ** rng.normal(0, augment.gamma)
    table = levels[:, None] * 2 ** rng.normal(0, augment.gain, 3)
    table = (table - 0.5) * 2 ** rng.normal(0, augment.contrast) + 0.5
    return cv2.LUT(image, np.rint(table.clip(0, 1) * 255).astype(np.uint8)[None])
