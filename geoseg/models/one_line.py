"""One line out of the many that other libraries say."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import ValidationError

from geoseg.storage.printable import printable, shown

_SHOWN = 80
"""Characters of a key or a value."""


def one_line(error: ValidationError, tags: Collection[str] = ()) -> str:
    """Say the first thing that is wrong as ``key.path: what``, and how many more there are.

    `tags` name the members of tagged unions, which pydantic puts into the path and no file has there.
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
    """Whether a part of a path is pydantic's name of a kind of value: one that may be a number or a word."""
    return part in ("int", "str", "float") or part.startswith(("constrained-", "literal[", "tuple["))


def _value(value: object) -> str:
    """Show a value of a file, cut short where it is long."""
    if isinstance(value, str):
        return shown(value, _SHOWN)
    text = printable(repr(value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def first_line(error: BaseException) -> str:
    """Return the first words of a foreign exception, short enough for one line."""
    text = " ".join(str(error).split()).strip("\"'") or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
