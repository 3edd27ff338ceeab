"""People's own frames, and what is said about those that do not fit the layout."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest

from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.rgbd import RGBD
from tests.fde_bench.rgbd_frames import UNITS, position_of, write_frame

BOXES = {"mug": (10, 20, 60, 80), "red box": (70, 20, 110, 70)}


def read(folder):
    source = RGBD(folder)
    return [frame for item in source.items() for frame in source.frames(item)]


def test_a_frame_says_what_its_json_says(tmp_path):
    k = [[200, 0, 79.5], [0, 210, 59.5], [0, 0, 1]]
    targets = [{"id": 2, "category": "box", "texts": ["red box"], "visible_fraction": 0.7}]
    write_frame(tmp_path, "Run 1/A", (160, 120), BOXES, K=k, targets=targets, split="val", licence="MIT")
    (frame,) = read(tmp_path)
    assert (frame.name, frame.group, frame.split, frame.licence) == ("run_1/a", "Run 1", "val", "MIT")
    assert frame.image == tmp_path / "Run 1" / "A_rgb.png" and frame.depth_scale == UNITS
    assert (frame.intrinsics.fx, frame.intrinsics.fy, frame.intrinsics.cx, frame.intrinsics.width) == (
        200,
        210,
        79.5,
        160,
    )
    (instance,) = frame.instances
    assert (instance.category, instance.texts, instance.visible_fraction) == ("box", ("red box",), 0.7)
    assert np.argwhere(instance.mask).min(0).tolist() == [20, 70] and instance.mask.sum() == 40 * 50


def test_what_is_left_out_has_a_default(tmp_path):
    write_frame(tmp_path, "a", (160, 120), BOXES)
    write_frame(tmp_path, "seq/b", (160, 120), BOXES)
    (a, b) = read(tmp_path)
    assert (a.group, a.split, a.intrinsics, a.mask_source, a.licence) == ("a", "test", None, None, None)
    assert b.group == "seq" and len(b.instances) == 2


def test_null_is_as_if_left_out(tmp_path):
    nothing = dict.fromkeys(("K", "split", "group", "mask_source", "licence"))
    targets = [{"id": 1, "category": "mug", "texts": None, "visible_fraction": None}]
    write_frame(tmp_path, "a", (160, 120), BOXES, targets=targets, **nothing)
    (frame,) = read(tmp_path)
    assert (frame.group, frame.split, frame.intrinsics, frame.mask_source, frame.licence) == ("a", "test", *[None] * 3)
    assert (frame.instances[0].texts, frame.instances[0].visible_fraction) == ((), None)


def test_depth_may_be_a_pgm(tmp_path):
    write_frame(tmp_path, "a", (160, 120), BOXES)
    png, pgm = tmp_path / "a_depth.png", tmp_path / "a_depth.pgm"
    depth = cv2.imread(str(png), cv2.IMREAD_UNCHANGED)
    pgm.write_bytes(b"P5\n160 120\n65535\n" + depth.astype(">u2").tobytes())
    png.unlink()
    (frame,) = read(tmp_path)
    assert frame.depth == pgm


def drop(suffix):
    return lambda folder: (folder / f"a{suffix}").unlink()


def change(**values):
    def apply(folder):
        path = folder / "a.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return apply


def target(**values):
    return change(targets=[{"id": 1, "category": "cup"} | values])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (drop("_depth.png"), "no a_depth.png"),
        (drop("_inst.png"), "targets but no a_inst.png"),
        (change(depth_units_per_m=None), "'depth_units_per_m' is null"),
        (change(depth_units_per_m=-1000), "'depth_units_per_m' is -1000"),
        (change(depth_units_per_m=10**400), "'depth_units_per_m' is 1000"),
        (change(group=3), "'group' is 3; write text in quotes"),
        (change(licence=4), "'licence' is 4; write text in quotes"),
        (change(mask_source=True), "'mask_source' is true; "),
        (change(split="training"), "'split' is \"training\"; write one of"),
        (change(K=[[1, 2]]), r"'K' is \[\[1, 2\]\]; write 3 rows of 3 numbers"),
        (change(K=[[200, 0, "x"], [0, 200, 0], [0, 0, 1]]), "write 3 rows of 3 numbers"),
        (change(targets=["mug"]), r"'targets' is \[\"mug\"\]; write a list such as"),
        (target(texts="red mug"), "'texts' is \"red mug\"; write a list for target 1"),
        (target(texts=[1]), r"'texts' is \[1\]; write a list for target 1"),
        (target(visible_fraction="0.8"), "'visible_fraction' is \"0.8\"; write a number 0 to 1 for target 1"),
        (target(visible_fraction=80), "'visible_fraction' is 80; write a number 0 to 1"),
        (target(category=None), "'category' is null; write what target 1 is"),
        (target(id="1"), "'id' is \"1\"; write the object's value"),
        (target(id=0), "'id' is 0; write the object's value"),
        (change(targets=[{"id": 9, "category": "cup"}]), r"target 9 \(cup\) has no pixel"),
        (change(targets=[{"category": "cup"}]), "'id' is missing"),
        (change(targets=5), "'targets' is 5; write a list"),
        (change(K=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]]), "focal length fx = -1"),
        (lambda folder: (folder / "a.json").write_text("{"), "is no JSON: Expecting property name"),
        (lambda folder: (folder / "a_inst.png").write_bytes(b"x"), "png is damaged"),
    ],
)
def test_a_frame_that_does_not_fit_costs_itself_only(tmp_path, damage, said):
    write_frame(tmp_path, "a", (160, 120), BOXES)
    write_frame(tmp_path, "b", (160, 120), BOXES)
    damage(tmp_path)
    bad, good = read(tmp_path)
    assert isinstance(bad, (SourceError, OSError)) and isinstance(good, SourceFrame)
    with pytest.raises(type(bad), match=rf"{re.escape(str(tmp_path))}/a(\.json|_inst).*{said}"):
        raise bad


def test_a_folder_without_frames_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(SourceError, match="has no NAME.json with a NAME_rgb"):
        RGBD(tmp_path).items()


def test_the_frames_of_these_tests_say_where_their_pixels_are(tmp_path):
    write_frame(tmp_path, "a", (160, 120), BOXES)
    depth = cv2.imread(str(tmp_path / "a_depth.png"), cv2.IMREAD_UNCHANGED).astype(np.float32) / UNITS
    x, y = position_of(depth)
    assert (x == np.arange(160)).all() and (y == np.arange(120)[:, None]).all()
