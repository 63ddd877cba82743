"""``geoseg sweep``: train a configuration with values that vary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.errors import plural

from .messages import progress, say
from .options import changes, examples, folds, output, skip_bad
from .train import consented
from .verbosity import verbosity_options

if TYPE_CHECKING:
    import pandas as pd

    from geoseg.experiments.table import SweepTable

_SHOWN = 10
"""Most configurations that are printed."""


@click.command(
    epilog=examples(
        "geoseg sweep config.yaml -o sweeps/loss --grid 'train.loss=ce,dice,ce + dice'",
        "geoseg sweep config.yaml -o sweeps/two --grid model.encoder=resnet18,resnet34 --grid train.loss=ce,dice",
        "geoseg sweep config.yaml -o sweeps/stages --stages examples/sweeps/roofs.yaml --seeds 2 --budget 3h",
    )
)
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@output("Folder of the sweep; the same command goes on where it stopped.", "DIR")
@click.option(
    "--grid", multiple=True, metavar="KEY=VALUE,VALUE",
    help="Values of a setting, of which every combination is trained; may be repeated.",
)  # fmt: skip
@changes
@click.option(
    "--random", type=click.IntRange(min=1), metavar="N", help="Draw N combinations of the grid at random."
)
@click.option(
    "--optuna", type=click.IntRange(min=1), metavar="N",
    help="Let Optuna propose N configurations, each from the results before it.",
)  # fmt: skip
@click.option("--prune", is_flag=True, help="With --optuna: stop trials below the median of the ones before.")
@click.option(
    "--stages", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="Stages in place of a grid (YAML), each of which keeps the best of the ones before.",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, metavar="N",
    help="Seeds of each configuration, which is scored by the mean over them.",
)  # fmt: skip
@folds
@click.option(
    "--halving", type=click.IntRange(min=2), metavar="N",
    help="Successive halving: one of N configurations goes on, the others are pruned early.",
)  # fmt: skip
@click.option(
    "--budget", metavar="TIME", help="Stop after this time, as 90m or 2h; the same command goes on."
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N",
    help="Trials at once on this machine, which share its cores and GPUs; 1 by default.",
)  # fmt: skip
@click.option(
    "--scheduler", metavar="ADDRESS|FILE.json", help="Compute on the cluster of this dask scheduler."
)
@click.option(
    "--reveal-test", is_flag=True,
    help="At the end, score the best configuration on the test images, which no trial looks at.",
)  # fmt: skip
@skip_bad
@verbosity_options
def command(config: str, output: Path, changes: tuple[str, ...], folds: Any, **chosen: Any) -> None:
    """Train a configuration with values that vary, and compare.

    CONFIG is a YAML file as geoseg train takes it. Each trial is a process of its own. One that fails is marked with
    its reason, and the others go on (exit code 3). After a kill the same command goes on; more values or seeds only run
    what is new.
    """
    say(f"Sweeping {config}")
    from geoseg.experiments.configuration import Base
    from geoseg.experiments.run import SweepOptions, run_sweep
    from geoseg.experiments.table import SweepTable

    base = Base(source=config, changes=changes, folds=folds)
    consented(base.config())
    with progress() as bar:
        swept = run_sweep(base, output, SweepOptions(**chosen), bar)
    table = SweepTable.read(output)
    for line in _lines(table):
        say(line)
    if swept.failed:
        say(f"{plural(len(swept.failed), 'trial')} failed: {', '.join(swept.failed)}")
    if not swept.whole:
        say("The time was over before all was done; the same command goes on")
    say(f"Wrote {output / 'leaderboard.csv'}, {output / 'results.parquet'}")
    if swept.failed:
        raise click.exceptions.Exit(3)


def _lines(table: SweepTable) -> Iterator[str]:
    """Yield the best configurations with mean and range, the stages' decisions, and test scores once revealed."""
    from geoseg.experiments.leaderboard import of_table

    board = of_table(table)
    board = board[board["count"] > 0]
    if len(board):
        yield f"{table.score}, mean of the seeds, lowest and highest:"
    for row in board.head(_SHOWN).to_dict("records"):
        values = ", ".join(f"{path}={row[f'param/{path}']}" for path in table.parameters)
        yield (
            f"  {row['mean']:.4f}  {row['min']:.4f} to {row['max']:.4f}  of {row['count']}  "
            f"{values or 'the configuration'}"
        )
    if len(board) > _SHOWN:
        yield f"  and {len(board) - _SHOWN} more in leaderboard.csv"
    for decision in table.decisions:
        yield f"Stage {decision.stage}: {decision.said}"
    column = table.score.replace("val/", "test/", 1)
    if column in table.rows.columns:
        yield from _revealed(table.best_rows(), column)


def _revealed(best: pd.DataFrame, column: str) -> Iterator[str]:
    found = best[best[column].notna()]
    scores = ", ".join(
        f"{name} {score:.4f}" for name, score in zip(found["trial"], found[column], strict=True)
    )
    yield f"{column} of the best configuration: mean {found[column].mean():.4f} ({scores})"
