"""``geoseg cache``: show or clear the cache of converted networks."""

from __future__ import annotations

import click

from geoseg.errors import plural

from .messages import say
from .options import examples
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg cache",
        "geoseg cache --clear",
    )
)
@click.option("--clear", is_flag=True, help="Remove all cached networks.")
@verbosity_options
def command(*, clear: bool) -> None:
    """Show or clear the cache of converted networks.

    The first prediction with a model on a CPU converts its network, once for each tile size. The folder is named by
    GEOSEG_CACHE_DIR, else it is your system's cache folder; it holds at most 2 GB, and the least recently used
    networks are removed first.
    """
    from geoseg.models.graphs import cache_folder, kept_graphs, trim

    kept = kept_graphs()
    size = sum(each for _, each in kept) / 1e6
    if clear:
        trim(0)
        say(f"{cache_folder()}: removed {plural(len(kept), 'converted network')}, {size:,.0f} MB")
        return
    say(f"{cache_folder()}: {plural(len(kept), 'converted network')}, {size:,.0f} MB")
