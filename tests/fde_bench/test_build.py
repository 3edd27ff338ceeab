"""A build survives kills and bad files, in one process, in several, in shards and on Ray."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from focusdepth_core.fde_bench.__main__ import main
from focusdepth_core.fde_bench.build import ABOUT, build, claim, merge
from focusdepth_core.fde_bench.convert import Tally
from focusdepth_core.fde_bench.manifest import FILE, Manifest, ManifestError
from focusdepth_core.fde_bench.source import Instance, SourceError, SourceFrame
from tests.fde_bench.rgbd_frames import write_frame

BOXES = {"mug": (10, 20, 60, 80), "bowl": (70, 20, 110, 70)}
FRAMES = 40


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Holds the frames in ``root``; builds beside it have the same relative paths, and so the same bytes."""
    folder = tmp_path_factory.mktemp("base")
    for i in range(FRAMES):
        write_frame(folder / "root", f"seq{i % 4}/{i:03d}", (256, 250), BOXES)
    return folder


@pytest.fixture(scope="module")
def whole(base):
    assert run(base, "whole") == 0
    return (base / "whole" / FILE).read_bytes()


def run(base, out, *more):
    return main(["build", "rgbd", "--root", str(base / "root"), "--out", str(base / out), "--workers", "1", *more])


def parts(out):
    return sorted(out.glob("parts/[!.]*"))


def children_of(pid):
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def runs(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.002)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for orphans in /proc")
def test_a_kill_loses_nothing_and_changes_nothing(base, whole):
    out = base / "killed"
    command = [sys.executable, "-m", "focusdepth_core.fde_bench", "build", "rgbd", "--workers", "2"]
    process = subprocess.Popen([*command, "--root", base / "root", "--out", out], stderr=subprocess.DEVNULL)
    wait_for(lambda: len(parts(out)) >= 3)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(runs(pid) for pid in workers))
    done = {part: part.stat().st_mtime_ns for part in parts(out)}
    assert len(workers) >= 2 and 3 <= len(done) < FRAMES and not (out / FILE).exists()
    assert run(base, "killed") == 0
    assert (out / FILE).read_bytes() == whole
    assert {part: part.stat().st_mtime_ns for part in done} == done


def test_shards_make_parts_that_a_last_call_joins(base, whole, capsys):
    for shard in ("2/3", "1/3", "3/3"):
        assert run(base, "shards", "--shard", shard) == 0
        assert not (base / "shards" / FILE).exists() and "call again without --shard" in capsys.readouterr().out
    made = {part: part.stat().st_mtime_ns for part in parts(base / "shards")}
    assert len(made) == FRAMES
    assert run(base, "shards") == 0
    assert (base / "shards" / FILE).read_bytes() == whole
    assert {part: part.stat().st_mtime_ns for part in parts(base / "shards")} == made


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b"])
def test_an_impossible_shard_is_refused(base, shard):
    with pytest.raises(SystemExit):
        run(base, "none", "--shard", shard)


def test_ray_builds_the_same(base, whole):
    pytest.importorskip("ray", reason="needs focusdepth_core[ray]")
    assert run(base, "ray", "--ray", "local") == 0
    assert (base / "ray" / FILE).read_bytes() == whole


def test_a_folder_of_another_build_is_refused(base, whole, capsys):
    before = (base / "whole" / FILE).stat().st_mtime_ns
    assert main(["build", "rgbd", "--root", str(base), "--out", str(base / "whole")]) == 1
    assert "give another --out" in capsys.readouterr().err
    assert (base / "whole" / FILE).stat().st_mtime_ns == before


@pytest.mark.parametrize("content", [b"", b'{"source": "rg', b"\xff"])
def test_a_damaged_note_of_what_was_built_is_named(base, tmp_path, content):
    (tmp_path / ABOUT).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{ABOUT} is damaged .*delete that file; else give another --out"):
        claim(tmp_path, "rgbd", base / "root", None)


def test_shards_that_start_together_never_see_half_a_note(base, tmp_path):
    for i in range(20):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _, out=tmp_path / str(i): claim(out, "rgbd", base / "root", None), range(8)))
        assert [path.name for path in (tmp_path / str(i)).iterdir()] == [ABOUT]


def test_the_note_is_written_once(base, tmp_path):
    claim(tmp_path, "rgbd", base / "root", None)
    written = (tmp_path / ABOUT).stat().st_mtime_ns
    claim(tmp_path, "rgbd", base / "root", None)
    assert (tmp_path / ABOUT).stat().st_mtime_ns == written


def test_a_bad_file_is_named_and_tried_again(tmp_path, capsys):
    for name in "abc":
        write_frame(tmp_path / "root", name, (160, 120), BOXES | {"wall": (0, 90, 160, 120)})
    image = tmp_path / "root" / "b_rgb.png"
    good = image.read_bytes()
    image.write_bytes(good[:300])
    assert run(tmp_path, "out") == 0
    said = capsys.readouterr().out
    assert "1 bad files" in said and "b_rgb.png is damaged" in said and "dropped 2: surface or robot" in said
    assert "2 frames, 4 targets, 2 categories" in said
    image.write_bytes(good)
    assert run(tmp_path, "out") == 0
    assert "3 frames, 6 targets" in capsys.readouterr().out
    assert Tally.read(tmp_path / "out" / FILE) == Tally(3, {"surface or robot": 3}, [])


@dataclass(frozen=True)
class Arrays:
    """A source that keeps no files of its own."""

    frames_: tuple[SourceFrame, ...]
    name = "arrays"
    licence = "MIT"
    mask_source = "true"

    def items(self):
        return [str(i) for i in range(len(self.frames_))]

    def frames(self, item):
        yield self.frames_[int(item)]


def frame(name="a", depth=None, **changes):
    mask = np.zeros((60, 80), bool)
    mask[10:40, 20:50] = True
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    depth = np.full((60, 80), 1.23456, np.float32) if depth is None else depth
    values = {"group": name, "split": "test", "depth_scale": 1.0, "intrinsics": None} | changes
    instances = values.pop("instances", (Instance(mask, "mug", "mug"),))
    return SourceFrame(name=name, image=image, depth=depth, instances=instances, **values)


def built(tmp_path, *frames):
    source = Arrays(frames)
    build(source, tmp_path, workers=1)
    return merge(source, tmp_path)


@pytest.mark.parametrize(("farthest", "scale"), [(13.1, 5000), (13.2, 1000), (65.5, 1000), (66.0, 100)])
def test_arrays_are_stored_without_loss_but_for_the_steps_of_depth(tmp_path, farthest, scale):
    depth = np.full((60, 80), 1.23456, np.float32)
    depth[0, :5] = farthest, 0, np.nan, np.inf, -1
    original = frame("seq/a", depth)
    built(tmp_path, original)
    row = Manifest.open(tmp_path).row(0)
    assert (row.image, row.depth, row.depth_scale) == ("images/seq/a.png", "depth/seq/a.png", scale)
    assert np.array_equal(row.read_image(), original.image)
    read = row.read_depth()
    assert np.abs(read[0, :5] - [farthest, 0, 0, 0, 0]).max() <= 0.5001 / scale
    assert np.abs(read[1:] - depth[1:]).max() <= 0.5001 / scale


def test_frames_that_do_not_fit_together_are_named(tmp_path):
    other = Instance(np.ones((60, 81), bool), "mug", "mug")
    tally = built(
        tmp_path,
        frame("good"),
        frame("mm", np.full((60, 80), 1234.5, np.float32)),
        frame("masks", instances=(other,)),
        frame("depth", np.ones((30, 40), np.float32)),
        frame("../up"),
        frame("Upper"),
        frame("split", split="training"),
    )
    assert tally.frames == 1 and [bad.split("'")[1] for bad in tally.bad] == [
        *("mm", "masks", "depth", "../up", "Upper", "split")
    ]
    assert "1234 m deep" in tally.bad[0] and "mask 0 is (60, 81)" in tally.bad[1]
    assert sorted(p.name for p in tmp_path.rglob("*.png")) == ["good.png", "good.png"]


def test_what_would_spoil_the_whole_manifest_stops_the_merge(tmp_path):
    with pytest.raises(ManifestError, match="group 'kitchen' of arrays is in two splits"):
        built(tmp_path / "a", frame("a", group="kitchen"), frame("b", group="kitchen", split="train"))
    with pytest.raises(SourceError, match="'arrays/a#0' comes twice"):
        built(tmp_path / "b", frame("a"), frame("a"))
    with pytest.raises(SourceError, match="no target from 1 frames; dropped: {'depth in under"):
        built(tmp_path / "c", frame("a", np.zeros((60, 80), np.float32)))
    with pytest.raises(SourceError, match="has no item"):
        built(tmp_path / "d")
    assert not list(tmp_path.rglob(FILE))


class Surprising(Arrays):
    def frames(self, item):
        yield from super().frames(item)
        if item == "0":
            raise KeyError("pose")


def test_an_error_nobody_foresaw_costs_the_rest_of_its_item(tmp_path):
    source = Surprising((frame("a"), frame("b")))
    build(source, tmp_path, workers=1)
    assert merge(source, tmp_path) == Tally(2, bad=["item '0' of arrays cannot be read on: KeyError('pose')"])
    assert len(Manifest.open(tmp_path)) == 2


def test_values_that_no_manifest_can_hold_cost_their_frame(tmp_path):
    tally = built(tmp_path, frame("a", group=3), frame("b", licence="\ud800"), frame("c", depth="?"), frame("d"))
    assert tally.frames == 1 and len(tally.bad) == 3
    assert all(f"frame '{name}' of arrays cannot be used: " in bad for name, bad in zip("abc", tally.bad))


def test_a_full_disk_stops_the_build_instead_of_dropping_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imwrite", lambda *_: False)
    with pytest.raises(OSError, match="is the disk full"):
        built(tmp_path, frame())
    assert not parts(tmp_path)


def test_a_folder_that_cannot_be_written_stops_the_build(tmp_path):
    (tmp_path / "depth").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cannot write .*depth/a.png"):
        built(tmp_path, frame())
    assert not parts(tmp_path)


def test_options_that_do_not_fit_are_one_sentence(tmp_path, capsys):
    for arguments in (["rgbd"], ["rgbd", "--root", str(tmp_path), "--images", "5"], ["rgbd", "--root", "/nowhere"]):
        assert main(["build", *arguments, "--out", str(tmp_path / "out")]) == 1
    (tmp_path / "names.json").write_text("{}")
    side = ["--names", str(tmp_path / "names.json"), "--out", str(tmp_path / "other")]
    assert main(["build", "rgbd", "--root", str(tmp_path), *side]) == 1
    said = capsys.readouterr().err.splitlines()
    assert ["needs --root" in said[0], "needs --root" in said[1], "is no folder" in said[2], "no side file" in said[3]]
    assert len(said) == 4 and all(line.startswith("error: ") for line in said)
