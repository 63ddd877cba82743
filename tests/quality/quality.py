"""How good the maps are, beside what one would do otherwise; every figure of docs/recipes.md is made here.

    GEOSEG_DATA=FOLDER python tests/quality/quality.py run [--sets roofs hls] [--parts "seed 0"] [--methods geoseg]
        [--results FILE] [--models FOLDER]
    python tests/quality/quality.py table [--results FILE]
    GEOSEG_DATA=FOLDER python tests/quality/quality.py curves    (see curves.py: few polygons of a large scene)

``run`` makes what is not yet in the file of results, each cell (a set, a part of it, a method) in a process of its own
on one thread; a run that is stopped goes on. With ``--models`` geoseg's models are kept. ``table`` prints what is there
as Markdown.

geoseg chooses its epoch on the validation part, where the recipe does not keep the last one and leaves next to nothing
for it. The other methods learn from that part too: forests and the plain loop choose nothing, geoai divides what it is
given by itself. geoai runs in an environment of its own (``make quality`` makes it, or GEOSEG_GEOAI names its Python),
from random weights, because ImageNet's would have to be fetched.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

METHODS = ("geoseg", "plain loop", "forest", "forest, 7 px", "geoai")
COUNTS = ("right", "predicted", "labelled")
"""What is counted of each class, px."""
_RESULTS = HERE / "results.jsonl"


def cell(name: str, part: str, method: str, models: Path | None = None) -> dict[str, Any]:
    """Train and score one method on one part of a set; return its report, and more of it."""
    from protocols import PROTOCOLS

    protocol = PROTOCOLS[name]
    if method == "geoseg":
        kept = models / f"{name} {part}.safetensors".replace(" ", "-") if models else None
        return _by_geoseg(protocol, part, kept)
    return _by_another(protocol, part, method)


def _by_geoseg(protocol: Any, part: str, kept: Path | None) -> dict[str, Any]:
    from geoseg.learning.story import STORY, counts_of
    from geoseg.learning.train import train
    from geoseg.models.card_file import read_card

    with tempfile.TemporaryDirectory() as folder:
        model = train(protocol.config(part), output=Path(folder) / "run")
        training = read_card(model).training or {}
        metrics: Any = training["metrics"]
        split = "test" if metrics.get("test") else "val"
        story = json.loads((model.parent / STORY).read_text(encoding="utf-8"))
        found = {
            "scores": metrics[split] | {"counts": _counts(counts_of(story, split), metrics[split]["iou"])},
            "validation": metrics["val"],
            "cpu_seconds": _cpu_seconds(),
        }
        if protocol.symmetries:
            found["with_symmetries"] = _with_symmetries(protocol, part, model)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(model, kept)
    return found


def _with_symmetries(protocol: Any, part: str, model: Path) -> dict[str, Any]:
    """Score whole images as ``geoseg predict --tta`` classifies them."""
    import numpy as np

    import geoseg
    from geoseg.datasets.dataset import IGNORED
    from geoseg.grid.window import Window
    from geoseg.learning.metrics import Confusion, ImageMeans
    from geoseg.learning.preparation import prepare_training
    from geoseg.learning.scoring import Score

    run = prepare_training(protocol.config(part))
    total = Score.nothing(run.splits["val"][0].channels)
    for pair in run.splits["test"]:
        classes = geoseg.predict(pair.image, model, tta=True, device="cpu")["landcover"].values
        found = pair.channels.mask(classes)
        mask = pair.mask(Window(row=0, col=0, height=pair.grid.height, width=pair.grid.width))
        reference = np.where(found == IGNORED, IGNORED, mask)
        counts = Confusion.of(reference, found, pair.channels.kinds)
        total += Score(confusion=counts, image_means=ImageMeans.of(counts))
    return _report(total, run)


def _report(score: Any, run: Any) -> dict[str, Any]:
    """Return the scores of a method as JSON values, with what they were counted from."""
    from geoseg.learning.monitor import report

    return report(score, run.classes) | {"counts": _counts(score.confusion, run.classes.names)}


def _counts(confusion: Any, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the pixels of each class that are right, predicted and labelled."""
    each = zip(names, confusion.hits, confusion.predicted, confusion.referenced, strict=True)
    return {name: dict(zip(COUNTS, map(int, numbers), strict=True)) for name, *numbers in each}


def _by_another(protocol: Any, part: str, method: str) -> dict[str, Any]:
    from forests import Forest, alone, surrounded
    from pixels import pictures, scored
    from plain_loop import train_plainly

    from geoseg.learning.preparation import prepare_training

    run = prepare_training(protocol.config(part))
    seed, kinds = run.config.train.seed, run.splits["val"][0].channels.kinds
    known, test = (*run.splits["train"], *run.splits["val"]), run.splits["test"]
    if not test:
        known, test = run.splits["train"], run.splits["val"]
    config = run.config.train
    chips = config.chips_per_epoch or len(run.splits["train"])
    if method == "geoai":
        from geoai_files import train_geoai

        with tempfile.TemporaryDirectory() as folder:
            score = train_geoai(
                os.environ.get("GEOSEG_GEOAI", ".venv-geoai/bin/python"), Path(folder), list(known), list(test),
                size=run.config.chip_shape[0], batch=run.batch_size, chips=config.epochs * chips, seed=seed,
            )  # fmt: skip
        return {"scores": _report(score, run)}
    if method == "plain loop":
        from geoseg.learning.scoring import Score

        network = train_plainly(
            run.model.network, pictures(known), steps=config.epochs * -(-chips // run.batch_size),
            batch=run.batch_size, chip=run.config.chip_shape[0], rate=1e-3, seed=seed, bf16=run.precision == "bf16",
        )  # fmt: skip
        total = Score.nothing(test[0].channels)
        for pair in test:
            total += run.scorer.image(network, pair)
        return {"scores": _report(total, run)}
    features = {"forest": alone, "forest, 7 px": surrounded}[method]
    forest = Forest(features, seed).fit(pictures(known))
    return {"scores": _report(scored(forest, test, kinds=kinds), run)}


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(each.ru_utime + each.ru_stime for each in used), 1)


def run_cells(
    names: Iterable[str],
    methods: Iterable[str],
    results: Path,
    *,
    parts: Iterable[str] | None,
    models: Path | None,
) -> None:
    """Make the cells that are not there, one after the other."""
    from protocols import PROTOCOLS

    cells = [
        (name, part, method)
        for name in names
        for part in PROTOCOLS[name].parts
        for method in methods
        if method not in PROTOCOLS[name].without and (parts is None or part in parts)
    ]
    make(cells, results, "cell", *(["--models", str(models)] if models else []))


_KEYS = {"cell": ("set", "part", "method"), "curve": ("set", "count", "seed", "method")}
"""What a cell is, by the command that makes it."""


def make(cells: Iterable[tuple[str, ...]], results: Path, command: str, *options: str) -> None:
    """Make cells that are not in a file of results, each in a process on one thread, and append them to it."""
    results.parent.mkdir(parents=True, exist_ok=True)
    done = {tuple(str(each[key]) for key in _KEYS[command]) for each in read(results)}
    left = [each for each in cells if each not in done]
    for number, each in enumerate(left, start=1):
        print(f"{number} of {len(left)}: {', '.join(each)}", file=sys.stderr, flush=True)
        run = subprocess.run(
            [sys.executable, __file__, command, *each, *options],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if run.returncode:
            print(f"failed: {(run.stderr.strip().splitlines() or ['no output'])[-1]}", file=sys.stderr)
            continue
        with results.open("a") as file:
            file.write(run.stdout.strip().splitlines()[-1] + "\n")


def read(results: Path) -> list[dict[str, Any]]:
    """Read what has been made."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def value(report: Mapping[str, Any], path: str) -> float:
    """Find a score in a report by its path."""
    found: Any = report
    for name in path.split("/"):
        found = found[name]
    return float(found)


def pooled(found: Iterable[Mapping[str, Mapping[str, int]]]) -> float:
    """Return the mean IoU of the counts of several parts added up, as `geoseg train --folds` does."""
    sums: dict[str, dict[str, int]] = {}
    for each in found:
        for name, counts in each.items():
            total = sums.setdefault(name, dict.fromkeys(COUNTS, 0))
            for kind in COUNTS:
                total[kind] += counts[kind]
    return statistics.mean(
        total["right"] / (total["predicted"] + total["labelled"] - total["right"]) for total in sums.values()
    )


def table(results: Path) -> str:
    """Tabulate scores as Markdown: a row for each set, a column for each method.

    In bold is the best of a row on the parts for which all its methods were made.
    """
    from protocols import PROTOCOLS

    lines = [f"| set | score | {' | '.join(METHODS)} |", "|---|---|" + "---|" * len(METHODS)]
    made = read(results)
    for name, protocol in PROTOCOLS.items():
        found = {
            method: [each for each in made if (each["set"], each["method"]) == (name, method)]
            for method in METHODS
        }
        if not any(found.values()):
            continue
        common = set.intersection(*({each["part"] for each in cells} for cells in found.values() if cells))
        means = {
            method: _mean([each for each in cells if each["part"] in common], protocol.score)
            for method, cells in found.items()
            if cells and common
        }
        cells = [
            said(
                found[method],
                protocol.score,
                protocol.parts,
                folds=protocol.folds,
                best=bool(means) and means.get(method) == max(means.values()),
            )
            for method in METHODS
        ]
        lines.append(f"| {name} | {protocol.score} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(found: Iterable[Mapping[str, Any]], score: str) -> float:
    return round(statistics.mean(value(each["scores"], score) for each in found), 3)


def said(
    found: Sequence[Mapping[str, Any]],
    score: str,
    parts: Collection[str] = (),
    *,
    folds: bool = False,
    best: bool = False,
) -> str:
    """Write the mean of a score, its deviation where there are several, the CPU seconds, and what is missing.

    Parameters
    ----------
    found : sequence of mapping
        Results of one method.
    score : str
        Path of the score that counts.
    parts : collection of str
        All parts of the set; those that were made are told where some are missing.
    folds : bool
        Whether the parts are folds, whose mean IoU is said pooled, too.
    best : bool
        Whether it is written in bold.
    """
    if not found:
        return ""
    words = []
    for key, prefix in (("scores", ""), ("with_symmetries", "`--tta` ")):
        values = [value(each[key], score) for each in found if key in each]
        if values:
            mean = f"{statistics.mean(values):.3f}"
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            together = ""
            if folds and len(values) == len(parts):
                together = f", pooled {pooled([each[key]['counts'] for each in found]):.3f}"
            words.append(f"{prefix}{f'**{mean}**' if best and not prefix else mean}{spread}{together}")
    seconds = f"{statistics.mean(each['cpu_seconds'] for each in found):.0f} s"
    only = f"{', '.join(each['part'] for each in found)}; " if len(found) < len(parts) else ""
    return f"{', '.join(words)} ({only}{seconds})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--sets", nargs="+")
    run.add_argument("--parts", nargs="+")
    run.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    curved = commands.add_parser("curves")
    curved.add_argument("--sets", nargs="+", default=["aberystwyth", "kampala"])
    curved.add_argument("--counts", nargs="+", type=int, default=[5, 10, 20, 40])
    curved.add_argument("--seeds", type=int, default=1)
    curved.add_argument("--results", type=Path, default=HERE / "curves.jsonl")
    one, point = commands.add_parser("cell"), commands.add_parser("curve")
    for command, parser_of in (("cell", one), ("curve", point)):
        for name in _KEYS[command]:
            parser_of.add_argument(name)
    for each in (run, one):
        each.add_argument("--models", type=Path)
    for each in (run, commands.add_parser("table")):
        each.add_argument("--results", type=Path, default=_RESULTS)
    chosen = parser.parse_args()
    if chosen.command in _KEYS:
        print(json.dumps(_line(chosen)))
    elif chosen.command == "curves":
        import curves
        from protocols import PROTOCOLS

        cells = itertools.product(
            chosen.sets, map(str, chosen.counts), map(str, range(chosen.seeds)), curves.METHODS
        )
        make(cells, chosen.results, "curve")
        print(curves.table(read(chosen.results), {name: each.score for name, each in PROTOCOLS.items()}))
    elif chosen.command == "run":
        from protocols import PROTOCOLS

        run_cells(
            chosen.sets or list(PROTOCOLS), chosen.methods, chosen.results,
            parts=chosen.parts, models=chosen.models,
        )  # fmt: skip
    else:
        print(table(chosen.results))


def _line(chosen: argparse.Namespace) -> dict[str, Any]:
    """Make the cell that the command line names."""
    with contextlib.redirect_stdout(io.StringIO()):
        if chosen.command == "cell":
            found = cell(chosen.set, chosen.part, chosen.method, chosen.models)
            found = {"cpu_seconds": _cpu_seconds(), **found}
        else:
            import curves

            chosen.count, chosen.seed = int(chosen.count), int(chosen.seed)
            found = curves.cell(chosen.set, chosen.count, chosen.seed, chosen.method)
    return {**{key: getattr(chosen, key) for key in _KEYS[chosen.command]}, **found}


if __name__ == "__main__":
    main()
