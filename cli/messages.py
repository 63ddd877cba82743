"""What a command shows while it works: a bar on a terminal, in a log file a line now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from geoseg.storage.printable import printable

from .verbosity import quiet

if TYPE_CHECKING:
    from geoseg.inference.options import Progress


def say(text: str) -> None:
    """Print what a person wants to know at the end; on stderr, so that stdout stays for data."""
    if not quiet():
        click.echo(printable(text), err=True)


def watched() -> bool:
    """Whether a person looks on: stderr is a terminal, and ``-q`` was not given."""
    return not quiet() and sys.stderr.isatty()


@contextmanager
def progress() -> Iterator[Progress | None]:
    """Yield a function that draws a bar, or says a line every 30 s where stderr is no terminal; None with ``-q``."""
    if quiet():
        yield None
        return
    if not watched():
        yield lines()
        return
    from tqdm import tqdm

    # No rate: a resumed run starts far along, and rows are not what a person counts in.
    layout = "{l_bar}{bar}| {elapsed}<{remaining}"
    with tqdm(file=sys.stderr, leave=False, bar_format=layout, **_size()) as bar:

        def draw(done: int, total: int, label: str) -> None:
            if bar.desc != f"{printable(label)}: ":
                bar.set_description(printable(label), refresh=False)
                bar.reset(total=total)
            bar.n = done
            bar.refresh()

        yield draw


def _size() -> dict[str, Any]:
    """Let a bar be as wide as the terminal; for one that does not say how wide it is tqdm would draw nothing."""
    with suppress(OSError, ValueError):
        if os.get_terminal_size(sys.stderr.fileno()).columns == 0:
            return {"ncols": 80, "nrows": 24}
    return {"dynamic_ncols": True}


_EVERY = 30.0
"""Seconds between two lines."""


def lines(clock: Callable[[], float] = time.monotonic) -> Progress:
    """Return a function that says how far the work is, every 30 s."""
    said = clock()

    def tell(done: int, total: int, label: str) -> None:
        nonlocal said
        if clock() - said >= _EVERY:
            said = clock()
            say(f"{label}: {done / max(total, 1):.0%}")

    return tell
