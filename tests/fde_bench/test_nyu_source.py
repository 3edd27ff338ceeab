import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py", reason="needs focusdepth_core[bench]")
pytest.importorskip("scipy", reason="needs focusdepth_core[bench]")

import h5py
from scipy.io import savemat

from focusdepth_core.fde_bench.source import SourceError, SourceFrame
from focusdepth_core.fde_bench.sources.nyu import NYU
from focusdepth_core.fde_bench.sources.splits import split_of

HEIGHT, WIDTH = 480, 640
NAMES = ["book", "bottle", "wall", "television"]
SCENES = ["kitchen_0004", "kitchen_0004", "bedroom_0078a"]
BOOK, BOTTLE, WALL, TV = 1, 2, 3, 4
ROWS, COLUMNS = slice(100, 140), slice(200, 260)


def arrays() -> dict[str, np.ndarray]:
    """Three frames with the axes of images; the same but for their colour."""
    image = np.zeros((3, HEIGHT, WIDTH, 3), np.uint8)
    image[:, ROWS, COLUMNS] = (200, 100, 50)
    image[1] //= 2
    labels = np.full((3, HEIGHT, WIDTH), WALL, np.uint16)
    instances = np.ones((3, HEIGHT, WIDTH), np.uint8)
    labels[:, ROWS, COLUMNS] = BOOK
    instances[:, ROWS, 230:260] = 2  # two books side by side, and a bottle with the number of the first book
    labels[:, 300:350, 300:320] = BOTTLE
    labels[:, 200:240, 400:440] = TV
    labels[:, 44, :], instances[:, 44, :] = 0, 0  # unlabelled, above the crop
    labels[:, 60, :], instances[:, 60, :] = 0, 0
    depths = np.full((3, HEIGHT, WIDTH), 3, np.float32)
    depths[:, ROWS, COLUMNS] = 1.5
    raw = depths.copy()
    raw[:, 110, :] = 0  # in-painted in depths
    return {"images": image, "depths": depths, "rawDepths": raw, "labels": labels, "instances": instances}


def write_mat(root: Path, changed: dict[str, np.ndarray] | None = None, names: list[str] = NAMES) -> Path:
    """As MATLAB saves it with -v7.3: a header of 512 bytes, axes reversed, strings behind references."""
    path = root / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in (arrays() | (changed or {})).items():
            axes = (0, 3, 2, 1) if value.ndim == 4 else (0, 2, 1)
            file.create_dataset(name, data=value.transpose(axes), compression="gzip", compression_opts=1)
        for cell, words in (("names", names), ("scenes", SCENES)):
            texts = [
                file.create_dataset(f"#refs#/{cell}{i}", data=np.array([[ord(c)] for c in word], np.uint16))
                for i, word in enumerate(words)
            ]
            references = np.array([[text.ref for text in texts]], dtype=h5py.ref_dtype)
            file.create_dataset(cell, data=references, dtype=h5py.ref_dtype)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Oct 18 2012 HDF5 schema 1.0 .".ljust(116))
    return path


def write_splits(root: Path, train: list[int], test: list[int]) -> None:
    lists = {"trainNdxs": np.array([train], np.uint16).T, "testNdxs": np.array([test], np.uint16).T}
    savemat(root / "splits.mat", lists)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nyu")
    write_mat(folder)
    return folder


@pytest.fixture(scope="module")
def frames(root):
    return list(NYU(root).frames("0000"))


def in_crop(rows: slice, columns: slice) -> tuple[slice, slice]:
    return slice(rows.start - 45, rows.stop - 45), slice(columns.start - 41, columns.stop - 41)


def test_axes_are_turned_and_the_border_is_cut(root, frames):
    assert NYU(root).items() == ["0000"]
    assert [frame.name for frame in frames] == ["0001", "0002", "0003"]
    assert frames[0].image.shape == (426, 560, 3)
    assert frames[0].image[in_crop(ROWS, COLUMNS)].reshape(-1, 3).tolist() == [[200, 100, 50]] * (40 * 60)
    assert frames[0].image.sum() == 350 * 40 * 60
    assert frames[1].image.max() == 100
    k = frames[0].intrinsics
    assert (k.width, k.height) == (560, 426)
    assert (k.fx, k.cx, k.cy) == pytest.approx((518.8579, 325.5824 - 41, 253.7362 - 45))


def test_only_measured_depth_counts(frames):
    depth = frames[0].depth
    assert depth.dtype == np.float32
    assert not depth[110 - 45].any()
    book = depth[in_crop(slice(100, 110), COLUMNS)]
    assert (book == 1.5).all()
    assert np.count_nonzero(depth == 0) == depth.shape[1]


def test_objects_are_pairs_of_label_and_instance_and_walls_are_none(frames):
    objects = frames[0].instances
    assert sorted(o.raw_name for o in objects) == ["book", "book", "bottle", "television"]
    first, second = (o for o in objects if o.raw_name == "book")
    assert first.mask[in_crop(ROWS, slice(200, 230))].all() and first.mask.sum() == 40 * 30
    assert second.mask[in_crop(ROWS, slice(230, 260))].all() and second.mask.sum() == 40 * 30


def test_source_word_stays_a_prompt(frames):
    (tv,) = (o for o in frames[0].instances if o.raw_name == "television")
    assert tv.category == "tv" and "television" in tv.texts


def test_groups_are_scenes(frames):
    assert [frame.group for frame in frames] == SCENES
    assert frames[0].split == frames[1].split == split_of("nyu/kitchen_0004")


def test_official_split_counts_from_one(root, tmp_path):
    (tmp_path / "nyu_depth_v2_labeled.mat").symlink_to(root / "nyu_depth_v2_labeled.mat")
    write_splits(tmp_path, [1, 2], [3])
    source = pickle.loads(pickle.dumps(NYU(tmp_path)))
    assert source.items() == ["0000"]
    splits = [frame.split for frame in source.frames("0000")]
    assert splits[2] == "test"
    assert splits[0] == splits[1] == split_of("nyu/kitchen_0004", test=0)


@pytest.mark.parametrize(("train", "test"), [([0, 1], [2]), ([1, 2], [2, 3]), ([1], [3]), ([1, 2], [3, 4])])
def test_split_that_does_not_part_the_frames(root, tmp_path, train, test):
    (tmp_path / "nyu_depth_v2_labeled.mat").symlink_to(root / "nyu_depth_v2_labeled.mat")
    write_splits(tmp_path, train, test)
    with pytest.raises(SourceError, match=r"splits.mat has \d training and \d test frames"):
        NYU(tmp_path).items()


def test_parts_of_a_room_go_together():
    rooms = [f"bedroom_{i:04d}" for i in range(400)]
    splits = [split_of(f"nyu/{room}", test=0) for room in rooms]
    assert 20 <= splits.count("val") <= 60 and "test" not in splits


def test_label_without_a_name_costs_its_frame(tmp_path):
    labels = arrays()["labels"]
    labels[1, 200, 200] = 9
    write_mat(tmp_path, {"labels": labels})
    first, second, third = NYU(tmp_path).frames("0000")
    assert isinstance(first, SourceFrame) and isinstance(third, SourceFrame)
    assert isinstance(second, SourceError) and "frame 2 has label 9 of 4 names" in str(second)


def test_missing_and_truncated_files(root, tmp_path):
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    with pytest.raises(SourceError, match="labeled.mat does not exist"):
        NYU(tmp_path).items()
    path.write_bytes((root / path.name).read_bytes()[:40_000])
    with pytest.raises(SourceError, match="labeled.mat is damaged"):
        NYU(tmp_path).items()


def test_damaged_image_costs_its_frame(root, tmp_path):
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    path.write_bytes((root / path.name).read_bytes())
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info_by_coord((0, 0, 0, 0))
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)
    first, *others = NYU(tmp_path).frames("0000")
    assert isinstance(first, SourceError) and "images[0] is damaged" in str(first) and str(path) in str(first)


@pytest.mark.parametrize(
    ("name", "shape", "chunks", "reason"),
    [
        ("labels", (3, 480, 640), None, "labels has shape"),  # axes the other way round
        ("labels", (2, 640, 480), None, "labels has shape"),
        ("depths", (10**9, 640, 480), (1, 640, 480), "claims shape"),
        ("images", (3, 3, 640, 480), None, "has shape"),  # of u2
    ],
)
def test_shapes_are_checked_before_anything_is_read(root, tmp_path, name, shape, chunks, reason):
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    path.write_bytes((root / path.name).read_bytes())
    kind = "f4" if name == "depths" else "u2"
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, shape, kind, chunks=chunks)
    with pytest.raises(SourceError, match=reason):
        NYU(tmp_path).items()
        list(NYU(tmp_path).frames("0000"))


def test_data_in_another_file_are_not_read(root, tmp_path):
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    path.write_bytes((root / path.name).read_bytes())
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(3 * 640 * 480 * 2))
    with h5py.File(path, "r+") as file:
        del file["labels"], file["instances"]
        file.create_dataset("labels", (3, 640, 480), "u2", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        file["instances"] = h5py.ExternalLink(str(root / path.name), "instances")
    with pytest.raises(SourceError, match="labels has its data in another file"):
        list(NYU(tmp_path).frames("0000"))
    with h5py.File(path, "r+") as file:
        del file["labels"]
        file.create_dataset("labels", data=np.zeros((3, 640, 480), np.uint16))
    with pytest.raises(SourceError, match="instances has its data in another file"):
        list(NYU(tmp_path).frames("0000"))


def test_without_h5py(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SourceError, match=r"needs h5py; pip install 'focusdepth_core\[bench\]'"):
        NYU(root).items()
