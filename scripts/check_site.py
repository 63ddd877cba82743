"""Check the links of a built site: ``python scripts/check_site.py build/docs``.

Every link, picture, style sheet and script of its own must be there, and every ``#place`` must be a place of the page.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag links to and what it is called."""
        values = {key: value for key, value in attrs if value}
        self.places |= {values[key] for key in ("id", "name") if key in values and tag != "meta"}
        self.links |= {values[key] for key in ("href", "src") if key in values}


def broken(site: Path) -> list[str]:
    """Return a line for each link of a site that leads nowhere.

    Parameters
    ----------
    site : Path
        Folder of the HTML files.
    """
    paths = (
        path for path in site.rglob("*.html") if "_static" not in path.parts
    )  # the theme's own templates
    pages = {path.resolve(): Page(path) for path in paths}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            place = unquote(parts.fragment)
            if not target.exists():
                found.append(f"{path.relative_to(site.resolve())}: {link} is not there")
            elif place and target in pages and place not in pages[target].places:
                found.append(f"{path.relative_to(site.resolve())}: {link} names no place of that page")
    return found


def main() -> None:
    """Say what is broken; the exit code is 1 then."""
    site = Path(sys.argv[1])
    lines = broken(site)
    print(*lines, f"{len(list(site.rglob('*.html')))} pages, {len(lines)} broken links", sep="\n")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
