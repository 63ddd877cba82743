"""What is installed, and what the model would run on: plain values for `geoseg info`."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any


def describe_versions() -> dict[str, Any]:
    """List the versions of everything a result depends on and, where no GPU is used, say why."""
    import pyproj
    import rasterio
    import shapely

    from geoseg.vector.ogr import pyogrio

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
    """Installed version of every package geoseg asks for."""
    found = {}
    for requirement in requires("geoseg") or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return dict(sorted(found.items()))


def _compute() -> dict[str, Any]:
    """Say what the model would run on when everything is left on auto."""
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
