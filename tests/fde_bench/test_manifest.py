"""Rows come back as they were built, and a manifest that lies is found out before it does harm."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest

from focusdepth_core.fde_bench import image_files, manifest
from focusdepth_core.fde_bench.build import build, merge
from focusdepth_core.fde_bench.manifest import Manifest, ManifestError, check_splits, encoded
from focusdepth_core.fde_bench.sources.rgbd import RGBD
from tests.fde_bench.rgbd_frames import position_of, write_frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two frames of one target each, in two splits."""
    root = tmp_path_factory.mktemp("frames")
    write_frame(root, "a", (160, 120), {"mug": (10, 20, 60, 80)}, split="train")
    write_frame(root, "b", (80, 60), {"bowl": (10, 5, 30, 50)}, K=[[90, 0, 39.5], [0, 91, 29.5], [0, 0, 1]])
    source = RGBD(root)
    build(source, root, workers=1)
    merge(source, root)
    return root


@pytest.fixture
def row(folder):
    return Manifest.open(folder).row(0)


def many(count: int) -> pa.Table:
    """Rows of 64 x 64 pixels whose masks have as many pixels as the row's number says."""
    masks = []
    for area in range(count):
        mask = np.zeros(64 * 64, bool)
        mask[:area] = True
        masks.append(encoded(mask.reshape(64, 64)))
    word = ["x"] * count
    names = ("dataset", "image", "depth", "category", "raw_name", "mask_source", "licence")
    columns = dict.fromkeys(names, word) | {
        "id": [str(i) for i in range(count)],
        "split": ["test" if i % 3 else "train" for i in range(count)],
        "group": [f"scene {i % 3}" for i in range(count)],
        "depth_scale": [5000.0] * count,
        "width": [64] * count,
        "height": [64] * count,
        "mask": masks,
        "box": [[0.0, 0.0, 1.0, 1.0]] * count,
        "area": range(count),
        "texts": [["x"]] * count,
        **{name: [None] * count for name in ("fx", "fy", "cx", "cy", "visible_fraction")},
        "held_out": [False] * count,
    }
    return pa.table([pa.array(columns[f.name], f.type) for f in manifest.FILE_SCHEMA], schema=manifest.FILE_SCHEMA)


def test_a_row_reads_what_its_source_held(folder):
    first, second = Manifest.open(folder)
    assert (first.id, first.split, first.category, first.box) == ("rgbd/a#0", "train", "mug", (10, 20, 60, 80))
    assert first.intrinsics is None and (second.intrinsics.fy, second.intrinsics.width) == (91, 80)
    assert first.visible_fraction is None and first.texts == ("mug",) and not first.held_out
    image, depth, mask = first.read_image(), first.read_depth(), first.read_mask()
    assert image[7, 30].tolist() == [30, 7, 90], "red is x: colours are RGB"
    x, y = position_of(depth)
    assert depth.dtype == np.float32 and (x == np.arange(160)).all() and (y == np.arange(120)[:, None]).all()
    assert mask.dtype == bool and mask[20:80, 10:60].all() and mask.sum() == first.area


def test_masks_follow_their_rows_in_a_split_and_in_a_copy(tmp_path):
    manifest.write(tmp_path / manifest.FILE, many(2500), {})
    opened = Manifest.open(tmp_path, "test")
    assert len(opened) == 1666
    copy = pickle.loads(pickle.dumps(opened))
    for index in (1665, 0, 700, 1200, 701):
        expected = int(opened.row(index).id)
        assert np.count_nonzero(opened.row(index).read_mask()) == expected == opened.row(index).area
        assert copy.row(index) == opened.row(index)


def test_a_group_in_two_splits_is_named():
    rows = many(6)
    check_splits(rows)
    mixed = rows.set_column(3, "group", pa.array(["a", "b", "c", "d", "c", "b"]))
    with pytest.raises(ManifestError, match="group 'd|group 'c' of x is in two splits") as error:
        check_splits(mixed.set_column(2, "split", pa.array(["train", "test", "train", "test", "test", "test"])))
    assert "'c'" in str(error.value)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / manifest.FILE
    manifest.write(path, many(3), {"a": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        manifest.write(path, many(4), {"a": object()})
    with pytest.raises((pa.ArrowInvalid, ValueError)):
        manifest.write(path, many(4).drop_columns(["mask"]), {})
    assert path.read_bytes() == before and manifest.read_notes(path) == {"a": 1}


def test_what_is_no_manifest_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no manifest at .* build"):
        Manifest.open(tmp_path)
    path = tmp_path / manifest.FILE
    path.write_text("id,image\n")
    with pytest.raises(ManifestError, match="is no manifest"):
        Manifest.open(path)
    pa.parquet.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(ManifestError, match=r"other columns than a manifest: \['id'\]"):
        Manifest.open(path)
    manifest.write(path, many(3), {})
    with pytest.raises(ManifestError, match="no row of split 'val'"):
        Manifest.open(path, "val")


@pytest.mark.parametrize("name", ["/etc/hostname", "a\0b.png"])
def test_only_relative_paths_are_opened(row, name):
    with pytest.raises(OSError, match="relative to its folder"):
        replace(row, image=name).read_image()


def test_a_missing_or_other_file_is_named(row):
    with pytest.raises(OSError, match=r"gone\.png"):
        replace(row, image="gone.png").read_image()
    with pytest.raises(OSError, match=r"b_rgb\.png has 80 x 60 pixels; the manifest says 160 x 120"):
        replace(row, image="b_rgb.png").read_image()
    with pytest.raises(OSError, match=r"a_rgb\.png has 3 channels of uint8; expected one of uint16"):
        replace(row, depth="a_rgb.png").read_depth()
    with pytest.raises(OSError, match=r"a_inst\.png has 1 channels of uint8"):
        replace(row, depth="a_inst.png").read_depth()


def run_lengths(*counts: int) -> bytes:
    """COCO's own text form of short runs, each below 16."""
    return bytes(48 + count for count in counts)


@pytest.mark.parametrize(
    ("mask", "size"),
    [
        (encoded(np.ones((200, 200), bool)), (160, 120)),  # too long
        (run_lengths(3, 5), (160, 120)),  # too short: pycocotools leaves the rest of the memory as it was
        (b"", (160, 120)),
        (b"\xff\xfe", (160, 120)),
        (b"PPPPPPPPPPPP", (160, 120)),
        (run_lengths(3, 5), (10**6, 10**6)),
        (run_lengths(3, 5), (-5, 10)),
    ],
)
def test_a_hostile_mask_is_refused(row, mask, size):
    with pytest.raises(OSError, match="rgbd/a#0"):
        replace(row, mask=mask, width=size[0], height=size[1]).read_mask()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, suffix, kept):
    path = tmp_path / f"a{suffix}"
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    assert cv2.imwrite(str(path), image)
    assert image_files.read_rgb(path).shape == (60, 80, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(OSError, match=rf"a\{suffix} .*damaged"):
        image_files.read_rgb(path)


def test_a_small_file_that_claims_to_be_huge_is_not_decoded(tmp_path):
    png, jpeg, pgm = (tmp_path / name for name in ("a.png", "a.jpg", "a.pgm"))
    image = np.zeros((60, 80, 3), np.uint8)
    assert cv2.imwrite(str(png), image) and cv2.imwrite(str(jpeg), image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    side = (60_000).to_bytes(4, "big")
    png.write_bytes(png.read_bytes()[:16] + side + side + png.read_bytes()[24:])
    start = jpeg.read_bytes().index(b"\xff\xc2") + 5
    data = bytearray(jpeg.read_bytes())
    data[start : start + 4] = side[2:] * 2
    jpeg.write_bytes(data)
    pgm.write_bytes(b"P5\n# of a camera\n60000 60000\n65535\n" + bytes(100))
    for path in (png, jpeg, pgm):
        with pytest.raises(OSError, match=f"{path.name} says it has 60000 x 60000 pixels"):
            image_files.read_rgb(path)


def test_a_phone_image_stays_as_it_is_stored(tmp_path):
    """A rotation noted in a JPEG would part the image from its depth."""
    path = tmp_path / "a.jpg"
    assert cv2.imwrite(str(path), np.zeros((60, 80, 3), np.uint8))
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + data[2:])
    assert cv2.imread(str(path)).shape == (80, 60, 3), "the note is understood"
    assert image_files.read_rgb(path).shape == (60, 80, 3)


def test_files_of_others_can_lie_above_the_manifest(tmp_path):
    write_frame(tmp_path / "data", "a", (160, 120), {"mug": (10, 20, 60, 80)})
    source, out = RGBD(tmp_path / "data"), tmp_path / "out"
    build(source, out, workers=1)
    merge(source, out)
    assert Manifest.open(out).row(0).image == os.path.join("..", "data", "a_rgb.png")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("data", "out"):
        (tmp_path / name).rename(moved / name)
    assert Manifest.open(moved / "out").row(0).read_image().shape == (120, 160, 3)
