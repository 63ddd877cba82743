"""Look into the built wheel (`make test-wheel`): what a user gets must hold all that the tree has."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def expected() -> set[str]:
    """Names inside the wheel of everything that is part of the product."""
    modules = {str(p.relative_to(ROOT)) for p in ROOT.glob("geoseg/**/*.py")}
    commands = {str(Path("geoseg_cli", p.relative_to(ROOT / "cli"))) for p in ROOT.glob("cli/**/*.py")}
    data = {str(p.relative_to(ROOT)) for p in ROOT.glob("geoseg/*/data/*") if p.is_file()}
    pages = {
        str(p.relative_to(ROOT)) for form in ("j2", "css", "js") for p in ROOT.glob(f"geoseg/**/*.{form}")
    }
    profiles = {str(p.relative_to(ROOT)) for p in ROOT.glob("geoseg/**/profiles/*.yaml")}
    return modules | commands | data | pages | profiles | {"geoseg/py.typed"}


def main(folder: Path) -> None:
    (wheel,) = folder.glob("geoseg-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    inside = {n for n in names if ".dist-info/" not in n}
    missing, extra = sorted(expected() - inside), sorted(inside - expected())
    if missing or extra:
        sys.exit(f"{wheel.name} lacks {missing} and has {extra} beyond the tree")
    if not any(n.endswith("licenses/LICENSE") for n in names):
        sys.exit(f"{wheel.name} lacks the licence")
    print(f"{wheel.name}: {len(inside)} files, {wheel.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
