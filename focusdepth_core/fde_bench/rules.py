"""Which objects become targets, and what they are called.

An object that is too small, too hidden or without depth can neither be learned nor judged; a surface or the robot
itself is nothing to focus on.
"""

from __future__ import annotations

import re

import cv2
import numpy as np

from focusdepth_core.fde_bench.source import Instance
from focusdepth_core.perception.target import Box

MIN_AREA_PX = 100
MIN_AREA = 0.001  # of the image
MAX_AREA = 0.6  # of the image
MIN_SIDE_PX = 8
MIN_VALID_DEPTH = 0.5  # of the mask's pixels
MIN_VISIBLE = 0.3  # of the object
MAX_TRUNCATED = 0.5  # of the amodal box that lies outside the image

# Surfaces, the scene and the robot; "other ..." are the remainder classes of NYU's 40.
NO_TARGETS = frozenset(
    {
        *("wall", "floor", "ceiling", "ground", "background", "sky", "unknown"),
        *("table", "tabletop", "robot", "robot arm", "robot gripper", "gripper", "arm"),
        *("otherstructure", "otherfurniture", "otherprop", "other structure", "other furniture", "other prop"),
    }
)

# One name where the sources have several; the source's own word stays a prompt.
SYNONYMS = {
    "can of soda": "soda can",
    "cell phone": "smartphone",
    "clothes hanger": "coat hanger",
    "coffee cup": "mug",
    "coffee mug": "mug",
    "coke can": "soda can",
    "computer monitor": "monitor",
    "drinking glass": "glass",
    "eggplant": "aubergine",
    "garbage bin": "trash can",
    "glasses": "eyeglasses",
    "hanger": "coat hanger",
    "mobile phone": "smartphone",
    "mouse": "computer mouse",
    "pop can": "soda can",
    "remote": "remote control",
    "rubbish bin": "trash can",
    "television": "tv",
    "tin": "tin can",
}

_NUMBER_IN_FRONT = re.compile(r"^\d+[\s.:-]+")
_NUMBER_BEHIND = re.compile(r"(\s+#?\d+|#\d+)+$")


def normalised(raw_name: str) -> str:
    """``002_master_chef_can`` -> ``master chef can``: lower case, spaces, no number of a model or a copy."""
    words = " ".join(re.sub(r"[_/\s]+", " ", raw_name.lower()).split())
    shorter = _NUMBER_BEHIND.sub("", _NUMBER_IN_FRONT.sub("", words)).strip()
    return SYNONYMS.get(words, words) if shorter == words else normalised(shorter)


def texts_of(instance: Instance) -> tuple[str, ...]:
    """The prompts for one object, each once: the category, then the source's own word and the source's texts."""
    own_word = " ".join(instance.category.lower().split())
    texts = (normalised(instance.category), own_word, *(" ".join(t.split()) for t in instance.texts))
    once: dict[str, str] = {}
    for text in filter(None, texts):
        once.setdefault(text.casefold(), text)
    return tuple(once.values())


def reason_to_drop(instance: Instance, box: Box, depth: np.ndarray) -> str | None:
    """Why it is no target, or None. ``box``: of its mask; ``depth``: H,W metres, 0 = missing."""
    height, width = instance.mask.shape
    area = int(np.count_nonzero(instance.mask))
    valid = np.count_nonzero(depth[instance.mask] > 0)
    category = normalised(instance.category)
    visible = instance.visible_fraction
    tests = {
        "no name": not category,
        "surface or robot": category in NO_TARGETS,
        "smaller than 100 px or 0.1 %": area < max(MIN_AREA_PX, MIN_AREA * width * height),
        "larger than 60 %": area > MAX_AREA * width * height,
        "side under 8 px": min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE_PX,
        "depth in under half of it": valid < MIN_VALID_DEPTH * area,
        "under 30 % visible": visible is not None and visible < MIN_VISIBLE,
        "half outside the image": _truncated(instance.amodal_box, width, height) > MAX_TRUNCATED,
    }
    return next((reason for reason, holds in tests.items() if holds), None)


def tight_box(mask: np.ndarray) -> Box:
    """x0, y0, x1, y1 around the true pixels of H,W bool, half-open; all 0 for an empty mask."""
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return (float(x), float(y), float(x + width), float(y + height))


def _truncated(amodal_box: Box | None, width: int, height: int) -> float:
    """Share of the amodal box outside the image; 0 where it is not known."""
    if amodal_box is None:
        return 0.0
    low, high = np.array(amodal_box).reshape(2, 2)
    inside = np.clip(np.minimum(high, (width, height)) - np.maximum(low, 0), 0, None)
    return 1 - float(inside.prod() / max((high - low).prod(), 1e-9))
