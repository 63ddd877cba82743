"""``geoseg warmup``: compile kernels now instead of at their first use."""

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
    """Compile kernels now instead of at their first use.

    For container images and read-only installations: run it once when they are built. The kernels are stored in
    the folder named by NUMBA_CACHE_DIR, else beside the modules, else in your home folder.
    """
    from geoseg.assessment.coverage.warm_up import compile_kernels
    from geoseg.inference.warm_up import warm_up

    started = time.perf_counter()
    folder = warm_up()
    compile_kernels()
    say(f"Compiled kernels are in {folder} ({time.perf_counter() - started:.1f} s)")
