"""Pages from templates: one style, everything escaped, nothing loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

_PACKAGE: Final = "geoseg.assessment"
_STYLE: Final = "report/page.css"


def rendered(
    template: str,
    contents: Mapping[str, Any],
    filters: Mapping[str, Callable[..., str]] | None = None,
    package: str = _PACKAGE,
) -> str:
    """Fill a template; every value is escaped.

    Parameters
    ----------
    template : str
        Its path in the package.
    contents : mapping of str to any
        Its values.
    filters : mapping of str to callable, optional
        Functions that format values, by the names that the template has for them.
    package : str
        Package that holds the template.
    """
    from importlib.resources import files

    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    # Everything is escaped except the package's own drawings.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= dict(filters or {})
    style = Markup((files(_PACKAGE) / _STYLE).read_text(encoding="utf-8"))  # noqa: S704 - ours
    source = (files(package) / template).read_text(encoding="utf-8")
    return environment.from_string(source).render({"style": style, **contents})
