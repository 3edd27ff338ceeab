"""Measurements on simulated video, with predictions that are right but for what a test adds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("focusdepth_core.sim.render", reason="needs focusdepth_core[sim]")

from focusdepth_core.engine.model_folder import InputSpec, ModelFolder
from focusdepth_core.fde_bench import video as command
from focusdepth_core.fde_bench import video_cadence, video_flicker, video_scale
from focusdepth_core.fde_bench.__main__ import main
from focusdepth_core.fde_bench.video_answers import FOCUS, PLAIN, Answer, answers, frame_of
from focusdepth_core.fde_bench.video_summary import summary
from focusdepth_core.perception.keyframes import Keyframes
from focusdepth_core.perception.pipeline import QUANTILES, Pipeline
from focusdepth_core.perception.result import FocusResult, Space, TargetResult
from focusdepth_core.perception.target import Target
from focusdepth_core.sim.render import Renderer
from focusdepth_core.sim.video import Video, VideoFrame, record
from tests.perception.maps import frame_depth
from tests.tiny_model import HEIGHT, WIDTH, BoxEngine, config, write_model_folder

DISPARITY = Space.AFFINE_DISPARITY
SIZE, FRAMES, RATE = (112, 84), 26, 15.0


@pytest.fixture(scope="module")
def videos() -> dict[str, Video]:
    renderer = Renderer(*SIZE)
    try:
        seeds = {"static": 900002, "moving": 900001, "passing": 900005}
        return {kind: record(seed, kind, renderer, FRAMES, RATE) for kind, seed in seeds.items()}
    finally:
        renderer.close()


def told(video: Video, error: Callable[[int, VideoFrame], np.ndarray | float]) -> dict[str, list[Answer]]:
    """Answers that are off by a factor of the disparity; of the focused net, with the target's true mask."""
    found: dict[str, list[Answer]] = {PLAIN: [], FOCUS: []}
    for n, shot in enumerate(video.frames):
        raw = (4 * error(n, shot) / shot.view.depth_m + 1).astype(np.float32)
        truth, mask = video.truth(shot), shot.view.instances == video.target
        target = [] if truth is None else [TargetResult(Target("t", truth.box), mask, 1.0, spread(raw[mask]))]
        found[PLAIN].append(Answer(shot, FocusResult(frame_of(shot), frame_depth(raw), DISPARITY)))
        found[FOCUS].append(Answer(shot, FocusResult(frame_of(shot), frame_depth(raw), DISPARITY, tuple(target))))
    return found


def spread(raw: np.ndarray) -> tuple[float, ...]:
    return tuple(np.quantile(raw, QUANTILES).tolist())


def flicker(video: Video, given: dict[str, list[Answer]]) -> dict[tuple[str, str], dict]:
    """Of the plain net, by depth and region."""
    return {(r["depth"], r["region"]): r for r in video_flicker.records(video, given, DISPARITY) if r["net"] == PLAIN}


@pytest.mark.parametrize("kind", ["static", "moving"])
def test_what_is_right_does_not_flicker(videos: dict[str, Video], kind: str) -> None:
    found = flicker(videos[kind], told(videos[kind], lambda n, shot: 1.0))
    assert found["aligned", "image"]["change"] < 1e-5
    assert found["aligned", "target"]["change"] < 1e-5
    assert found["metric, filtered", "image"]["change"] < found["metric", "image"]["change"] < 0.01


@pytest.mark.parametrize("kind", ["static", "moving"])
def test_flicker_is_the_change_that_was_put_in(videos: dict[str, Video], kind: str) -> None:
    """Half of the frames are 2 % nearer, by turns."""
    found = flicker(videos[kind], told(videos[kind], lambda n, shot: 1 + 0.02 * (n % 2)))
    assert found["aligned", "image"]["change"] == pytest.approx(np.log(1.02), rel=0.05)
    assert found["metric", "image"]["change"] < 0.01, "each frame's own fit takes it out"
    if kind == "static":
        assert found["aligned", "image"]["deviation"] == pytest.approx(0.01, rel=0.05)
    else:
        assert np.isnan(found["aligned", "image"]["deviation"])


def test_only_the_target_s_flicker_counts_for_it(videos: dict[str, Video]) -> None:
    video = videos["static"]
    given = told(video, lambda n, shot: 1 + 0.04 * (n % 2) * (shot.view.instances == video.target))
    found = flicker(video, given)
    assert found["aligned", "target"]["change"] == pytest.approx(0.04, rel=0.1)
    assert found["aligned", "image"]["change"] < 0.01


def test_an_error_that_stays_on_its_surface_is_no_flicker(videos: dict[str, Video]) -> None:
    """As stripes of 12 cm that are painted on the scene are none, though they move through the image."""

    def stripes(n: int, shot: VideoFrame) -> np.ndarray:
        k, z = shot.view.intrinsics, shot.view.depth_m
        v, u = np.mgrid[: k.height, : k.width]
        points = np.stack([(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z, np.ones_like(z)])
        x, *_ = np.tensordot(shot.camera, points, 1)
        return 1 + 0.1 * np.sin(2 * np.pi * x / 0.12)

    moving, rest = (flicker(videos["moving"], told(videos["moving"], e)) for e in (stripes, lambda n, shot: 1.0))
    assert rest["aligned", "image"]["change"] < moving["aligned", "image"]["change"] < 0.01
    first, later = (stripes(0, videos["moving"].frames[n]) for n in (0, 8))
    assert np.abs(np.log(later / first)).mean() > 0.04, "they do move"


def errors(video: Video, given: dict[str, list[Answer]]) -> dict:
    return summary({"flicker": [], "scale": list(video_scale.records(video, given)), "jumps": [], "cadence": []})[
        "scale"
    ]


def test_metres_are_right_in_spite_of_gross_errors_and_holes(videos: dict[str, Video]) -> None:
    found = errors(videos["moving"], told(videos["moving"], lambda n, shot: 1.0))
    assert len(found) == 3
    for nets in found.values():
        for fits in nets.values():
            for value in fits.values():
                assert value["target"]["p50"] < 0.01 and value["image"]["p50"] < 0.01
                assert value["without_metres"] == 0 and value["frames"] > 20


def test_an_error_on_the_target_is_seen_where_the_sensor_cannot_mend_it(videos: dict[str, Video]) -> None:
    video = videos["moving"]
    found = errors(video, told(video, lambda n, shot: 1 + 0.25 * (shot.view.instances == video.target)))
    covered, hole = (nets["focus"]["filtered"]["target"]["p50"] for name, nets in found.items() if "20 %" in name)
    assert covered < 0.02 < 0.15 < hole


def jumps(videos: dict[str, Video]) -> dict[str, dict]:
    pair = [(videos[kind], told(videos[kind], lambda n, shot: 1.0)[FOCUS]) for kind in ("moving", "passing")]
    return {jump["kind"]: jump for jump in video_scale.jumps(*pair)}


def test_after_a_cut_the_first_frame_is_right_unless_the_sensor_is_blind(videos: dict[str, Video]) -> None:
    """A right prediction has one scale in all scenes: what was held over a cut that nobody saw is right as well."""
    found = jumps(videos)
    assert found["cut"]["right"].all() and len(found["cut"]["right"]) >= 2 * video_scale.BLIND
    silent = np.isnan(found["cut, blind"]["error"])
    assert silent[: video_scale.BLIND].all() or not silent.any()
    assert not silent[video_scale.BLIND :].any()


def test_metres_are_wrong_for_as_long_as_the_sensor_is(videos: dict[str, Video]) -> None:
    wrong = jumps(videos)["wrong sensor"]
    assert not wrong["right"][: video_scale.WRONG].any()
    np.testing.assert_allclose(wrong["error"][: video_scale.WRONG], 0.5, atol=0.1)
    assert wrong["right"][video_scale.WRONG :].all()
    assert video_scale.frames_until_right(wrong) == video_scale.WRONG


@pytest.mark.parametrize(
    ("right", "frames"), [("1111111", 0), ("0011111", 2), ("0110111", 4), ("0000000", 7), ("1111101", 0)]
)
def test_right_again_means_for_some_frames(right: str, frames: int) -> None:
    assert video_scale.frames_until_right({"right": np.array([r == "1" for r in right])}) == frames


def make(keyframes: Keyframes | None) -> Pipeline:
    size = config()["input"]
    spec = InputSpec(WIDTH, HEIGHT, tuple(size["mean"]), tuple(size["std"]))
    model = ModelFolder(Path(), "tiny", "Apache-2.0", DISPARITY, ("box",), spec, Path("f"), Path("p"))
    return Pipeline(model, BoxEngine(), BoxEngine(), None, keyframes)


def test_carrying_is_as_good_as_looking_on_every_frame_and_better_than_holding(videos: dict[str, Video]) -> None:
    video = videos["moving"]
    plain = answers(make(None), video)[PLAIN]
    found = {"flicker": [], "scale": [], "jumps": [], "cadence": video_cadence.records(make, video, plain, DISPARITY)}
    ways = summary({**found, "cadence": list(found["cadence"])})["cadence"]
    iou = {(way, int(n)): value["iou"] for way, values in ways.items() for n, value in values.items()}
    assert iou["held", 1] == iou["own mask", 1]
    assert iou["carried", 1] == pytest.approx(iou["held", 1], abs=0.05)
    assert iou["carried", 16] > iou["held", 16] + 0.1
    assert ways["plain"]["0"]["iou"] is None and ways["plain"]["0"]["absrel"] > 0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(video_cadence, "INTERVALS", (8,))
    sized = command.recorded
    monkeypatch.setattr(command, "recorded", lambda *args: sized(*args, SIZE))
    yield


@pytest.mark.usefixtures("small")
def test_the_command_writes_and_draws_all_four_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out, plot = tmp_path / "out" / "video.json", tmp_path / "video.png"
    folder = str(write_model_folder(tmp_path / "model"))
    options = ["--videos", "1", "--frames", "18", "--split", "val", "--backend", "onnxruntime"]
    assert main(["video", folder, *options, "--out", str(out), "--plot", str(plot)]) == 0
    result = json.loads(out.read_text())
    assert {"machine", "versions", "method", "commit", "seconds", "backend", "split"} <= result.keys()
    assert result["flicker"].keys() == {"static", "moving"} and result["scale"].keys() == video_scale.SENSORS.keys()
    assert result["jumps"].keys() == {"cut", "cut, blind", "wrong sensor"}
    assert result["cadence"]["carried"].keys() == {"8"}
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("flicker", "metres", "jump", "cadence"))


def test_too_few_frames_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["video", str(write_model_folder(tmp_path)), "--frames", "5"]) == 1
    assert "at least 1 video of 18 frames" in capsys.readouterr().err
