"""``geoseg info``: what a file is, or what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from geoseg.storage.printable import json_text, printable

from .options import allow_remote, examples, resolution, stack
from .scenes import listed
from .values import SCENE_FILE
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg info scene.tif",
        "geoseg info S2A_MSIL2A_20240501T100031.SAFE",
        "geoseg info model.safetensors --json",
        "geoseg info",
    )
)
@click.argument("path", required=False, type=SCENE_FILE)
@stack
@resolution
@allow_remote
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity_options
def command(
    path: str | None, stack: tuple[str, ...], resolution: float | None, allow_remote: bool, as_json: bool
) -> None:
    """Describe a scene, model file, class map or vector file.

    PATH may be a URL, or a folder of a product of Sentinel-2 or Landsat. Without PATH: the versions of everything
    and, where no GPU is used, why.
    """
    from geoseg.assessment.describe import describe
    from geoseg.assessment.installation import describe_versions

    (scene,) = listed(() if path is None else (path,), stack) if path or stack else (None,)
    if scene is None:
        description = describe_versions()
    else:
        description = describe(scene, resolution=resolution, allow_remote=allow_remote)
    if as_json:
        click.echo(json_text(description))
    else:
        # Line ends in a name would make lines of their own.
        click.echo("\n".join(printable(line.replace("\n", "\\n")) for line in _lines(description)))


_ROW = 5
"""A mapping of at most this many values is a row of a table."""


def _lines(description: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Lay a description out as ``key  value`` lines, nested ones indented, lists of mappings as rows."""
    width = max((len(key) for key in description), default=0)
    for key, value in description.items():
        if isinstance(value, dict):
            yield f"{indent}{key}"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            yield f"{indent}{key}"
            for item in value:
                if len(item) <= _ROW:
                    yield f"{indent}  {'  '.join(map(_text, item.values()))}"
                else:
                    yield from _lines(item, indent + "  ")
        else:
            yield f"{indent}{key:<{width}}  {_text(value)}"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, dict):
        return " ".join(f"{k}={_text(v)}" for k, v in value.items())
    return str(value)
