"""Judge the runs of a study such as config/study/default.yaml, and say in one file what focusing is worth.

  python -m focusdepth_core.fde_bench default_model runs/default data/sim_test --out docs/results/default_model.json

STUDY is the OUT of focusdepth_core.training.study. seed0/model is needed; whatever else is not there yet is left out of
the result. All is judged as by evaluate, on the rows of one split, by AbsRel. A change is that of the mean over the
same pairs, with a 95 % paired bootstrap over scenes. ``unprompted`` is seed0's focused net with the fusion skipped.

What was judged stays in STUDY/judged, so the same command goes on after a stop, and judges what the study has since
added; it begins anew with another model, manifest or code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

import focusdepth_core
from focusdepth_core.fde_bench import plots
from focusdepth_core.fde_bench.absence import absence
from focusdepth_core.fde_bench.compare import A, B, joined
from focusdepth_core.fde_bench.default_rows import REGIONS, Row, against, row, share_of_gain
from focusdepth_core.fde_bench.evaluate import evaluate
from focusdepth_core.fde_bench.examples import examples
from focusdepth_core.fde_bench.footprint import footprint
from focusdepth_core.fde_bench.judging import FOCUS, PLAIN
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.fde_bench.pairs import Pairs
from focusdepth_core.fde_bench.prompts import WRONG
from focusdepth_core.fde_bench.report import markdown, provenance, write_json
from focusdepth_core.fde_bench.study_curves import curve_plot
from focusdepth_core.fde_bench.unasked import open_unasked
from focusdepth_core.perception.pipeline import Pipeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JITTERED = "box at IoU 0.7"
MAIN = "seed0"


class Judge:
    """Of the runs in ``study`` on ``manifest``; ``limit``: about that many pairs for all but the box prompt of the main
    run, 0 = all; ``real``: images of cameras beside them."""

    def __init__(self, study: Path, manifest: Manifest, limit: int, real: Manifest | None = None) -> None:
        """Raises ``ValueError`` if the study has no exported model yet."""
        self._study, self._manifest, self._limit, self._real = study, manifest, limit, real
        self.model = study / MAIN / "model"
        if not (self.model / "config.json").is_file():
            raise ValueError(
                f"{self.model} is not there yet; run focusdepth_core.training.study first, to {MAIN} at least"
            )
        self._box = self._pairs(Pipeline.open(self.model), "box", limit=0)

    def result(self) -> Row:
        others = {run: self._pairs(self._open(f"{run}/model"), "box") for run in self._seeds()}
        seeds = {MAIN: self._on_the_same(next(iter(others.values()), self._box))} | others
        return {
            "baseline": row(self._box, PLAIN),
            "focus_box": row(self._box, FOCUS, PLAIN),
            **self._by_text(),
            **self._held_out(),
            "ablations": dict(self._ablations()),
            "robustness": self._robustness(),
            **dict(self._others()),
            "seeds": len(seeds),
            "training": dict(self._training()),
            "each_seed": {name: {net: row(pairs, net) for net in (PLAIN, FOCUS)} for name, pairs in seeds.items()},
            "speed": footprint(self.model),
        }

    def examples(self) -> Figure:
        """Where the box of the main run helps most and least, and targets in between."""
        return plots.example_sheet(examples(Pipeline.open(self.model), [self._manifest], self._box, "box"))

    def _by_text(self) -> Row:
        """Where the model knows the text, which leaves out held-out categories; and the box on the same pairs."""
        pipeline = Pipeline.open(self.model)
        if "text" not in pipeline.model.prompts:
            return {}
        text = self._pairs(pipeline, "text")
        box = row(self._on_the_same(text), FOCUS, PLAIN)
        return {
            "focus_text": row(text, FOCUS, PLAIN) | {"focus_box_on_the_same": box},
            "presence": absence(pipeline, self._manifest, self._limit),
        }

    def _held_out(self) -> Row:
        pairs = self._box.where(self._box["held_out"])
        if not len(pairs):
            return {}
        rows = {"baseline": row(pairs, PLAIN), "focus_box": row(pairs, FOCUS, PLAIN)}
        return {"held_out_categories": rows | {"share_of_gain": share_of_gain(pairs, FOCUS, self._box)}}

    def _ablations(self) -> Iterator[tuple[str, Row]]:
        """Each against the focused net of the main run."""
        for run in sorted(p.parent.parent.name for p in self._study.glob("*/focus/config.json")):
            if not run.startswith("seed"):
                yield run, self._against_main(self._pairs(self._open(f"{run}/focus"), "box"))
        if self._has(f"{MAIN}/focus"):
            with shuffled(self._study / MAIN / "focus") as folder:
                yield "shuffled at test time", self._against_main(self._pairs(Pipeline.open(folder, "torch"), "box"))

    def _robustness(self) -> Row:
        asked = self._pairs(Pipeline.open(self.model), "box", robustness=True)
        found: Row = {JITTERED: row(asked, JITTERED, PLAIN)}
        found[JITTERED]["share_of_gain"] = share_of_gain(asked, JITTERED, asked)
        if not self._has(f"{MAIN}/focus"):
            return found
        folder = self._study / MAIN / "focus"
        pipeline = Pipeline.open(folder, "torch")
        if "text" in pipeline.model.prompts:
            unasked = self._pairs(open_unasked(folder, "torch"), "empty")
            found["empty prompt"] = row(unasked, FOCUS, PLAIN)
        else:
            unasked = self._pairs(pipeline, "none")
        wrong = against(unasked, PLAIN, asked, WRONG)
        worse = wrong.metric(B, "absrel/global") / wrong.metric(A, "absrel/global") - 1
        found["unprompted"] = row(unasked, PLAIN)
        found[WRONG] = row(wrong, B, A) | {"change_p95_global": round(float(np.quantile(worse, 0.95)), 4)}
        return found

    def _others(self) -> Iterator[tuple[str, Row]]:
        """Depth nets that were trained without the fusion, against the baseline; and real images."""
        for name, folder, prompt in (
            ("box_channel", "box_channel/baseline", "box"),
            ("pretrained", "pretraining/baseline", "none"),
        ):
            if self._has(folder):
                pairs = self._pairs(self._open(folder), prompt)
                yield name, row(against(self._on_the_same(pairs), PLAIN, pairs, FOCUS), B, A)
        if self._real is not None:
            pairs = self._pairs(Pipeline.open(self.model), "box", limit=0, manifest=self._real)
            yield "real", {"baseline": row(pairs, PLAIN), "focus_box": row(pairs, FOCUS, PLAIN)}

    def _training(self) -> Iterator[tuple[str, Row]]:
        """Steps and wall time of each stage of each run."""
        from focusdepth_core.training.checkpoint import LAST, progress_of

        for path in sorted(self._study.glob(f"*/stages/*/{LAST}")):
            done = progress_of(path)
            yield f"{path.parents[2].name}/{path.parent.name}", {"steps": done.step, "seconds": done.seconds}

    def _seeds(self) -> list[str]:
        found = sorted(p.parent.parent.name for p in self._study.glob("seed*/model/config.json"))
        return [name for name in found if name != MAIN]

    def _against_main(self, pairs: Pairs) -> Row:
        return row(joined(self._on_the_same(pairs), pairs), B, A)

    def _on_the_same(self, pairs: Pairs) -> Pairs:
        """The main run, by box."""
        return self._box.where(np.isin(self._box["id"], pairs["id"]))

    def _has(self, folder: str) -> bool:
        return (self._study / folder / "config.json").is_file()

    def _open(self, folder: str) -> Pipeline:
        return Pipeline.open(self._study / folder)

    def _pairs(
        self,
        pipeline: Pipeline,
        mode: str,
        robustness: bool = False,
        limit: int | None = None,
        manifest: Manifest | None = None,
    ) -> Pairs:
        """``limit`` and ``manifest``: None is that of the judge."""
        limit, manifest = self._limit if limit is None else limit, manifest or self._manifest
        asked = [mode, robustness, limit, _code(), manifest.table["id"].to_pylist()]
        files = [*sorted(p for p in pipeline.model.path.iterdir() if p.is_file()), manifest.path]
        path = self._study / "judged" / f"{_digest(files, json.dumps(asked))}.parquet"
        if path.exists():
            return Pairs.read(path)
        print(f"{pipeline.model.path}, prompt: {mode}")
        left_out: list[str] = []
        pairs = evaluate(pipeline, [manifest], mode, limit, robustness, left_out)
        for sentence in left_out:
            print(f"left out: {sentence}")
        path.parent.mkdir(exist_ok=True)
        pairs.write(path)
        return pairs


@cache
def _code() -> str:
    """Of all modules as they were when the command began: a commit would not tell changes that are in none."""
    return _digest(sorted(Path(focusdepth_core.__file__).parent.rglob("*.py")))


def _digest(files: Iterable[Path], more: str = "") -> str:
    digest = hashlib.blake2b(more.encode(), digest_size=8)
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def shuffled(folder: Path) -> Iterator[Path]:
    """A copy of a trained model whose prompt features land in the wrong place, though it was not trained so."""
    from focusdepth_core.model.focusdepth import FocusDepth

    model = FocusDepth.from_pretrained(folder)
    other = FocusDepth(replace(model.config, mssa=replace(model.config.mssa, alignment="shuffled")))
    other.load_state_dict(model.state_dict())
    with TemporaryDirectory() as place:
        other.save_pretrained(Path(place) / "shuffled")
        yield Path(place) / "shuffled"


def table(result: Row) -> str:
    """Markdown of every row that has the three regions."""
    return markdown("| ".join(["", *REGIONS, "change of the foreground"]), list(_cells(result)))


def _cells(value: Row, name: str = "") -> Iterator[list[str]]:
    if all(region in value for region in REGIONS):
        change = value.get("change", {}).get("foreground", {}).get("mean")
        yield [
            name,
            *(f"{value[region]:.4f}" for region in REGIONS),
            "" if change is None else f"{100 * change:+.1f} %",
        ]
    for key, part in value.items():
        if isinstance(part, dict) and key != "change":
            yield from _cells(part, f"{name}, {key}" if name else key)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, help="folder of the runs")
    parser.add_argument("manifest", type=Path, help="manifest.parquet or its folder")
    parser.add_argument("--split", default="test", help="rows of this split (test)")
    parser.add_argument(
        "--limit", type=int, default=0, help="about that many pairs, spread evenly, in all rows but focus_box; 0 = all"
    )
    parser.add_argument("--real", type=Path, metavar="MANIFEST", help="judge the model on this one, too, as it is")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="write examples.png and curves.png there; needs matplotlib"
    )


def run(args: argparse.Namespace) -> int:
    manifest = Manifest.open(args.manifest, args.split)
    real = Manifest.open(args.real) if args.real else None
    judge = Judge(args.study, manifest, args.limit, real)
    result = judge.result()
    result |= {"split": args.split, "limit": args.limit or None} | provenance()
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out, result)
    print(table(result))
    if args.plots:
        args.plots.mkdir(parents=True, exist_ok=True)
        plots.save(judge.examples(), args.plots / "examples.png")
        plots.save(curve_plot(args.study), args.plots / "curves.png")
    return 0
