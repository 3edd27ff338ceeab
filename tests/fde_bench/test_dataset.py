"""The training loader: what it does to a row it does to image, depth, mask, box and intrinsics alike."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs focusdepth_core[train]")

import torch

from focusdepth_core.fde_bench.augment import ASKED, MEAN, STD, Augment, CanvasSpec, Named, sample
from focusdepth_core.fde_bench.build import build, merge
from focusdepth_core.fde_bench.dataset import BLOCK, FocusDataset, loader
from focusdepth_core.fde_bench.manifest import Manifest, encoded
from focusdepth_core.fde_bench.sources.rgbd import RGBD
from tests.fde_bench.rgbd_frames import position_of, write_frame

SIZES = {"wide": (256, 120), "high": (90, 240), "small": (64, 48), "odd": (201, 151)}
NO_COLOUR = {"gamma": 0, "gain": 0, "contrast": 0}
CANVAS = CanvasSpec(112, 84)


def boxes_in(size):
    width, height = size
    return {
        "mug": (width // 4, height // 4, width // 2, height // 2),
        "red mug": (width // 2, height // 2, width, height),
    }


def manifest_of(root):
    source = RGBD(root)
    build(source, root, workers=1)
    merge(source, root)
    return Manifest.open(root)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    root = tmp_path_factory.mktemp("frames")
    for name, size in SIZES.items():
        k = [[150, 0, size[0] / 2 - 0.5], [0, 150, size[1] / 2 - 0.5], [0, 0, 1]]
        write_frame(root, name, size, boxes_in(size), K=k)
    return manifest_of(root)


def dataset(manifest, augment=None, canvas=CANVAS, seed=0):
    return FocusDataset([(manifest, 1.0)], canvas, augment or Augment(), seed)


def shown(image):
    """What the network sees, as uint8 values."""
    return (image * np.reshape(STD, (3, 1, 1)) + np.reshape(MEAN, (3, 1, 1))) * 255


canvases = st.builds(
    CanvasSpec, st.sampled_from([56, 112, 168]), st.sampled_from([56, 84, 126]), st.sampled_from([0, 96])
)
augments = st.builds(
    Augment,
    smallest_crop=st.sampled_from([0.3, 0.75, 1.0]),
    letterboxed=st.sampled_from([0.0, 0.5, 1.0]),
    flattest=st.sampled_from([0.4, 0.9]),
    box_jitter=st.just(0.0),
    **{name: st.just(0.0) for name in NO_COLOUR},
)


@settings(max_examples=60)
@given(index=st.integers(0, 7), canvas=canvases, augment=augments, seed=st.integers(0, 2**32))
def test_image_depth_mask_box_and_intrinsics_stay_together(manifest, index, canvas, augment, seed):
    row = manifest.row(index)
    result = sample(row, canvas, augment, np.random.default_rng(seed))
    used = result.depth > 0
    rows, columns = used.any(1).sum(), used.any(0).sum()
    assert used[:rows, :columns].all() and not used[rows:].any() and not used[:, columns:].any()
    assert rows == canvas.height or columns == canvas.width, "as large as it fits"
    assert not result.image[:, ~used].any() and not result.mask[~used].any(), "padding is the mean colour"

    x, y = position_of(result.depth[:rows, :columns])
    x0, y0, x1, y1 = row.box
    assert np.array_equal(result.mask[:rows, :columns] > 0, (x >= x0) & (x < x1) & (y >= y0) & (y < y1))

    seen = shown(result.image)[:2, :rows, :columns]
    step_x, step_y = (np.abs(np.diff(v, axis=a)).mean() for v, a in ((x, 1), (y, 0)))
    assert np.abs(seen[0] - x).max() <= step_x + 1 and np.abs(seen[1] - y).max() <= step_y + 1

    assert result.focal == pytest.approx(150 / step_x, rel=2 / np.ptp(x))

    inside = np.argwhere(result.mask)
    low, high = inside.min(0)[::-1], inside.max(0)[::-1] + 1
    centre, size = result.box[0, :2] * (canvas.width, canvas.height), result.box[0, 2:] * (canvas.width, canvas.height)
    assert np.abs(centre - size / 2 - low).max() <= 1 and np.abs(centre + size / 2 - high).max() <= 1

    if canvas.prompt_side:
        stretched = cv2.resize(result.image.transpose(1, 2, 0), (96, 96), interpolation=cv2.INTER_AREA)
        difference = (result.prompt_image + 1) / 2 * 255 - shown(stretched.transpose(2, 0, 1))
        well_inside = cv2.erode(np.pad(cv2.resize(used.astype(np.uint8), (96, 96)), 1)[1:-1, 1:-1], np.ones((7, 7)))
        assert np.abs(difference[:2, well_inside > 0]).max(initial=0) < 3 * max(step_x, step_y) + 2


@pytest.mark.parametrize("crop", [1.0, 0.75])
def test_truth_lies_where_the_image_shows_it(tmp_path, crop):
    """An edge in image and depth comes out of crop, resize and letterbox at the same place."""
    path = write_frame(tmp_path, "a", (256, 240), {"mug": (20, 101, 240, 240)})
    edge = np.arange(240) >= 101
    image = np.repeat(np.repeat(np.where(edge, 200, 60)[:, None], 256, 1)[..., None], 3, 2)
    assert cv2.imwrite(str(path.with_name("a_rgb.png")), image.astype(np.uint8))
    assert cv2.imwrite(str(path.with_name("a_depth.png")), image[..., 0].astype(np.uint16))
    augment, offsets = Augment(crop, 1.0, 0.6, box_jitter=0, **NO_COLOUR), []
    row = manifest_of(tmp_path).row(0)
    for seed in range(60):
        result = sample(row, CanvasSpec(168, 126), augment, np.random.default_rng(seed))
        rows = result.depth[:, 60] > 0
        seen, truth = result.image[0, rows, 60], result.depth[rows, 60]
        near = (truth > 0.01).sum()
        if 5 < near < len(truth) - 5:
            offsets.append(((seen - seen[0]) / (seen[-1] - seen[0])).sum() - near)
    assert len(offsets) > 20 and abs(np.mean(offsets)) < 0.15


def test_without_augmentation_the_row_comes_as_it_is(manifest):
    for position in range(len(manifest)):
        result, failures = dataset(manifest, Augment.none())[position]
        row = next(row for row in manifest if row.id == result.id)
        x, y = position_of(result.depth[result.depth > 0])
        scale = min(CANVAS.width / row.width, CANVAS.height / row.height)
        assert x.min() <= 1 / scale and x.max() >= row.width - 1 - 1 / scale and y.max() >= row.height - 1 - 1 / scale
        assert result.text == row.category and failures == ()
        low, high = result.box[0, :2] - result.box[0, 2:] / 2, result.box[0, :2] + result.box[0, 2:] / 2
        corners = np.concatenate([low, high]) * np.tile((CANVAS.width, CANVAS.height), 2)
        assert np.abs(corners - np.multiply(row.box, scale)).max() < 0.51


@settings(max_examples=60)
@given(index=st.integers(0, 7), jitter=st.sampled_from([0.04, 0.5, 3.0]), seed=st.integers(0, 2**32))
def test_a_jittered_box_stays_a_box_on_the_image(manifest, index, jitter, seed):
    result = sample(manifest.row(index), CANVAS, Augment(box_jitter=jitter), np.random.default_rng(seed))
    used = result.depth > 0
    limit = np.array([used.any(0).mean(), used.any(1).mean()])
    low, high = result.box[0, :2] - result.box[0, 2:] / 2, result.box[0, :2] + result.box[0, 2:] / 2
    assert (low >= -1e-6).all() and (high <= limit + 1e-6).all() and (result.box[0, 2:] > 0).all()


def test_boxes_are_jittered_as_much_as_asked(manifest):
    row, augment = manifest.row(0), replace(Augment.none(), box_jitter=0.04)
    tight = sample(row, CANVAS, Augment.none(), np.random.default_rng(0)).box[0]
    boxes = np.array([sample(row, CANVAS, augment, np.random.default_rng(i)).box[0] for i in range(200)])
    left = (boxes[:, 0] - boxes[:, 2] / 2 - tight[0] + tight[2] / 2) / tight[2]
    assert abs(left.mean()) < 0.01 and 0.03 < left.std() < 0.05


def test_colours_change_and_truth_does_not(manifest):
    plain = replace(Augment(), **NO_COLOUR)
    one, two = (sample(manifest.row(2), CANVAS, a, np.random.default_rng(3)) for a in (plain, Augment()))
    assert np.array_equal(one.depth, two.depth) and np.array_equal(one.mask, two.mask)
    assert not np.array_equal(one.image, two.image)


def test_a_text_about_sides_is_never_mirrored(manifest):
    always = Augment(1, 0, 1, flip=1.0)
    for text, mirrored in (("mug", True), ("Left mug", False), ("the rightmost one", False), ("bright mug", True)):
        result = sample(replace(manifest.row(0), texts=(text,)), CANVAS, always, np.random.default_rng(0))
        x, _ = position_of(result.depth[0, result.depth[0] > 0])
        assert (x[0] > x[-1]) == mirrored and result.text == text


def test_every_text_is_used(manifest):
    row = replace(manifest.row(0), texts=("mug", "red mug", "cup"))
    texts = [sample(row, CANVAS, Augment(), np.random.default_rng(i)).text for i in range(60)]
    assert min(texts.count(text) for text in row.texts) > 8


@pytest.mark.parametrize("name", ["smallest_crop", "flip", "letterboxed", "flattest"])
def test_an_impossible_share_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} = 1\.5"):
        Augment(**{name: 1.5})


def equal(one, two):
    tensors = [name for name, value in vars(one).items() if isinstance(value, torch.Tensor)]
    rest = [name for name in vars(one) if name not in tensors]
    same = all(torch.equal(getattr(one, name), getattr(two, name)) for name in tensors)
    return same and all(getattr(one, name) == getattr(two, name) for name in rest)


def test_a_position_gives_the_same_in_any_process_and_after_a_restart(manifest):
    canvas = CanvasSpec(112, 84, 56)
    here = list(loader(dataset(manifest, canvas=canvas), 4, range(0, 24), workers=0))
    there = list(loader(dataset(manifest, canvas=canvas), 4, range(0, 24), workers=2))
    later = list(loader(dataset(manifest, canvas=canvas), 4, range(12, 24), workers=0))
    assert len(here) == len(there) == 6 and all(map(equal, here, there)) and all(map(equal, here[3:], later))
    assert not any(equal(here[0], other) for other in here[1:])
    other_seed = next(iter(loader(dataset(manifest, canvas=canvas, seed=1), 4, range(0, 4), workers=0)))
    assert not torch.equal(here[0].image, other_seed.image)
    batch = here[0].to("cpu")
    assert batch.image.shape == (4, 3, 84, 112) and batch.prompt_image.shape == (4, 3, 56, 56)
    assert batch.depth.shape == batch.mask.shape == (4, 84, 112) and batch.box.shape == (4, 1, 4)
    assert {t.dtype for t in vars(batch).values() if isinstance(t, torch.Tensor)} == {torch.float32}
    assert batch.focal.shape == (4,) and len(batch.text) == len(batch.ids) == 4


def test_an_epoch_shows_every_row_once(manifest):
    data, n = dataset(manifest, Augment.none()), len(manifest)
    epochs = [[data[p][0].id for p in range(start, start + n)] for start in range(0, 3 * n, n)]
    assert all(sorted(epoch) == sorted(row.id for row in manifest) for epoch in epochs)
    assert epochs[0] != epochs[1] or epochs[1] != epochs[2]


def test_manifests_are_mixed_by_weight(manifest, tmp_path):
    for i in range(3):
        write_frame(tmp_path, f"z{i}", (64, 48), {"cup": (10, 10, 40, 40)})
    both = FocusDataset([(manifest, 3.0), (manifest_of(tmp_path), 1.0)], CanvasSpec(56, 42), Augment.none(), seed=0)
    ids = [both[p][0].id for p in range(400)]
    theirs = [i for i in ids if i.startswith("rgbd/z")]
    assert len(theirs) == 100 and {theirs.count(i) for i in set(theirs)} == {33, 34}
    assert both[BLOCK + 1][0].id in ids
    with pytest.raises(ValueError, match="weights"):
        FocusDataset([(manifest, 0.0)], CANVAS, Augment(), 0)


def test_held_out_categories_are_never_trained_on(tmp_path):
    for split in ("train", "test"):
        targets = {"banana": (10, 10, 30, 40), "mug": (30, 10, 60, 40)}
        write_frame(tmp_path, split, (64, 48), targets, split=split)
    data = dataset(manifest_of(tmp_path), Augment.none())
    assert {data[p][0].id for p in range(9)} == {"rgbd/test#0", "rgbd/test#1", "rgbd/train#1"}


def test_a_bad_file_costs_one_sample_and_is_named(tmp_path):
    for name in "abcd":
        write_frame(tmp_path, name, (64, 48), {"cup": (10, 10, 40, 40)})
    manifest = manifest_of(tmp_path)
    (tmp_path / "b_rgb.png").write_bytes((tmp_path / "b_rgb.png").read_bytes()[:100])
    (tmp_path / "c_depth.png").unlink()
    batches = list(loader(dataset(manifest), 4, range(8), workers=2))
    said = [failure for batch in batches for failure in batch.failures]
    assert {i for batch in batches for i in batch.ids} == {"rgbd/a#0", "rgbd/d#0"}
    assert sum(s.startswith("rgbd/b#0") and "b_rgb.png is damaged" in s for s in said) >= 2
    assert sum(s.startswith("rgbd/c#0") and "c_depth.png" in s for s in said) >= 2
    for name in "ad":
        (tmp_path / f"{name}_inst.png").unlink()
        (tmp_path / f"{name}_rgb.png").unlink()
    with pytest.raises(OSError, match="10 rows in a row are bad"):
        dataset(manifest)[0]


def test_a_target_that_vanishes_on_the_canvas_is_replaced(manifest):
    tall = next(row for row in manifest if row.id == "rgbd/high#0")
    speck = np.zeros((240, 90), bool)
    speck[0, 0] = True
    with pytest.raises(OSError, match=r"target of rgbd/high#0 vanishes at 5 x 14"):
        sample(replace(tall, mask=encoded(speck), area=1), CanvasSpec(14, 14), Augment.none(), np.random.default_rng(0))


def test_texts_are_asked_for_where_they_fit(manifest):
    """Also in a crop that is mirrored, in which nothing is asked about sides, or lacks what is chosen among several."""
    row, labels = manifest.row(0), np.zeros((manifest.row(0).height, manifest.row(0).width), np.uint8)
    labels[row.read_mask()], labels[:4, :4] = 1, 2
    present = {"mug": [1], "thing": [1, 2], "left mug": [1], "corner": [2], "nearest thing": [2]}
    named = Named(labels, present, ["spoon", "red spoon"])
    chosen = []
    for seed in range(20):
        augment = replace(Augment(), **NO_COLOUR, flip=seed % 2)
        result = sample(row, CANVAS, augment, np.random.default_rng(seed), named)
        wanted = dict(zip(result.asked, result.wanted))
        assert len(result.asked) == ASKED and {"spoon", "red spoon"} <= wanted.keys()
        assert ("left mug" in wanted) == (seed % 2 == 0)
        assert np.array_equal(wanted["mug"], result.mask) and not wanted["spoon"].any()
        assert np.array_equal(wanted["thing"], wanted["mug"] | wanted["corner"])
        assert ("nearest thing" in wanted) == wanted["corner"].any()
        chosen.append("nearest thing" in wanted)
    assert 0 < sum(chosen) < len(chosen)


def test_a_loader_that_asks_names_all_targets_of_each_image(manifest):
    asks = FocusDataset([(manifest, 1.0)], CANVAS, Augment.none(), 0, asks=True)
    batch = next(iter(loader(asks, 4, range(4), workers=0)))
    assert batch.wanted.shape == (4, ASKED, CANVAS.height, CANVAS.width) and batch.wanted.dtype == torch.uint8
    for text, mask, asked, wanted in zip(batch.text, batch.mask, batch.asked, batch.wanted):
        assert (wanted[asked.index(text)] >= mask).all(), "where the target is, and others of its name"
    assert dataset(manifest)[0][0].wanted is None
