"""Output of commands while they work: a progress bar on a terminal, else a line now and then."""

from __future__ import annotations

from contextlib import AbstractContextManager

import click

from geoseg.errors import Text
from geoseg.progress import OnProgress, shown
from geoseg.storage.printable import printable

from .flags import spelled
from .verbosity import quiet


def say(text: Text) -> None:
    """Print a message for the user on stderr, so that stdout stays free for data."""
    if not quiet():
        click.echo(printable(spelled(text)), err=True)


def progress() -> AbstractContextManager[OnProgress | None]:
    """Return what yields the function to call while a command works: a bar, or lines where stderr is no terminal.

    With ``-q`` it yields None.
    """
    return shown(not quiet())
