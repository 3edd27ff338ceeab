import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.rlbench import RLBench
from tests.fde_bench.rlbench_demo import misc, pickled

STOCK = "open_drawer/variation0/episodes/episode0"
ALL_VARIATIONS = "open_drawer/all_variations/episodes/episode0"
HEIGHT, WIDTH = 16, 24
TABLE, CABINET, HANDLE, FAR_OBJECT = 48, 96, 300, 70000  # 300 and 70000 overflow a byte


def write_rgb(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1])


def bytes_of(values: np.ndarray, high_first: bool) -> np.ndarray:
    channels = [values >> 16 & 255, values >> 8 & 255, values & 255]
    return np.stack(channels if high_first else channels[::-1], -1).astype(np.uint8)


def handles() -> np.ndarray:
    ids = np.full((HEIGHT, WIDTH), TABLE)
    ids[2:8, 2:10] = CABINET
    ids[4:6, 4:8] = HANDLE
    ids[10:14, 12:20] = FAR_OBJECT
    return ids


def codes() -> np.ndarray:
    """24-bit depth in which each byte matters; the last row hit nothing."""
    values = (np.arange(HEIGHT * WIDTH) * 40503 + 5).reshape(HEIGHT, WIDTH)
    values[-1] = 2**24 - 1
    return values


def write_episode(root: Path, item: str, camera: str = "front", steps: tuple[int, ...] = (0, 2)) -> Path:
    folder = root / item
    for step in steps:
        write_rgb(folder / f"{camera}_rgb" / f"{step}.png", np.full((HEIGHT, WIDTH, 3), (200, 100, 50), np.uint8))
        write_rgb(folder / f"{camera}_depth" / f"{step}.png", bytes_of(codes(), high_first=True))
        write_rgb(folder / f"{camera}_mask" / f"{step}.png", bytes_of(handles(), high_first=False))
    demo = pickled([misc(camera, near=0.01 + i / 100, size=(HEIGHT, WIDTH)) for i in range(max(steps) + 1)])
    (folder / "low_dim_obs.pkl").write_bytes(demo)
    return folder


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.json"
    objects = {"96,300": ["drawer cabinet", "drawer", "wooden drawer"], "70000": "002_far_box"}
    path.write_text(json.dumps({"open_drawer": objects}))
    return path


def frames_of(source: RLBench, item: str) -> list[SourceFrame]:
    frames = list(source.frames(item))
    assert all(isinstance(frame, SourceFrame) for frame in frames), frames
    return frames


@pytest.mark.parametrize("item", [STOCK, ALL_VARIATIONS])
def test_both_layouts(tmp_path, names, item):
    root = tmp_path / "data"
    folder = write_episode(root, item)
    (folder / "variation_number.pkl").write_bytes(pickle.dumps(2))
    source = pickle.loads(pickle.dumps(RLBench(root, names)))
    assert source.items() == [item]
    first, second = frames_of(source, item)
    assert [first.name, second.name] == [f"{item}/front_0", f"{item}/front_2"]
    assert first.group == second.group == item
    assert first.image == folder / "front_rgb" / "0.png"


def test_depth_of_24_bits_between_the_planes_of_its_step(tmp_path, names):
    write_episode(tmp_path, STOCK)
    first, second = frames_of(RLBench(tmp_path, names), STOCK)
    for frame, near in ((first, 0.01), (second, 0.03)):
        expected = near + codes()[:-1] / (2**24 - 1) * (4.5 - near)
        np.testing.assert_allclose(frame.depth[:-1], expected, atol=1e-6)
        assert frame.depth.dtype == np.float32
        assert not frame.depth[-1].any()


def test_negative_focal_lengths(tmp_path, names):
    write_episode(tmp_path, STOCK)
    k = frames_of(RLBench(tmp_path, names), STOCK)[0].intrinsics
    assert (k.fx, k.fy, k.cx, k.cy, k.width, k.height) == (175.84, 175.84, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)


def test_handles_above_a_byte_and_groups_of_them(tmp_path, names):
    write_episode(tmp_path, STOCK)
    cabinet, box = frames_of(RLBench(tmp_path, names), STOCK)[0].instances
    assert (cabinet.category, cabinet.raw_name) == ("drawer cabinet", "drawer cabinet")
    assert {"drawer", "wooden drawer"} <= set(cabinet.texts)
    np.testing.assert_array_equal(cabinet.mask, np.isin(handles(), (CABINET, HANDLE)))
    assert (box.category, box.raw_name) == ("far box", "002_far_box")
    np.testing.assert_array_equal(box.mask, handles() == FAR_OBJECT)


def test_entry_of_an_episode_holds_for_it_alone(tmp_path, names):
    for item in (STOCK, ALL_VARIATIONS):
        write_episode(tmp_path / "data", item)
    names.write_text(json.dumps({"open_drawer": {"96": "drawer"}, STOCK: {"48": "desk"}}))
    source = RLBench(tmp_path / "data", names)
    assert [i.category for i in frames_of(source, STOCK)[0].instances] == ["desk"]
    assert [i.category for i in frames_of(source, ALL_VARIATIONS)[0].instances] == ["drawer"]


def test_several_cameras_and_what_is_no_frame(tmp_path, names):
    folder = write_episode(tmp_path, STOCK, "front")
    write_episode(tmp_path, STOCK, "wrist")
    both = misc("front", size=(HEIGHT, WIDTH)) | misc("wrist", far=3.5, size=(HEIGHT, WIDTH))
    (folder / "low_dim_obs.pkl").write_bytes(pickled([both] * 3))
    (folder / "front_rgb" / "thumbnail.png").write_bytes(b"")
    names_read = [frame.name.rpartition("/")[2] for frame in frames_of(RLBench(tmp_path, names), STOCK)]
    assert names_read == ["front_0", "front_2", "wrist_0", "wrist_2"]


def test_without_names_one_clear_error(tmp_path):
    write_episode(tmp_path, STOCK)
    with pytest.raises(SourceError, match="RLBench stores only handles.*96,103"):
        RLBench(tmp_path).items()
    with pytest.raises(SourceError, match="lost.json does not exist"):
        RLBench(tmp_path, tmp_path / "lost.json").items()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no JSON"),
        ("[]", "expected a JSON object"),
        ('{"open_drawer": ["drawer"]}', "open_drawer is"),
        ('{"open_drawer": {"drawer": 96}}', "the key 'drawer'"),
        ('{"open_drawer": {"96": 5}}', "the name 5"),
        ('{"open_drawer": {"96": ["drawer", ""]}}', "the name"),
        ('{"open_drawer": {"96": "drawer", "97,96": "box"}}', "the id 96 twice"),
    ],
)
def test_names_of_another_form(tmp_path, names, content, reason):
    write_episode(tmp_path, STOCK)
    names.write_text(content)
    with pytest.raises(SourceError, match=reason):
        RLBench(tmp_path, names).items()


def test_task_without_names(tmp_path, names):
    names.write_text('{"close_jar": {"96": "jar"}}')
    write_episode(tmp_path, STOCK)
    with pytest.raises(SourceError, match="no objects of the task 'open_drawer'"):
        list(RLBench(tmp_path, names).frames(STOCK))


def test_names_of_another_release_are_reported_with_what_is_there(tmp_path, names):
    names.write_text('{"open_drawer": {"97": "drawer"}}')
    write_episode(tmp_path, STOCK)
    with pytest.raises(SourceError, match=r"hold \[48, 96, 300, 70000\]"):
        list(RLBench(tmp_path, names).frames(STOCK))


def test_no_episode(tmp_path, names):
    with pytest.raises(SourceError, match="expected <task>/variation0/episodes/episode0"):
        RLBench(tmp_path, names).items()


def test_a_bad_file_costs_one_frame(tmp_path, names):
    folder = write_episode(tmp_path, STOCK, steps=(0, 1, 2))
    depth = folder / "front_depth" / "0.png"
    depth.write_bytes(depth.read_bytes()[:60])
    (folder / "front_mask" / "1.png").unlink()
    damaged, missing, whole = RLBench(tmp_path, names).frames(STOCK)
    assert isinstance(damaged, OSError) and str(depth) in str(damaged)
    assert isinstance(missing, OSError) and "1.png" in str(missing)
    assert isinstance(whole, SourceFrame)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"front_camera_near": 5.0}, "clipping planes of camera 'front' are 5.0 and 4.5"),
        ({"front_camera_far": float("inf")}, "clipping planes"),
        ({"front_camera_far": None}, "clipping planes"),
        ({"front_camera_intrinsics": np.eye(4)}, "no 3 x 3 intrinsics"),
        ({"front_camera_intrinsics": [[1, 0, 0]]}, "no 3 x 3 intrinsics"),
        ({"front_camera_intrinsics": np.zeros((3, 3))}, "focal length fx = 0"),
        ({"front_camera_intrinsics": np.full((3, 3), np.nan)}, "focal length fx = nan"),
    ],
)
def test_cameras_that_cannot_be(tmp_path, names, changed, reason):
    folder = write_episode(tmp_path, STOCK, steps=(0,))
    (folder / "low_dim_obs.pkl").write_bytes(pickled([misc(size=(HEIGHT, WIDTH)) | changed]))
    (error,) = RLBench(tmp_path, names).frames(STOCK)
    assert isinstance(error, SourceError) and reason in str(error) and "low_dim_obs.pkl" in str(error)


def test_image_without_its_step(tmp_path, names):
    folder = write_episode(tmp_path, STOCK, steps=(0, 2))
    (folder / "low_dim_obs.pkl").write_bytes(pickled([misc(size=(HEIGHT, WIDTH))]))
    frame, error = RLBench(tmp_path, names).frames(STOCK)
    assert isinstance(frame, SourceFrame)
    assert "has 1 steps; there is an image of step 2" in str(error)


def test_pickle_of_something_else(tmp_path, names):
    folder = write_episode(tmp_path, STOCK)
    (folder / "low_dim_obs.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(SourceError, match="holds no demonstration"):
        list(RLBench(tmp_path, names).frames(STOCK))
