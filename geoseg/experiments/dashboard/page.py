"""Write the page of a sweep: one HTML file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, Final

from geoseg.assessment.rendering import rendered
from geoseg.experiments.dashboard.contents import contents
from geoseg.experiments.dashboard.library import MISSING, drawing_library
from geoseg.experiments.table import DASHBOARD, SweepTable
from geoseg.storage.durable import write_bytes

_PACKAGE: Final = "geoseg.experiments.dashboard"
_SCRIPTS: Final = ("numbers.js", "elements.js", "charts.js", "table.js", "comparison.js", "dashboard.js")


def write_dashboard(folder: PathLike[str] | str) -> Path:
    """Write the page of a sweep, ``dashboard.html`` in its folder, as far as the sweep is; replaces an older one.

    Equal folders give equal pages. Without the package vl-convert-python the page has no charts, and says so.

    Parameters
    ----------
    folder : path
        Folder of the sweep.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        If the folder holds no sweep.
    OutputError
    """
    table = SweepTable.read(Path(folder))
    page = table.folder / DASHBOARD
    write_bytes(page, page_of(contents(table)).encode())
    return page


def page_of(found: dict[str, Any]) -> str:
    """Return the page that shows `contents`.

    Parameters
    ----------
    found : dict
        What it shows, JSON values.
    """
    from markupsafe import Markup

    here = files(_PACKAGE)
    library = drawing_library()
    own = "\n".join((here / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    scripts = [each for each in (library, f"(() => {{\n{own}\n}})();") if each is not None]
    data = json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    values = {
        "name": found["name"],
        "made": found["made"],
        "missing": None if library is not None else MISSING,
        # In a script element only this character could end it.
        "data": Markup(data.replace("<", "\\u003c")),  # noqa: S704 - inert JSON
        "scripts": [Markup(script) for script in scripts],  # noqa: S704 - the package's own
        "allowed": Markup(" ".join(map(_digest, scripts))),  # noqa: S704 - checksums
        "look": Markup((here / "dashboard.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
    }
    return rendered("page.html.j2", values, package=_PACKAGE)


def _digest(script: str) -> str:
    """Return a script's checksum: the browser runs no script but those whose checksum the page names."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
