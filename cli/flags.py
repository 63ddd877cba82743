"""Messages of the library in the words of the command line: its keywords become the flags of the command that ran."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

import click

from geoseg.errors import written
from geoseg.storage.printable import shown

_COMMAND: Final = "geoseg.command"
_OTHERWISE: Final = {"resume": "--fresh", "output": "-o"}
"""Flags that differ from their keyword, or whose short form is usual."""


def remember_command(ctx: click.Context) -> None:
    """Remember the command whose options are parsed, since errors are reported after its context has ended."""
    ctx.meta[_COMMAND] = ctx.command


def spelled(thing: object, ctx: click.Context | None = None) -> str:
    """Return the text of anything; keywords in messages and errors of geoseg become flags.

    Parameters
    ----------
    thing : object
        A message, an error, or any other object.
    ctx : click.Context, optional
        Context of the running command or of a group above it; by default the current one.
    """
    ctx = ctx or click.get_current_context(silent=True)
    command = None if ctx is None else ctx.meta.get(_COMMAND, ctx.command)
    return written(thing, partial(_as_flag, command))


def _as_flag(command: click.Command | None, name: str, value: object) -> str:
    """Format a keyword as a flag: ``--overwrite``, ``--alpha none``, ``--bands 3,2,1``."""
    flag = flag_of(command, name)
    if value is None or isinstance(value, bool):
        return flag
    text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    # Quoted where the shell would see several words, and where a terminal would obey.
    return f"{flag} {shown(text, len(text)) if re.search(r'[^!-~]', text) else text}"


def flag_of(command: click.Command | None, name: str) -> str:
    """Return the flag of a keyword: the command's option of this name, else the name with dashes."""
    if name in _OTHERWISE:
        return _OTHERWISE[name]
    for option in () if command is None else command.params:
        if isinstance(option, click.Option) and option.name == name:
            return max(option.opts, key=len)
    return "--" + name.replace("_", "-")
