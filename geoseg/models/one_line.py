"""Shorten the errors of other libraries to one line."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import ValidationError

from geoseg.storage.printable import printable, shown

_SHOWN = 80
"""Maximum number of characters of a key or a value."""


def one_line(error: ValidationError, tags: Collection[str] = ()) -> str:
    """Describe the first validation error as ``key.path: message``, and how many more there are.

    `tags` are the names of the members of tagged unions, which pydantic adds to the path though they are not in
    files.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    path = [str(part)[:_SHOWN] for part in first["loc"] if part not in tags and not _is_kind(str(part))]
    where = printable(".".join(path))
    what = first["msg"].removeprefix("Value error, ").replace("\n", " ")
    what = what[:1].lower() + what[1:] if what[1:2].islower() else what
    if first["type"] == "extra_forbidden":
        what = "is not a known key; remove it or correct its spelling"
    elif first["type"] == "missing":
        what = "is missing"
    elif first["type"] == "union_tag_invalid":
        tag = first["ctx"]
        what = f"{tag['discriminator'].strip(chr(39))} is {_value(tag['tag'])}, expected one of {tag['expected_tags']}"
    elif not isinstance(first["input"], dict | list | tuple):
        what += f", found {_value(first['input'])}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}: {what}{more}" if where else f"{what}{more}"


def _is_kind(part: str) -> bool:
    """Return whether a part of a path is pydantic's name for a type, as for values that may be a number or a
    word.
    """
    return part in ("int", "str", "float") or part.startswith(("constrained-", "literal[", "tuple["))


def _value(value: object) -> str:
    """Format a value of a file, shortened if it is long."""
    if isinstance(value, str):
        return shown(value, _SHOWN)
    text = printable(repr(value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def first_line(error: BaseException) -> str:
    """Return the message of any exception, shortened to one line."""
    text = " ".join(str(error).split()).strip("\"'") or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
