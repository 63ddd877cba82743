"""``-v`` and ``-q``: how much of the library's log is shown on stderr."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from geoseg.errors import GeosegError, Message
from geoseg.storage.printable import printable

from .flags import remember_command, spelled

_KEY = "geoseg.verbosity"
_LEVELS = {-1: logging.ERROR, 0: logging.INFO, 1: logging.DEBUG, 2: logging.DEBUG}

Function = TypeVar("Function", bound=Callable[..., Any])


class _Stderr(logging.Handler):
    """Writes log lines to stderr, above a progress bar; keywords in them become flags."""

    def __init__(self, ctx: click.Context) -> None:
        super().__init__()
        self._ctx = ctx  # other threads have no current context

    def emit(self, record: logging.LogRecord) -> None:
        text = spelled(record.msg, self._ctx)
        if isinstance(record.args, tuple) and record.args:
            text %= tuple(
                spelled(each, self._ctx) if isinstance(each, Message | GeosegError) else each
                for each in record.args
            )
        elif record.args:
            text = record.getMessage()
        text = printable(text)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.capitalize()}: {text}"
        tqdm = sys.modules.get("tqdm")  # not loaded: no bar is drawn
        if tqdm is None:
            click.echo(text, err=True)
        else:
            tqdm.tqdm.write(text, file=sys.stderr)


def verbosity(ctx: click.Context) -> int:
    """Return how often ``-v`` was given minus how often ``-q``, on the group and the command together."""
    return int(ctx.meta.get(_KEY, 0))


def quiet() -> bool:
    """Return whether the running command was asked to print only errors."""
    return verbosity(click.get_current_context()) < 0


def verbosity_options(function: Function) -> Function:
    """Add ``-v`` and ``-q``, which configure logging and pass no parameter on."""
    louder = click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=_change(1),
        help="Print more; -vv also shows tracebacks.",
    )  # fmt: skip
    quieter = click.option(
        "-q", "--quiet", count=True, expose_value=False, callback=_change(-1), help="Print only errors."
    )
    return louder(quieter(function))


def _change(sign: int) -> Callable[[click.Context, click.Parameter, int], None]:
    def callback(ctx: click.Context, param: click.Parameter, count: int) -> None:  # noqa: ARG001
        ctx.meta[_KEY] = verbosity(ctx) + sign * count
        remember_command(ctx)
        _log(ctx)

    return callback


def _log(ctx: click.Context) -> None:
    """Send the log of geoseg to stderr at the requested level, until the command ends."""
    level = max(-1, min(verbosity(ctx), 2))
    logger = logging.getLogger("geoseg")
    handler = ctx.meta.get(f"{_KEY}.handler")
    if handler is None:
        handler = ctx.meta[f"{_KEY}.handler"] = _Stderr(ctx)
        logger.addHandler(handler)
        ctx.find_root().call_on_close(partial(logger.setLevel, logger.level))
        ctx.find_root().call_on_close(partial(logger.removeHandler, handler))
    logger.setLevel(_LEVELS[level])
    if level == 2:
        warnings.simplefilter("default")
