import json
import pickle
from pathlib import Path

import pytest

pytest.importorskip("h5py", reason="needs focusdepth_core[bench]")

import cv2
import h5py
import numpy as np

from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.robotwin import PALETTE, RoboTwin

ITEM = "beat_block_hammer/demo/data/episode0"
HEIGHT, WIDTH, STEPS = 24, 32, 2
# Of sorted(set(PIL.ImageColor.colormap.values())), by per_scene_id.
COLOURS = {0: (0, 0, 0), 1: (0, 0, 128), 2: (0, 0, 139), 4: (0, 0, 255), 137: (255, 255, 240), 138: (255, 255, 255)}
TABLE, HAMMER_HEAD, HAMMER_GRIP, BLOCK = 1, 2, 4, 138


def ids() -> np.ndarray:
    values = np.full((HEIGHT, WIDTH), TABLE)
    values[:4] = 0  # sky
    values[8:14, 4:16], values[14:18, 4:16] = HAMMER_HEAD, HAMMER_GRIP
    values[10:20, 20:28] = BLOCK
    return values


def jpegs(images: np.ndarray) -> tuple[list[bytes], int]:
    """As RoboTwin: RGB goes into an encoder that takes it for BGR; padded to one length."""
    encoded = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]
    return encoded, max(map(len, encoded))


def camera_arrays() -> dict[str, np.ndarray]:
    rgb = np.full((STEPS, HEIGHT, WIDTH, 3), (220, 40, 90), np.uint8)
    rgb[1] = np.random.default_rng(0).integers(0, 255, rgb[1].shape)  # a longer JPEG, so that the first is padded
    depth = np.full((STEPS, HEIGHT, WIDTH), 812.5)
    depth[:, ids() == 0] = 0
    k = np.array([[358.6, 0, WIDTH / 2], [0, 358.6, HEIGHT / 2], [0, 0, 1]], np.float32)
    colours = np.zeros((STEPS, HEIGHT, WIDTH, 3), np.uint8)
    for number, colour in COLOURS.items():
        colours[:, ids() == number] = colour
    return {"rgb": rgb, "depth": depth, "actor_segmentation": colours, "intrinsic_cv": np.stack([k] * STEPS)}


def write_episode(
    root: Path,
    changed: dict[str, np.ndarray | list[bytes] | None] | None = None,
    cameras: tuple[str, ...] = ("head_camera",),
) -> Path:
    path = root / f"{ITEM}.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for camera in cameras:
            group = file.create_group(f"observation/{camera}")
            for name, value in (camera_arrays() | (changed or {})).items():
                if name == "rgb":
                    encoded, longest = (value, max(map(len, value))) if isinstance(value, list) else jpegs(value)
                    group.create_dataset(name, data=encoded, dtype=f"S{longest}")
                elif value is not None:
                    group.create_dataset(name, data=value)
        file.create_dataset("joint_action/vector", data=np.zeros((STEPS, 14)))
    return path


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"beat_block_hammer": {"2,4": ["020_hammer", "red hammer"], "138": "block"}}))
    return path


def frames_of(root: Path, names: Path) -> list[SourceFrame]:
    frames = list(RoboTwin(root, names).frames(ITEM))
    assert all(isinstance(frame, SourceFrame) for frame in frames), frames
    return frames


def test_episode(tmp_path, names):
    write_episode(tmp_path, cameras=("head_camera", "left_camera"))
    assert pickle.loads(pickle.dumps(RoboTwin(tmp_path, names))).items() == [ITEM]
    frames = frames_of(tmp_path, names)
    expected = ["head_camera_0000", "head_camera_0001", "left_camera_0000", "left_camera_0001"]
    assert [frame.name for frame in frames] == [f"{ITEM}/{name}" for name in expected]
    assert {frame.group for frame in frames} == {ITEM}
    k = frames[0].intrinsics
    assert (k.fx, k.fy, k.cx, k.cy) == pytest.approx((358.6, 358.6, WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5))


def test_channels_of_the_jpeg(tmp_path, names):
    write_episode(tmp_path)
    image = frames_of(tmp_path, names)[0].image
    assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
    np.testing.assert_allclose(image.reshape(-1, 3).mean(0), (220, 40, 90), atol=4)


def test_depth_in_millimetres_and_sky(tmp_path, names):
    depth = camera_arrays()["depth"]
    depth[0, 5, 5], depth[0, 5, 6], depth[0, 5, 7] = np.nan, -3, np.inf
    write_episode(tmp_path, {"depth": depth})
    frame = frames_of(tmp_path, names)[0]
    assert frame.depth.dtype == np.float32
    assert np.unique(frame.depth).tolist() == [0, 0.8125]
    assert not frame.depth[:4].any() and not frame.depth[5, 5:8].any()
    assert np.count_nonzero(frame.depth == 0) == 4 * WIDTH + 3


def test_actors_by_colour_joined_and_named(tmp_path, names):
    write_episode(tmp_path)
    hammer, block = frames_of(tmp_path, names)[0].instances
    assert (hammer.category, hammer.raw_name) == ("hammer", "020_hammer")
    assert "red hammer" in hammer.texts
    np.testing.assert_array_equal(hammer.mask, np.isin(ids(), (HAMMER_HEAD, HAMMER_GRIP)))
    np.testing.assert_array_equal(block.mask, ids() == BLOCK)


def test_palette_is_that_of_pil():
    colormap = pytest.importorskip("PIL.ImageColor").colormap
    assert [f"#{code:06x}" for code in PALETTE] == sorted(set(colormap.values()))


def test_colour_of_no_id_costs_its_frame(tmp_path, names):
    colours = camera_arrays()["actor_segmentation"]
    colours[0, 0, 0] = (1, 2, 3)
    path = write_episode(tmp_path, {"actor_segmentation": colours})
    error, frame = RoboTwin(tmp_path, names).frames(ITEM)
    assert isinstance(error, SourceError) and isinstance(frame, SourceFrame)
    assert "the colour #010203" in str(error) and str(path) in str(error)


@pytest.mark.parametrize("lacking", ["depth", "actor_segmentation"])
def test_published_configurations_lack_what_is_needed(tmp_path, names, lacking):
    write_episode(tmp_path, {lacking: None})
    with pytest.raises(SourceError, match=f"head_camera has no {lacking}; collect again with 'depth: true'"):
        list(RoboTwin(tmp_path, names).frames(ITEM))


def write_new_layout(path: Path) -> None:
    path.parent.mkdir(parents=True)
    encoded, longest = jpegs(camera_arrays()["rgb"])
    with h5py.File(path, "w") as file:
        head = file.create_group("vision/cam_head")
        head.create_dataset("colors", data=encoded, dtype=f"S{longest}")
        head.create_dataset("depths", data=np.full((STEPS, HEIGHT, WIDTH), 812, np.uint16))
        head.create_dataset("shape", data=[HEIGHT, WIDTH, 3])
        head.create_dataset("intrinsic_matrix", data=camera_arrays()["intrinsic_cv"][0])
        file.create_dataset("instructions", data=json.dumps(["hit the block"]))


def test_new_layout_has_no_segmentation(tmp_path, names):
    write_new_layout(tmp_path / "demo_clean/beat_block_hammer/aloha-agilex/data/episode_0000000.hdf5")
    with pytest.raises(SourceError, match="layout since 2026-08, which holds no segmentation; collect again with"):
        RoboTwin(tmp_path, names).items()


def test_new_layout_under_an_old_name(tmp_path, names):
    write_new_layout(tmp_path / f"{ITEM}.hdf5")
    with pytest.raises(SourceError, match="no cameras in 'observation', so no segmentation; collect again with"):
        list(RoboTwin(tmp_path, names).frames(ITEM))


def test_names_are_needed(tmp_path):
    write_episode(tmp_path)
    with pytest.raises(SourceError, match="RoboTwin stores only numbers of actors"):
        RoboTwin(tmp_path).items()


def test_no_episode(tmp_path, names):
    with pytest.raises(SourceError, match="expected <task>/<config>/data/episode0.hdf5"):
        RoboTwin(tmp_path, names).items()


@pytest.mark.parametrize(
    "change",
    [
        lambda jpeg: jpeg[:-2],
        lambda jpeg: b"\xff\xd8 nothing \xff\xd9",
        lambda jpeg: jpegs(np.zeros((1, 48, 64, 3)))[0][0],
    ],
)
def test_jpeg_damaged_or_of_another_size_costs_its_frame(tmp_path, names, change):
    first, second = jpegs(camera_arrays()["rgb"])[0]
    path = write_episode(tmp_path, {"rgb": [change(first), second]})
    error, frame = RoboTwin(tmp_path, names).frames(ITEM)
    assert isinstance(frame, SourceFrame)
    assert isinstance(error, SourceError) and f"no JPEG of {WIDTH} x {HEIGHT} pixels" in str(error)
    assert f"{path}: rgb of head_camera, step 0" in str(error)


def huge(jpeg: bytes) -> bytes:
    return jpeg.replace(HEIGHT.to_bytes(2, "big") + WIDTH.to_bytes(2, "big"), b"\xff\xdc\xff\xdc", 1)


def in_a_huge_bitmap(jpeg: bytes) -> bytes:
    return b"P6 50000 50000 255\n" + jpeg


@pytest.mark.parametrize("change", [huge, in_a_huge_bitmap, lambda jpeg: jpeg[:-2]])
def test_jpeg_that_is_huge_or_has_no_end_is_not_decoded(tmp_path, names, monkeypatch, change):
    first, second = jpegs(camera_arrays()["rgb"])[0]
    write_episode(tmp_path, {"rgb": [change(first), second]})
    decoded = []
    imdecode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: decoded.append(len(data)) or imdecode(data, flags))
    error, _ = RoboTwin(tmp_path, names).frames(ITEM)
    assert isinstance(error, SourceError)
    assert len(decoded) == 1


def test_what_opencv_raises_costs_its_frame(tmp_path, names, monkeypatch):
    write_episode(tmp_path)
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: cv2.resize(np.zeros(0), (0, 0)))  # raises cv2.error
    for error in RoboTwin(tmp_path, names).frames(ITEM):
        assert isinstance(error, SourceError) and "is damaged" in str(error)


def test_sides_that_no_jpeg_can_have_cost_their_frame(tmp_path, names):
    shape = (STEPS, 70_000, 1)
    changed = {"depth": np.zeros(shape), "actor_segmentation": np.zeros((*shape, 3), np.uint8)}
    write_episode(tmp_path, changed | {"rgb": jpegs(camera_arrays()["rgb"])[0]})
    errors = list(RoboTwin(tmp_path, names).frames(ITEM))
    assert len(errors) == STEPS and all("no JPEG of 1 x 70000 pixels" in str(error) for error in errors)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("depth", np.zeros((STEPS, HEIGHT, WIDTH), np.uint16), "depth has shape"),
        ("depth", np.zeros((STEPS, HEIGHT)), "depth has shape"),
        ("actor_segmentation", np.zeros((STEPS, WIDTH, HEIGHT, 3), np.uint8), "actor_segmentation has shape"),
        ("intrinsic_cv", np.zeros((STEPS + 1, 3, 3)), "intrinsic_cv has shape"),
    ],
)
def test_arrays_of_another_form(tmp_path, names, name, value, reason):
    write_episode(tmp_path, {name: value})
    with pytest.raises(SourceError, match=reason):
        list(RoboTwin(tmp_path, names).frames(ITEM))


@pytest.mark.parametrize("chunk", [2**14, 64])
def test_absurd_sizes(tmp_path, names, chunk):
    path = write_episode(tmp_path)
    with h5py.File(path, "r+") as file:
        camera = file["observation/head_camera"]
        del camera["depth"]
        camera.create_dataset("depth", (STEPS, 60_000, 60_000), "f8", chunks=(1, chunk, chunk))
    with pytest.raises(SourceError, match="claims shape"):
        list(RoboTwin(tmp_path, names).frames(ITEM))


def test_camera_in_another_file(tmp_path, names):
    elsewhere = write_episode(tmp_path / "elsewhere")
    path = write_episode(tmp_path, cameras=())
    with h5py.File(path, "r+") as file:
        file["observation/head_camera"] = h5py.ExternalLink(str(elsewhere), "observation/head_camera")
    with pytest.raises(SourceError, match="has its data in another file"):
        list(RoboTwin(tmp_path, names).frames(ITEM))


def test_impossible_intrinsics(tmp_path, names):
    k = camera_arrays()["intrinsic_cv"]
    k[0, 0, 0] = -1
    write_episode(tmp_path, {"intrinsic_cv": k})
    error, frame = RoboTwin(tmp_path, names).frames(ITEM)
    assert isinstance(error, SourceError) and "focal length fx = -1" in str(error)
    assert isinstance(frame, SourceFrame)


def test_truncated_file(tmp_path, names):
    path = write_episode(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SourceError, match=r"episode0.hdf5 is damaged"):
        list(RoboTwin(tmp_path, names).frames(ITEM))
