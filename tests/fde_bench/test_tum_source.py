import json
import pickle
from pathlib import Path

import pytest

pytest.importorskip("pycocotools", reason="needs focusdepth_core[bench]")

import cv2
import numpy as np
from pycocotools import mask as coco

from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.splits import split_of
from focusdepth_core.fde_bench.sources.tum import TUM
from focusdepth_core.fde_bench.sources.tum_times import Trajectory, associate, spread_out

SEQUENCE = "rgbd_dataset_freiburg1_desk"
HEIGHT, WIDTH = 24, 32
TIMES = [1305031453.359684, 1305031453.391690, 1305031454.423683]
STAMPS = [f"{time:.6f}" for time in TIMES]


def mug() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4:12, 6:20] = True
    return mask


def runs(mask: np.ndarray) -> dict:
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def write_list(path: Path, title: str, lines: list[str]) -> None:
    header = f"# {title}\n# file: 'rgbd_dataset_freiburg1_desk.bag'\n# timestamp filename\n"
    path.write_text(header + "".join(f"{line}\n" for line in lines))


def write_sequence(root: Path, name: str = SEQUENCE, times: list[float] = TIMES) -> Path:
    folder = root / name
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True)
    for time in times:
        assert cv2.imwrite(str(folder / f"rgb/{time:.6f}.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        assert cv2.imwrite(str(folder / f"depth/{time + 0.015:.6f}.png"), np.full((HEIGHT, WIDTH), 6000, np.uint16))
    write_list(folder / "rgb.txt", "color images", [f"{t:.6f} rgb/{t:.6f}.png" for t in times])
    write_list(folder / "depth.txt", "depth maps", [f"{t + 0.015:.6f} depth/{t + 0.015:.6f}.png" for t in times])
    return folder


def write_poses(folder: Path, poses: dict[float, str]) -> None:
    write_list(folder / "groundtruth.txt", "ground truth trajectory", [f"{t:.4f} {p}" for t, p in poses.items()])


def write_masks(folder: Path, objects: list[dict] | None = None, stamps: list[str] = STAMPS) -> None:
    objects = (
        [{"category": "coffee_mug", "texts": ["white mug"], "score": 0.93, "segmentation": runs(mug())}]
        if objects is None
        else objects
    )
    (folder / "masks.json").write_text(json.dumps({"model": "sam3", "frames": dict.fromkeys(stamps, objects)}))


def frames_of(root: Path, item: str = SEQUENCE) -> list[SourceFrame]:
    frames = list(TUM(root).frames(item))
    assert all(isinstance(frame, SourceFrame) for frame in frames), frames
    return frames


def test_sequence_stays_in_place(tmp_path):
    folder = write_sequence(tmp_path)
    write_masks(folder)
    assert pickle.loads(pickle.dumps(TUM(tmp_path))).items() == [SEQUENCE]
    frame = frames_of(tmp_path)[0]
    assert frame.name == f"{SEQUENCE}/{STAMPS[0]}"
    assert frame.image == folder / f"rgb/{STAMPS[0]}.png"
    assert frame.depth == folder / f"depth/{TIMES[0] + 0.015:.6f}.png"
    assert frame.depth_scale == 5000
    assert (frame.group, frame.split) == (SEQUENCE, split_of(f"tum/{SEQUENCE}"))
    (mug_found,) = frame.instances
    assert (mug_found.category, mug_found.raw_name) == ("mug", "coffee_mug")
    assert "white mug" in mug_found.texts
    np.testing.assert_array_equal(mug_found.mask, mug())


def test_masks_are_pseudo_and_say_of_which_model(tmp_path):
    write_masks(write_sequence(tmp_path))
    assert TUM.mask_source == "pseudo"
    assert frames_of(tmp_path)[0].mask_source == "pseudo:sam3"


@pytest.mark.parametrize(
    ("name", "fx"),
    [
        ("rgbd_dataset_freiburg1_desk", 517.3),
        ("rgbd_dataset_freiburg2_xyz", 520.9),
        ("rgbd_dataset_freiburg3_teddy", 535.4),
        ("my_office", 525.0),
    ],
)
def test_intrinsics_by_number(tmp_path, name, fx):
    write_masks(write_sequence(tmp_path, name))
    assert frames_of(tmp_path, name)[0].intrinsics.fx == fx


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_from_ids(tmp_path, dtype):
    folder = write_sequence(tmp_path)
    (folder / "masks").mkdir()
    ids = np.where(mug(), 3, 0).astype(dtype)
    for stamp in STAMPS:
        assert cv2.imwrite(str(folder / f"masks/{stamp}.png"), ids)
    write_masks(folder, [{"category": "mug", "id": 3}])
    np.testing.assert_array_equal(frames_of(tmp_path)[0].instances[0].mask, mug())
    write_masks(folder, [{"category": "mug", "id": 4}])
    error = next(TUM(tmp_path).frames(SEQUENCE))
    assert isinstance(error, SourceError) and "names the id 4" in str(error) and "has 1 to 3" in str(error)


def test_unsure_objects_are_left_out(tmp_path):
    kinds = {
        "sure": {"score": 0.5, "stability": 0.8},
        "doubtful": {"score": 0.49},
        "shaky": {"score": 0.9, "stability": 0.79},
        "hand made": {},
    }
    objects = [{"category": name, "segmentation": runs(mug())} | scores for name, scores in kinds.items()]
    write_masks(write_sequence(tmp_path), objects)
    assert [o.category for o in frames_of(tmp_path)[0].instances] == ["sure", "hand made"]


def test_association_is_one_to_one_and_closest_first():
    assert associate([0.0, 0.01], [0.011]) == [(1, 0)]
    assert associate([0.0, 1.0, 2.0], [0.02, 1.021, 1.99]) == [(0, 0), (2, 2)]
    assert associate([0.0, 0.01, 0.02], [0.001, 0.012, 0.019]) == [(0, 0), (1, 1), (2, 2)]
    assert associate([], [1.0]) == []


def test_association_equals_the_slow_way():
    rng = np.random.default_rng(3)
    first, second = np.sort(rng.uniform(0, 2, 80)).tolist(), np.sort(rng.uniform(0, 2, 70)).tolist()
    pairs = sorted((abs(a - b), i, j) for i, a in enumerate(first) for j, b in enumerate(second) if abs(a - b) <= 0.02)
    rows, columns, expected = set(range(80)), set(range(70)), []
    for _, i, j in pairs:
        if i in rows and j in columns:
            rows.remove(i), columns.remove(j)
            expected.append((i, j))
    assert associate(first, second) == sorted(expected)


def test_frames_are_a_second_apart_without_poses(tmp_path):
    write_masks(write_sequence(tmp_path))
    assert [frame.name.rpartition("/")[2] for frame in frames_of(tmp_path)] == [STAMPS[0], STAMPS[2]]


def trajectory(*poses: str) -> Trajectory:
    values = np.array([[float(x) for x in pose.split()] for pose in poses])
    return Trajectory([0.1 * i for i in range(len(poses))], values)


def test_frames_that_moved_or_turned_are_kept():
    still, near, far = "0 0 0 0 0 0 1", "0 0 0.09 0 0 0 1", "0 0 0.11 0 0 0 1"
    little = f"0 0 0 0 0 {np.sin(np.radians(4.5))} {np.cos(np.radians(4.5))}"
    turned = f"0 0 0 0 0 {-np.sin(np.radians(5.5))} {-np.cos(np.radians(5.5))}"  # -q is the same rotation as q
    minus = "0 0 0 0 0 0 -1"
    times = [0.0, 0.1, 0.2]
    assert spread_out(times, trajectory(still, near, far)) == [0, 2]
    assert spread_out(times, trajectory(still, little, turned)) == [0, 2]
    assert spread_out(times, trajectory(still, minus, still)) == [0]
    assert spread_out(times, trajectory(still)) == [0]
    assert spread_out([0.0, 0.1, 1.0, 1.9, 2.0], trajectory(still)) == [0, 2, 4]


def test_poses_are_read_and_normalised(tmp_path):
    folder = write_sequence(tmp_path)
    write_masks(folder)
    write_poses(folder, {TIMES[0]: "1.0 1.0 1.0 0 0 0 2", TIMES[1]: "1.2 1.0 1.0 0 0 0 2", TIMES[2]: "1.2 1 1 0 0 0 1"})
    assert len(frames_of(tmp_path)) == 3
    write_poses(folder, dict.fromkeys(TIMES, "1.0 1.0 1.0 0 0 0 2"))
    assert len(frames_of(tmp_path)) == 2


@pytest.mark.parametrize("pose", ["1 2 3", "1 2 3 0 0 0 0", "1 2 3 0 0 0 nan", "1 2 3 0 0 0 x"])
def test_poses_that_are_none(tmp_path, pose):
    folder = write_sequence(tmp_path)
    write_masks(folder)
    write_poses(folder, {TIMES[0]: pose})
    with pytest.raises(SourceError, match=r"groundtruth.txt has the pose"):
        list(TUM(tmp_path).frames(SEQUENCE))


def test_only_frames_with_masks_are_taken_and_then_spread_out(tmp_path):
    folder = write_sequence(tmp_path)
    write_masks(folder, stamps=STAMPS[1:])
    assert [frame.name.rpartition("/")[2] for frame in frames_of(tmp_path)] == STAMPS[1:]


def test_sequences_without_masks(tmp_path):
    folder = write_sequence(tmp_path)
    write_sequence(tmp_path, "rgbd_dataset_freiburg3_teddy")
    with pytest.raises(SourceError, match=r"no sequence in .* has a masks.json"):
        TUM(tmp_path).items()
    write_masks(folder)
    assert TUM(tmp_path).items() == [SEQUENCE]
    write_masks(folder, stamps=["1305031453.4"])
    with pytest.raises(SourceError, match=r"masks.json names none of the 3 frames"):
        list(TUM(tmp_path).frames(SEQUENCE))


def test_no_sequence(tmp_path):
    with pytest.raises(SourceError, match="no sequence in"):
        TUM(tmp_path).items()


@pytest.mark.parametrize("line", ["1305031453.36", "now rgb/1.png", "nan rgb/1.png"])
def test_lists_of_another_form(tmp_path, line):
    folder = write_sequence(tmp_path)
    write_masks(folder)
    write_list(folder / "rgb.txt", "color images", [line])
    with pytest.raises(SourceError, match=f"rgb.txt has the line '{line}'"):
        list(TUM(tmp_path).frames(SEQUENCE))


@pytest.mark.parametrize("name", ["../../secret/{}.png", "/etc/{}.png"])
def test_lists_that_lead_out_of_the_sequence(tmp_path, name):
    folder = write_sequence(tmp_path)
    write_masks(folder)
    write_list(folder / "rgb.txt", "color images", [f"{STAMPS[0]} {name.format(STAMPS[0])}"])
    (error,) = TUM(tmp_path).frames(SEQUENCE)
    assert isinstance(error, SourceError) and "is outside of" in str(error) and "rgb.txt" in str(error)


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ([{"category": "mug", "segmentation": runs(mug()[:-1])}], "a mask of (23, 32)"),
        ([{"category": "mug", "segmentation": {"size": [HEIGHT, WIDTH], "counts": "00"}}], "do not fill"),
        ([{"category": "mug", "segmentation": {"size": [HEIGHT, WIDTH], "counts": "ooooo"}}], "another form"),
        ([{"category": "mug", "segmentation": {"size": [10**6, 10**6], "counts": "0"}}], "1000000 x 1000000"),
        ([{"category": "mug"}], "segmentation"),
        ([{"segmentation": runs(mug())}], "'category' is missing; write what it is"),
        ([{"category": None, "segmentation": runs(mug())}], "'category' is null; write what it is"),
        (
            [{"category": "mug", "texts": "red mug", "segmentation": runs(mug())}],
            "'texts' is \"red mug\"; write a list",
        ),
        ([{"category": "mug", "texts": [1], "segmentation": runs(mug())}], "'texts' is [1]; write a list"),
        (["mug"], "another form"),
        (7, "another form"),
    ],
)
def test_masks_that_do_not_fit(tmp_path, objects, reason):
    write_masks(write_sequence(tmp_path), objects)
    error = next(TUM(tmp_path).frames(SEQUENCE))
    assert isinstance(error, SourceError) and reason in str(error) and "masks.json" in str(error)


@pytest.mark.parametrize("content", ["{", "[]", '{"frames": {}}', '{"model": "sam3", "frames": []}'])
def test_sidecars_of_another_form(tmp_path, content):
    (write_sequence(tmp_path) / "masks.json").write_text(content)
    with pytest.raises(SourceError, match=r"masks.json"):
        list(TUM(tmp_path).frames(SEQUENCE))


def test_damaged_depth_costs_its_frame(tmp_path):
    folder = write_sequence(tmp_path)
    write_masks(folder)
    path = folder / f"depth/{TIMES[0] + 0.015:.6f}.png"
    path.write_bytes(path.read_bytes()[:50])
    error, frame = TUM(tmp_path).frames(SEQUENCE)
    assert isinstance(error, OSError) and str(path) in str(error)
    assert isinstance(frame, SourceFrame)
