"""Judge a model on manifests: how good is the depth of a prompted target, compared with the model's unprompted depth?

  python -m focusdepth_core.fde_bench evaluate MODEL DATA/manifest.parquet --out result.json --plots pictures

MODEL is a folder of python -m focusdepth_core.engine.export, or one saved by FocusDepth.save_pretrained with
--backend torch. A model trained for an ablation, such as one with shuffled alignment, is a MODEL like any other;
compare says how two of them differ.

Every row of a manifest is a pair: one image, one target. Each depth gets one alignment to the truth of the whole
image, in the space that the model declares, and never one per region. AbsRel and delta_1 are taken over the target
(foreground), the 10 px and 5 px bands around its edge, the background and the whole image. Boundary F1 is taken where
the truth is dense, which is that of simulators. A flying pixel hangs between the target and what is behind it; depth
order is the share of point pairs, target against surroundings, in the right order. A failed alignment counts with the
constant that it leaves. Pairs are averaged within a source, sources unweighted; intervals are a 95 % paired bootstrap
over scenes.

Beside --out FILE.json the errors of every pair are kept in FILE.pairs.parquet, which compare needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from focusdepth_core.engine.open import BACKENDS
from focusdepth_core.fde_bench import plots
from focusdepth_core.fde_bench.examples import examples
from focusdepth_core.fde_bench.image_texts import ImageTexts
from focusdepth_core.fde_bench.judging import FOCUS, PLAIN, frames, records
from focusdepth_core.fde_bench.manifest import Manifest
from focusdepth_core.fde_bench.pairs import Pairs
from focusdepth_core.fde_bench.prompts import MODES
from focusdepth_core.fde_bench.report import disturbances, provenance, results, tables, write_json
from focusdepth_core.fde_bench.unasked import open_unasked
from focusdepth_core.perception.pipeline import Pipeline


def evaluate(
    pipeline: Pipeline,
    manifests: Sequence[Manifest],
    mode: str = "box",
    limit: int = 0,
    robustness: bool = False,
    left_out: list[str] | None = None,
) -> Pairs:
    """Every pair of the manifests; ``mode`` and ``limit`` as on the command line; why images are ``left_out`` is added
    there. Raises ``ValueError`` if none is left."""
    left_out = [] if left_out is None else left_out
    chosen = [(manifest, rows) for manifest in manifests for rows in frames(manifest, limit)]
    texts = {id(manifest): ImageTexts(manifest) for manifest in manifests}
    images = (
        [replace(manifest.row(i), texts=texts[id(manifest)].singling(i)) for i in rows] for manifest, rows in chosen
    )
    total = sum(len(rows) for _, rows in chosen)
    found = list(tqdm(records(pipeline, images, mode, robustness, left_out), total=total, unit="pair"))
    if not found:
        raise ValueError(f"no image could be judged: {left_out[0]}")
    return Pairs.of(found)


def result_of(pipeline: Pipeline, pairs: Pairs, how: dict) -> dict:
    """What the JSON file says; ``how``: settings that belong to it."""
    model = pipeline.model
    about = {"model": model.name, "space": model.space.value, "licence": model.license, "backend": pipeline.backend}
    parts = results(pairs, FOCUS, PLAIN)
    disturbed = disturbances(pairs, PLAIN)
    return about | how | provenance() | parts | ({"disturbed": disturbed} if disturbed else {})


def pairs_path(out: Path) -> Path:
    """Where the pairs of an evaluation are, given its JSON file."""
    return out.with_suffix(".pairs.parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("manifests", type=Path, nargs="+", metavar="manifest", help="manifest.parquet or its folder")
    parser.add_argument("--split", default="test", help="rows of this split (test)")
    parser.add_argument("--prompt", choices=MODES, default="box", help="what the model is told about the target (box)")
    parser.add_argument(
        "--limit", type=int, default=0, help="about that many pairs per manifest, spread evenly; 0 = all"
    )
    parser.add_argument(
        "--robustness", action="store_true", help="ask with jittered boxes and the wrong target as well"
    )
    parser.add_argument("--backend", default="auto", help=f"what runs the model: auto, {', '.join(BACKENDS)} (auto)")
    parser.add_argument("--out", type=Path, help="write the result as JSON, and the pairs beside it")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write pictures; needs matplotlib")


def run(args: argparse.Namespace) -> int:
    manifests = [Manifest.open(path, args.split) for path in args.manifests]
    empty = args.prompt == "empty"
    pipeline = open_unasked(args.model, args.backend) if empty else Pipeline.open(args.model, args.backend)
    left_out: list[str] = []
    pairs = evaluate(pipeline, manifests, args.prompt, args.limit, args.robustness, left_out)
    how = {"prompt": args.prompt, "split": args.split, "limit": args.limit or None, "left_out": left_out}
    result = result_of(pipeline, pairs, how)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        pairs.write(pairs_path(args.out))
        write_json(args.out, result)
    print(tables(result, FOCUS, PLAIN))
    for sentence in left_out:
        print(f"left out: {sentence}")
    if args.plots:
        plots.write(args.plots, pairs, result, examples(pipeline, manifests, pairs, args.prompt))
    return 0
