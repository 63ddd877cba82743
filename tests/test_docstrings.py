"""What a docstring promises about parameters: each is described, exists in the signature, and none is forgotten."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from geoseg.inference.predict import predict
from geoseg.inference.segment import segment

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(p.parent for p in (ROOT / "geoseg").glob("*/__init__.py"))

ROOMS = {"geoseg": sorted((ROOT / "geoseg").glob("*.py")), "cli": sorted((ROOT / "cli").glob("**/*.py"))} | {
    folder.name: sorted(folder.glob("**/*.py")) for folder in FOLDERS
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
HEADER = re.compile(r"^(\w+(?: \w+)?)\n-{3,}$", re.MULTILINE)


class Entry(NamedTuple):
    """One entry of a ``Parameters`` section: its names, and whether a description follows."""

    names: list[str]
    text: str


def entries(docstring: str, section: str) -> list[Entry]:
    """Entries of one section of a numpy-style docstring; none where the section is not there."""
    parts = HEADER.split(docstring)
    bodies = dict(zip(parts[1::2], parts[2::2], strict=True))
    found: list[Entry] = []
    for line in bodies.get(section, "").splitlines():
        if line and not line.startswith(" "):
            names = line.split(" :")[0].split(",")
            found.append(Entry([name.strip().lstrip("*") for name in names], ""))
        elif line.strip() and found:
            found[-1] = found[-1]._replace(text=f"{found[-1].text} {line.strip()}")
    return found


def arguments(function: Function) -> list[str]:
    """Names of the parameters of a function, without ``self`` and ``cls``."""
    given = function.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    names = [argument.arg for argument in every if argument is not None]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def documented_nodes(source: str) -> list[ast.ClassDef | Function]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.ClassDef, Function))]


@cache
def every_node() -> dict[Path, list[ast.ClassDef | Function]]:
    """Classes and functions by file; read when a test asks for them, since to read all sources takes seconds."""
    return {path: documented_nodes(path.read_text()) for paths in ROOMS.values() for path in paths}


@cache
def every_class() -> dict[str, ast.ClassDef]:
    return {
        node.name: node for nodes in every_node().values() for node in nodes if isinstance(node, ast.ClassDef)
    }


def fields(cls: ast.ClassDef) -> list[str]:
    """What a class is made of: the parameters of its ``__init__``, else its annotated fields and those inherited."""
    for node in cls.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return arguments(node)
    names = [name for base in cls.bases for name in fields_of_base(base)]
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            made_inside = node.value is not None and "init=False" in ast.unparse(node.value)
            if not made_inside and "ClassVar" not in ast.unparse(node.annotation):
                names.append(node.target.id)
    return names


def fields_of_base(base: ast.expr) -> list[str]:
    name = ast.unparse(base).split("[")[0].split(".")[-1]
    return fields(every_class()[name]) if name in every_class() else []


def public_parameters(node: ast.ClassDef | Function) -> list[str]:
    """Parameters that a public function or class must describe, once it describes any."""
    if node.name.startswith("_"):
        return []
    names = fields(node) if isinstance(node, ast.ClassDef) else arguments(node)
    return [name for name in names if not name.startswith("_")]


def faults_of(node: ast.ClassDef | Function) -> Iterator[str]:
    docstring = ast.get_docstring(node) or ""
    known = fields(node) if isinstance(node, ast.ClassDef) else arguments(node)
    parameters = entries(docstring, "Parameters")
    for entry in parameters + entries(docstring, "Attributes"):
        if not entry.text:
            yield f"{', '.join(entry.names)} has no description"
    documented = [name for entry in parameters for name in entry.names]
    for name in documented:
        if name not in known:
            yield f"{name} is no parameter"
    if documented:
        for name in public_parameters(node):
            if name not in documented:
                yield f"{name} is not documented"


def faults_in(room: str) -> list[str]:
    """Every fault of the docstrings of one room, each with its place."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {fault}"
        for path in ROOMS[room]
        for node in every_node()[path]
        for fault in faults_of(node)
    ]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_documented_parameters_are_described_and_complete(room: str) -> None:
    found = faults_in(room)
    assert not found, "\n".join(found)


DOCUMENTED = '''
def read({signature}):
    """Read a window.

    Parameters
    ----------
    {entries}

    Returns
    -------
    ndarray
    """
'''


@pytest.mark.parametrize(
    ("signature", "listed", "expected"),
    [
        ("path, row", "path, row : int\n        Where to read.", []),
        (
            "path, *rest, row=0, **more",
            "path, row : int\n        Where.\n    *rest, **more\n        The rest.",
            [],
        ),
        ("path", "path : str", ["path has no description"]),
        (
            "path, row",
            "path : str\n    row : int\n        First row.",
            ["path has no description"],
        ),
        ("path", "path : str\n        A file.\n    row : int\n        First row.", ["row is no parameter"]),
        ("path, row", "path : str\n        A file.", ["row is not documented"]),
    ],
)
def test_the_check_finds_each_fault(signature: str, listed: str, expected: list[str]) -> None:
    source = DOCUMENTED.format(signature=signature, entries=listed)
    assert [fault for node in documented_nodes(source) for fault in faults_of(node)] == expected


def test_the_fields_of_a_class_are_its_parameters() -> None:
    source = '''
class Settings:
    """Settings of a run.

    Parameters
    ----------
    size : int
        Tile edge, px.
    """

    size: int
    overlap: int = 0
    cached: int = field(init=False)
    limit: ClassVar[int] = 3
    _kept: int = 0
'''
    (node,) = documented_nodes(source)
    assert list(faults_of(node)) == ["overlap is not documented"]


def test_predict_and_segment_describe_a_keyword_alike() -> None:
    """Both have the whole list, since it is what an editor shows; what differs says something else there."""
    there, here = (
        {tuple(entry.names): entry.text for entry in entries(inspect.getdoc(verb) or "", "Parameters")}
        for verb in (predict, segment)
    )
    both = there.keys() & here.keys()
    differing = {name for names in both if there[names] != here[names] for name in names}
    assert differing == {"scene", "model", "output"}
    assert len(both) > 20
