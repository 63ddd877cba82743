"""``geoseg info``: describe a file, or the installation."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

import click

from geoseg.storage.printable import json_text, printable

from .options import allow_remote, examples, resolution, stack
from .scenes import listed
from .values import SCENE_FILE
from .verbosity import verbosity_options

_ROW = 5
"""A mapping of at most this many values is shown as a table row."""


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

    PATH may be a URL, or the folder of a Sentinel-2 or Landsat product. Without PATH: the versions of all packages
    and, if no GPU is used, why.
    """
    from geoseg.assessment.describe import describe

    (scene,) = listed(() if path is None else (path,), stack) if path or stack else (None,)
    if scene is None:
        description = describe_versions()
    else:
        description = describe(scene, resolution=resolution, allow_remote=allow_remote)
    if as_json:
        click.echo(json_text(description))
    else:
        # Escape line breaks in names.
        click.echo("\n".join(printable(line.replace("\n", "\\n")) for line in _lines(description)))


def _lines(description: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Format a description as ``key  value`` lines, nested ones indented, lists of mappings as rows."""
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


def describe_versions() -> dict[str, Any]:
    """Return the versions of all packages that results depend on, and why no GPU is used, if so."""
    import pyproj
    import rasterio
    import shapely

    from geoseg.vectorfiles.ogr import pyogrio

    return {
        "kind": "installation",
        "geoseg": version("geoseg"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(),
        "libraries": {
            "GDAL of rasterio": rasterio.__gdal_version__,
            "GDAL of pyogrio": pyogrio.__gdal_version_string__,
            "GEOS": shapely.geos_version_string,
            "PROJ": pyproj.proj_version_str,
        },
        "compute": _compute(),
    }


def _packages() -> dict[str, str]:
    """Return the installed version of every package that geoseg requires."""
    found = {}
    for requirement in requires("geoseg") or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return dict(sorted(found.items()))


def _compute() -> dict[str, Any]:
    """Return the device and precision that ``auto`` chooses here."""
    from geoseg.engine.devices import gpu_names, why_no_gpu
    from geoseg.engine.settings import Settings

    auto = Settings.choose("auto", "auto", 1, (1, 1))
    reason = why_no_gpu()
    return {
        "device": auto.device,
        "precision": auto.precision,
        "threads": auto.threads,
        "gpus": gpu_names(),
        **({} if reason is None else {"no GPU because": reason}),
    }
