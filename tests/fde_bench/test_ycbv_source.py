import json
import pickle
import sys
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="needs focusdepth_core[bench]")

import cv2
import numpy as np
from scipy.io import savemat

from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.splits import split_of
from focusdepth_core.fde_bench.sources.ycb_objects import OBJECTS
from focusdepth_core.fde_bench.sources.ycbv import FIRST_CAMERA, SECOND_CAMERA, YCBV

HEIGHT, WIDTH = 48, 64
CAN, BANANA, BRICK = 1, 10, 21


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def label() -> np.ndarray:
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[5:20, 5:20], classes[5:20, 30:50], classes[30:40, 10:30] = CAN, BANANA, BRICK
    return classes


def meta(fx: float = 1066.778, factor: int = 10000) -> dict[str, np.ndarray]:
    k = np.array([[fx, 0, 312.9869], [0, 1067.487, 241.3109], [0, 0, 1]])
    return {
        "cls_indexes": np.array([[CAN, BANANA, BRICK]], np.uint8).T,
        "factor_depth": np.array([[factor]], np.uint16),
        "intrinsic_matrix": k,
        "poses": np.zeros((3, 4, 3)),
        "center": np.zeros((3, 2)),
        "vertmap": np.zeros((HEIGHT, WIDTH, 3), np.float32),
    }


def write_frame(root: Path, scene: str, stem: str, calibration: dict[str, np.ndarray] | None) -> Path:
    """A frame in the toolbox's layout."""
    folder = root / "data" / scene
    write(folder / f"{stem}-color.png", np.full((HEIGHT, WIDTH, 3), 80, np.uint8))
    write(folder / f"{stem}-depth.png", np.full((HEIGHT, WIDTH), 9480, np.uint16))
    write(folder / f"{stem}-label.png", label())
    (folder / f"{stem}-box.txt").write_text("002_master_chef_can 5.00 5.00 20.00 20.00\n")
    if calibration:
        savemat(folder / f"{stem}-meta.mat", calibration)
    return folder


def frames_of(root: Path, item: str) -> list[SourceFrame]:
    frames = list(YCBV(root).frames(item))
    assert all(isinstance(frame, SourceFrame) for frame in frames), frames
    return frames


def test_toolbox_layout_stays_in_place(tmp_path):
    folder = write_frame(tmp_path, "0000", "000001", meta(factor=5000))
    write_frame(tmp_path, "0000", "000002", meta())
    assert cv2.imwrite(str(tmp_path / "data_syn-000000-color.png"), np.zeros((4, 4), np.uint8))
    write(tmp_path / "data_syn" / "000000-color.png", np.zeros((4, 4), np.uint8))
    source = pickle.loads(pickle.dumps(YCBV(tmp_path)))
    assert source.items() == ["data/0000"]
    first, second = frames_of(tmp_path, "data/0000")
    assert (first.name, first.group) == ("data/0000/000001", "0000")
    assert (first.image, first.depth) == (folder / "000001-color.png", folder / "000001-depth.png")
    assert (first.depth_scale, second.depth_scale) == (5000, 10000)
    k = first.intrinsics
    assert (k.fx, k.fy, k.cx, k.cy) == (1066.778, 1067.487, 312.9869, 241.3109)
    assert (k.width, k.height) == (WIDTH, HEIGHT)


def test_one_object_of_each_class(tmp_path):
    write_frame(tmp_path, "0000", "000001", meta())
    can, banana, brick = frames_of(tmp_path, "data/0000")[0].instances
    assert [o.raw_name for o in (can, banana, brick)] == ["002_master_chef_can", "011_banana", "061_foam_brick"]
    assert [o.category for o in (can, banana, brick)] == ["master chef can", "banana", "foam brick"]
    assert "blue coffee can" in can.texts
    np.testing.assert_array_equal(banana.mask, label() == BANANA)


def test_all_21_names():
    assert len(OBJECTS) == 21 and len({names[0] for names in OBJECTS}) == 21


@pytest.mark.parametrize(("scene", "expected"), [("0059", FIRST_CAMERA), ("0060", SECOND_CAMERA)])
def test_calibration_without_its_file(tmp_path, scene, expected):
    write_frame(tmp_path, scene, "000001", None)
    (tmp_path / "keyframe.txt").write_text("0059/000001\n")
    (frame,) = frames_of(tmp_path, f"data/{scene}")
    k = frame.intrinsics
    assert (k.fx, k.fy, k.cx, k.cy) == expected
    assert frame.depth_scale == 10000


def test_test_scenes_keep_their_key_frames_only(tmp_path):
    for stem in ("000001", "000036", "000047"):
        write_frame(tmp_path, "0048", stem, meta())
    write_frame(tmp_path, "0047", "000001", meta())
    (tmp_path / "image_sets").mkdir()
    (tmp_path / "image_sets" / "keyframe.txt").write_text("0048/000001\n0048/000047\n0049/000036\n")
    assert YCBV(tmp_path).items() == ["data/0047", "data/0048"]
    frames = frames_of(tmp_path, "data/0048")
    assert [frame.name for frame in frames] == ["data/0048/000001", "data/0048/000047"]
    assert {frame.split for frame in frames} == {"test"}
    assert frames_of(tmp_path, "data/0047")[0].split == split_of("ycbv/0047", test=0)


def test_validation_scenes():
    splits = [split_of(f"ycbv/{scene:04d}", test=0) for scene in range(92) if scene not in range(48, 60)]
    assert 3 <= splits.count("val") <= 13 and "test" not in splits


@pytest.mark.parametrize(("lines", "reason"), [(None, "no image_sets/keyframe.txt"), ("48/1\n", "the line '48/1'")])
def test_key_frames_missing_or_of_another_form(tmp_path, lines, reason):
    write_frame(tmp_path, "0048", "000001", meta())
    if lines:
        (tmp_path / "keyframe.txt").write_text(lines)
    with pytest.raises(SourceError, match=reason):
        YCBV(tmp_path).items()


def test_class_out_of_range_and_missing_label_cost_their_frames(tmp_path):
    folder = write_frame(tmp_path, "0000", "000001", meta())
    for stem in ("000002", "000003"):
        write_frame(tmp_path, "0000", stem, meta())
    write(folder / "000001-label.png", np.full((HEIGHT, WIDTH), 22, np.uint8))
    (folder / "000002-label.png").unlink()
    wrong, missing, frame = YCBV(tmp_path).frames("data/0000")
    assert isinstance(wrong, SourceError) and "000001-label.png has object 22; YCB-Video has 1 to 21" in str(wrong)
    assert isinstance(missing, OSError) and "000002-label.png" in str(missing)
    assert isinstance(frame, SourceFrame)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"factor_depth": np.array([[0]])}, "positive factor_depth"),
        ({"intrinsic_matrix": np.eye(4)}, "no 3 x 3 intrinsic_matrix"),
        ({"intrinsic_matrix": np.array("x")}, "intrinsic_matrix holds"),
        ({"intrinsic_matrix": -np.eye(3)}, "focal length fx = -1"),
    ],
)
def test_calibration_that_cannot_be(tmp_path, change, reason):
    write_frame(tmp_path, "0000", "000001", meta() | change)
    (error,) = YCBV(tmp_path).frames("data/0000")
    assert isinstance(error, SourceError) and reason in str(error) and "000001-meta.mat" in str(error)


def test_truncated_calibration(tmp_path):
    folder = write_frame(tmp_path, "0000", "000001", meta())
    path = folder / "000001-meta.mat"
    path.write_bytes(path.read_bytes()[:150])
    (error,) = YCBV(tmp_path).frames("data/0000")
    assert isinstance(error, SourceError) and f"{path} is damaged" in str(error)


def write_bop(root: Path, part: str, scene: str, images: tuple[int, ...], depth_scale: float = 0.1) -> Path:
    folder = root / part / scene
    boxes = {CAN: [5, 5, 15, 15], BANANA: [30, 5, 40, 15], BRICK: [10, 30, 20, 10]}  # the banana leaves the image
    camera, objects, infos = {}, {}, {}
    for image in images:
        write(folder / "rgb" / f"{image:06d}.png", np.full((HEIGHT, WIDTH, 3), 80, np.uint8))
        write(folder / "depth" / f"{image:06d}.png", np.full((HEIGHT, WIDTH), 9480, np.uint16))
        for place, number in enumerate(boxes):
            mask = np.where(label() == number, 255, 0).astype(np.uint8)
            write(folder / "mask_visib" / f"{image:06d}_{place:06d}.png", mask)
        k = [1066.778, 0.0, 312.9869, 0.0, 1067.487, 241.3109, 0.0, 0.0, 1.0]
        camera[str(image)] = {"cam_K": k, "depth_scale": depth_scale}
        objects[str(image)] = [{"cam_R_m2c": [0] * 9, "cam_t_m2c": [0] * 3, "obj_id": number} for number in boxes]
        infos[str(image)] = [
            {"bbox_obj": box, "bbox_visib": box, "px_count_valid": 1, "visib_fract": 0.25 * (place + 1)}
            for place, box in enumerate(boxes.values())
        ]
    for name, content in (("scene_camera", camera), ("scene_gt", objects), ("scene_gt_info", infos)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_bop_layout(tmp_path):
    folder = write_bop(tmp_path, "train_real", "000001", (1, 10))
    write_bop(tmp_path, "test", "000048", (1,))
    write_bop(tmp_path, "train_pbr", "000002", (1,))
    write_frame(tmp_path, "0000", "000001", meta())
    source = YCBV(tmp_path)
    assert source.items() == ["test/000048", "train_real/000001"]
    first, second = frames_of(tmp_path, "train_real/000001")
    assert (first.name, second.name) == ("train_real/000001/000001", "train_real/000001/000010")
    assert (first.image, first.depth) == (folder / "rgb/000001.png", folder / "depth/000001.png")
    assert 9480 / first.depth_scale == pytest.approx(0.948)
    assert (first.group, first.split) == ("0001", split_of("ycbv/0001", test=0))
    assert frames_of(tmp_path, "test/000048")[0].split == "test"
    assert first.intrinsics.cy == 241.3109


def test_bop_knows_how_much_is_visible_and_the_whole_box(tmp_path):
    write_bop(tmp_path, "train_real", "000001", (1,))
    can, banana, _ = frames_of(tmp_path, "train_real/000001")[0].instances
    assert (can.visible_fraction, banana.visible_fraction) == (0.25, 0.5)
    assert banana.amodal_box == (30, 5, 70, 20)
    assert banana.category == "banana"
    np.testing.assert_array_equal(banana.mask, label() == BANANA)


def test_bop_test_scenes_keep_key_frames_if_they_are_listed(tmp_path):
    write_bop(tmp_path, "test", "000048", (1, 36))
    assert len(frames_of(tmp_path, "test/000048")) == 2
    (tmp_path / "keyframe.txt").write_text("0048/000036\n")
    assert [frame.name for frame in frames_of(tmp_path, "test/000048")] == ["test/000048/000036"]


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("scene_gt", lambda c: c["1"][0].update(obj_id=99), "has object 99"),
        ("scene_gt", lambda c: c["1"][0].update(obj_id=0), "has object 0"),
        ("scene_gt", lambda c: c["1"].pop(), "incomplete or damaged"),
        ("scene_gt_info", lambda c: c["1"][0].pop("visib_fract"), "visib_fract"),
        ("scene_camera", lambda c: c.pop("1"), "'1'"),
        ("scene_camera", lambda c: c["1"].update(depth_scale=0), "incomplete or damaged"),
        ("scene_camera", lambda c: c["1"].update(cam_K=[0] * 9), "focal length fx = 0"),
    ],
)
def test_bop_errors_cost_one_frame(tmp_path, file, change, reason):
    path = write_bop(tmp_path, "train_real", "000001", (1, 2)) / f"{file}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    error, frame = YCBV(tmp_path).frames("train_real/000001")
    assert isinstance(error, SourceError) and reason in str(error) and "000001" in str(error)
    assert isinstance(frame, SourceFrame)


def test_bop_image_without_objects_is_a_frame_without_targets(tmp_path):
    folder = write_bop(tmp_path, "train_real", "000001", (1, 2))
    for file in ("scene_gt.json", "scene_gt_info.json"):
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | {"1": []}))
    empty, other = frames_of(tmp_path, "train_real/000001")
    assert empty.instances == () and len(other.instances) == 3 and other.intrinsics


def test_bop_lists_that_are_no_json(tmp_path):
    folder = write_bop(tmp_path, "train_real", "000001", (1,))
    (folder / "scene_gt.json").write_text("{")
    with pytest.raises(SourceError, match=r"scene_gt.json is no JSON"):
        list(YCBV(tmp_path).frames("train_real/000001"))


def test_no_scene(tmp_path):
    with pytest.raises(SourceError, match="expected data/0000, or train_real/000000"):
        YCBV(tmp_path).items()


def test_without_scipy(tmp_path, monkeypatch):
    write_frame(tmp_path, "0000", "000001", meta())
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    (error,) = YCBV(tmp_path).frames("data/0000")
    assert isinstance(error, SourceError) and "needs scipy; pip install 'focusdepth_core[bench]'" in str(error)
