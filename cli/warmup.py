"""``geoseg warmup``: what is compiled at the first use, compiled now."""

from __future__ import annotations

import time

import click

from .messages import say
from .options import examples
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg warmup",
    )
)
@verbosity_options
def command() -> None:
    """Compile now what else is compiled at its first use.

    For images and installations that are only read: run it once as they are built. The kernels are kept in the folder
    that NUMBA_CACHE_DIR names, else beside the modules, else in your home.
    """
    from geoseg.inference.warm_up import warm_up

    started = time.perf_counter()
    folder = warm_up()
    say(f"Compiled kernels are in {folder} ({time.perf_counter() - started:.1f} s)")
