"""One flag, one meaning: docs/command-line-flags.md lists them all, and is made of the commands."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import click

from tests.cli.test_main import every_command

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "command-line-flags.md"

SEVERAL = {
    "--output": "says what each command writes",
    "--profile": "shows where a run's time goes; of a polygon map it is what is expected",
    "--class-field": "is an attribute of labels, and in a profile of polygon maps there may be another one",
    "--legend": "says what counts without it, which is each command's own",
    "--layer": "is one layer where one is read, and may be repeated where several are",
    "--band": "vectorize looks for the only band where none is named, labels have their first",
    "--bands": "are those of a scene in the model's order, or name them for a new model",
    "--classes": "are a model's, or those of labels: each says what counts without it",
    "--tile-size": "is the model's own where it is made, and another one where it is used",
    "--overlap": "is the model's own where it is made, and another one where it is used",
    "--precision": "an exported graph computes in fewer than a device",
    "--grid": "is the pixels of a map, or the values that a sweep tries",
    "--like": "is a raster whose grid counts; each says what counts without it",
    "--seed": "what is random is the weights of a new model, or the points of a sample",
    "--confidence": "is the confidence of a map, which polygons average and an evaluation checks",
    "--labels": "are what int8 is compared by, what a temperature is fitted to, or what check looks at",
    "--reference": "is labels of the same ground; an evaluation of several maps takes one for each",
    "--workers": "are threads that draw polygons, processes that compute cells of a map, or trials that run at once",
    "--resolution": "is the pixel of a new grid, or the one that files of several are brought to",
}
"""Flags whose text or type is not the same in all commands, and why that is still one meaning."""


def flags() -> dict[str, dict[tuple[str, str], list[str]]]:
    """Commands by flag, and by what each says of it: its values and its help."""
    found: dict[str, dict[tuple[str, str], list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, command in every_command():
        with click.Context(command) as ctx:
            for option in command.params:
                if isinstance(option, click.Option):
                    said = (
                        option.make_metavar(ctx) if not option.is_flag and not option.count else "",
                        str(option.help),
                    )
                    found[max(option.opts, key=len)][said].append(" ".join(path) or "geoseg")
    return found


def page() -> str:
    """The page as it should be."""
    lines = [
        "# The flags of the command line",
        "",
        "Made of the commands themselves by `python -m tests.cli.test_flags`; a test keeps it true.",
        "",
        "| flag | values | commands | meaning |",
        "|---|---|---|---|",
    ]
    for flag, said in sorted(flags().items()):
        if flag == "--help":
            continue
        for (values, text), commands in said.items():
            where = ", ".join(commands) if len(commands) < 12 else "all"
            cells = (f"`{flag}`", f"`{values}`" if values else "", where, text)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def test_the_page_of_flags_is_that_of_the_commands() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.cli.test_flags"


def test_a_flag_says_the_same_in_every_command() -> None:
    assert {flag for flag, said in flags().items() if len(said) > 1} == set(SEVERAL)


def test_rio_starts_geoseg_as_it_starts_itself() -> None:
    """In a process of its own: GDAL is open in rio's, and what a VRT hides would be followed."""
    script = "; ".join(
        (
            "import sys, geoseg_cli.rio as rio",
            "sys.argv = ['rio', 'geoseg']",
            "rio.command.main(['completion', 'ksh'], standalone_mode=False)",
        )
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Invalid value for '{bash|zsh|fish}'")
    plugins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "rasterio.rio_plugins"
    ]
    assert plugins == {"geoseg": "geoseg_cli.rio:command"}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
