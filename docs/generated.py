"""Pages of the site that are made from the code: commands, Python names, the notebook, and pages of the root.

They lie in docs/generated/, which is not committed.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from geoseg_cli.main import group

import geoseg

ROOT = Path(__file__).parents[1]
FOLDER = "generated"
OF_THE_ROOT = ("ARCHITECTURE", "CONTRIBUTING", "SECURITY")
_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)


def write_all(docs: Path) -> None:
    """Write every generated page; one that did not change keeps its date."""
    folder = docs / FOLDER
    folder.mkdir(exist_ok=True)
    for name, text in {
        "api.md": api_page(),
        "commands.md": commands_page(),
        "notebook.md": notebook_page(folder),
        **{f"{name.lower()}.md": of_the_root(f"{name}.md") for name in OF_THE_ROOT},
    }.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def api_page() -> str:
    """Return the page of the Python names: every name of ``geoseg.__all__`` with its docstring."""
    names = [name for name in geoseg.__all__ if name != "__version__"]
    kinds: list[tuple[str, str, Callable[[Any], bool]]] = [
        ("Functions", "autofunction", inspect.isroutine),
        ("Classes", "autoclass", lambda value: inspect.isclass(value) and not issubclass(value, Exception)),
        ("Errors", "autoexception", lambda value: inspect.isclass(value) and issubclass(value, Exception)),
    ]
    parts = [
        "# Python\n\nWhat `import geoseg` offers. Every name is imported when it is first used, so that "
        "`import geoseg` itself takes no time. What the command line writes is what these functions return."
    ]
    listed: set[str] = set()
    for title, directive, belongs in kinds:
        chosen = [name for name in names if belongs(getattr(geoseg, name))]
        listed.update(chosen)
        if chosen:
            parts.append(f"## {title}")
        for name in chosen:
            members = ":members:\n" if directive == "autoclass" else ""
            parts.append(f"### {name}\n\n```{{eval-rst}}\n.. {directive}:: geoseg.{name}\n   {members}```")
    left = set(names) - listed
    if left:
        raise ValueError(
            f"neither functions nor classes: {', '.join(sorted(left))}; add a kind to docs/generated.py"
        )
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    """Return the page of the command line: every command as its ``--help`` says it, options in a table."""
    parts = [
        "# The command line\n\n`geoseg COMMAND --help` says the same in a terminal. Exit codes: 0 done, 1 error, "
        "2 usage, "
        "3 done with areas or scenes that could not be read, or with errors in a map that was checked, "
        "4 output exists or is in use, 130 and 143 interrupted. "
        "`geoseg completion bash` prints what makes the Tab key complete commands and options."
    ]
    waiting: list[tuple[str, click.Command]] = [("geoseg", group)]
    while waiting:
        name, command = waiting.pop(0)
        context = click.Context(command, info_name=name)
        if isinstance(command, click.Group):
            found = [
                (f"{name} {each}", command.get_command(context, each))
                for each in command.list_commands(context)
            ]
            waiting = [(title, each) for title, each in found if each is not None] + waiting
        if name != "geoseg":
            parts.append(_command(name, command, context))
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: click.Command, context: click.Context) -> str:
    """Return the part of one command."""
    said = inspect.cleandoc(command.help or "").replace("\b\n", "")
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"## {name}", _escaped(said), f"```text\n{usage}\n```"]
    records = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    if records and not isinstance(command, click.Group):
        rows = [f"| {_literal(option)} | {_escaped(words)} |" for option, words in records if words]
        parts.append("\n".join(["| option | |", "|---|---|", *rows]))
    lines = (command.epilog or "").replace("\b\n", "").splitlines()
    if lines:
        parts.append(
            "\n".join(["```sh", *(line.strip() for line in lines if line.strip() != "Examples:"), "```"])
        )
    return "\n\n".join(parts)


def _literal(text: str) -> str:
    return "`" + " ".join(text.split()).replace("|", "\\|") + "`"


def _escaped(text: str) -> str:
    """Return plain text as Markdown that shows it as it is."""
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)  # a line that begins with a dash is no list
    return re.sub(r"([\\`*_<>|#\[\]{}$])", r"\\\1", text)


def notebook_page(folder: Path) -> str:
    """Return the notebook as a page, with the pictures and tables that it was committed with."""
    notebook = json.loads((ROOT / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))
    parts = []
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        picture = folder / f"notebook-{number}.png"
        parts.extend(_shown(output, picture) for output in cell.get("outputs", ()))
    parts.insert(1, "The notebook itself: {download}`notebook.ipynb <../../examples/notebook.ipynb>`.")
    return "\n\n".join(filter(None, parts)) + "\n"


def _shown(output: dict[str, Any], picture: Path) -> str:
    """Return what a cell has shown: a picture, a table, or text."""
    data = output.get("data", {})
    if "image/png" in data:
        picture.write_bytes(base64.b64decode(data["image/png"]))
        return f"![What the cell above draws]({picture.name})"
    table = _TABLE.search("".join(data.get("text/html", "")))
    if table is not None and "dataframe" in table[0]:
        return f'<div class="notebook-table">\n{table[0]}\n</div>'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def of_the_root(name: str) -> str:
    """Return a page of the repository's root, with the links as they are seen from docs/generated/."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\((?![a-z]+:|#)([^)]+)\)", lambda link: f"]({_from_here(link[1])})", text)


def _from_here(target: str) -> str:
    if target.removesuffix(".md") in OF_THE_ROOT:
        return target.lower()
    return f"../{target.removeprefix('docs/')}" if target.startswith("docs/") else f"../../{target}"
