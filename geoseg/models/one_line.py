"""One line out of pydantic's many."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import ValidationError


def one_line(error: ValidationError, tags: Collection[str] = ()) -> str:
    """Say the first thing that is wrong as ``key.path: what``, and how many more there are.

    `tags` name the members of tagged unions, which pydantic puts into the path and no file has there.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"] if part not in tags)
    what = first["msg"].removeprefix("Value error, ").replace("\n", " ")
    what = what[:1].lower() + what[1:] if what[1:2].islower() else what
    if first["type"] == "extra_forbidden":
        what = "is not a known key; remove it or correct its spelling"
    elif first["type"] == "missing":
        what = "is missing"
    elif first["type"] == "union_tag_invalid":
        tag = first["ctx"]
        what = (
            f"{tag['discriminator'].strip(chr(39))} is {tag['tag']!r}, expected one of {tag['expected_tags']}"
        )
    elif not isinstance(first["input"], dict | list | tuple):
        what += f", found {first['input']!r}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}: {what}{more}" if where else f"{what}{more}"
