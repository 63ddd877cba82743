"""``geoseg cache``: what is kept of models to start faster."""

from __future__ import annotations

import click

from .messages import say
from .options import examples
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg cache",
        "geoseg cache --clear",
    )
)
@click.option("--clear", is_flag=True, help="Remove all that is kept.")
@verbosity_options
def command(*, clear: bool) -> None:
    """Show or remove converted networks.

    A model's network is converted at its first prediction on a CPU, for each size of tiles. The folder is the one that
    GEOSEG_CACHE_DIR names, else that of your system for such files; it holds 2 GB at most, and what was not used for
    longest goes first.
    """
    from geoseg.models.graphs import cache_folder, kept_graphs, trim

    kept = kept_graphs()
    size = sum(each for _, each in kept) / 1e6
    if clear:
        trim(0)
        say(f"{cache_folder()}: removed {len(kept):,} converted networks, {size:,.0f} MB")
        return
    say(f"{cache_folder()}: {len(kept):,} converted networks, {size:,.0f} MB")
