"""The documentation says what is so: its commands run, its examples run, its tables name what is there."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import re
import runpy
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from geoseg_cli.main import group
from packaging.requirements import Requirement
from rasterio.windows import Window

import geoseg
from geoseg.models.card import Card
from geoseg.storage.run_record import RunRecord
from tests.test_floors import FLOORS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
KOREA = ROOT / "tests" / "data" / "korea"
EDGE = 96  # px
SHORT = (
    "train.epochs=1",
    "train.chips_per_epoch=4",
    "train.chip_size=32",
    "train.batch_size=2",
    "data.split.size=16",
)
"""What makes a training in a test a matter of seconds; all else is as the page says."""


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def geoseg_command(line: str) -> None:
    """Run a line of a page as a shell would, in this process."""
    line, _, given = line.partition(" < ")
    arguments = shlex.split(line, comments=True)[1:]
    if arguments[0] == "train":
        arguments += [word for change in SHORT for word in ("--set", change)]
    text = Path(given).read_text() if given else None
    result = CliRunner().invoke(group, arguments, input=text)
    assert result.exit_code == 0, f"{line}: {result.stderr}"


def run_page(page: str) -> int:
    """Run every command of a page, from the first to the last."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]
    for line in lines:
        assert line.startswith("geoseg "), line
        geoseg_command(line)
    return len(lines)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the quick starts begin with: scenes, and polygons with an attribute class."""
    folder = tmp_path_factory.mktemp("quickstart")
    with (
        rasterio.open(KOREA / "202309_patchN_16.tif") as whole,
        rasterio.open(KOREA / "202309_patchN_16_labels.tif") as labels,
    ):
        # A corner of the patch that has several classes.
        window = Window(200, 200, EDGE, EDGE)
        profile = whole.profile | {
            "count": 3, "width": EDGE, "height": EDGE, "transform": whole.window_transform(window),
            "blockysize": 16, "photometric": None,
        }  # fmt: skip
        pixels, codes = whole.read([1, 2, 3], window=window), labels.read(1, window=window)
        profile.pop("photometric")
    for name in ("scene.tif", "north.tif", "south.tif"):
        with rasterio.open(folder / name, "w", **profile) as file:
            file.write(pixels)
            file.descriptions = ("blue", "green", "red")
    (folder / "scenes.txt").write_text("north.tif\nsouth.tif\n")
    with rasterio.open(folder / "codes.tif", "w", **profile | {"count": 1, "nodata": 255}) as file:
        file.write(codes.astype(np.uint8), 1)
    frame = geoseg.vectorize(folder / "codes.tif")
    frame["class"] = [f"class {code}" for code in frame["class_code"]]
    frame[["class", "geometry"]].to_file(folder / "labels.gpkg")
    (folder / "codes.tif").unlink()
    return folder


@pytest.mark.long
def test_the_quick_start_for_qgis_runs_as_written(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    assert run_page("quickstart-qgis.md") >= 6
    assert (workplace / "model.run" / "report.html").exists()
    assert (workplace / "edited.tif").exists()


def copy_of(workplace: Path, folder: Path, *names: str) -> None:
    for name in names:
        shutil.copy(workplace / name, folder / name)


@pytest.mark.long
def test_the_quick_start_for_python_runs_as_written(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of(workplace, tmp_path, "scene.tif", "labels.gpkg")
    monkeypatch.chdir(tmp_path)
    train = geoseg.train
    monkeypatch.setattr(geoseg, "train", lambda *given, **said: train(*given, **said, changes=SHORT))
    found: dict[str, Any] = {}
    for block in blocks("quickstart-python.md", "python"):
        exec(block, found)
    codes, first = found["codes"].to_numpy(), found["maps"]["landcover"].to_numpy()
    assert np.array_equal(codes, first), "the polygons are the map"
    assert (tmp_path / "landcover.gpkg").exists()


@pytest.mark.long
def test_the_quick_start_for_services_runs_as_written(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of(workplace, tmp_path, "north.tif", "south.tif", "scenes.txt")
    shutil.copy(KOREA / "korea.safetensors", tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    assert run_page("quickstart-service.md") >= 5
    assert {path.name for path in (tmp_path / "listed").glob("*.gpkg")} == {"north.gpkg", "south.gpkg"}


@pytest.mark.parametrize("module", ["geoseg.grid.legend", "geoseg.grid.tiling", "geoseg.grid.window"])
def test_examples_in_docstrings_are_true(module: str) -> None:
    """`make docs` runs them all; these modules have some."""
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0


# --- what pages name


def names_in(path: Path) -> set[str]:
    """Return every file, folder and ``file::name`` of the project that a page names in backticks."""
    found = re.findall(r"`((?:geoseg|cli|tests|docs|scripts|examples)/[\w./-]+(?:::\w+)?)`", path.read_text())
    return set(found)


def defined(path: Path) -> set[str]:
    """Return the functions and classes at the top of a module, and the names that it imports."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_a_page_names_files_and_functions_that_exist(page: str) -> None:
    named = names_in(ROOT / page)
    assert len(named) > 20
    for name in named:
        path, _, function = name.partition("::")
        if path in MADE:
            continue
        assert (ROOT / path).exists(), f"{page} names {path}"
        assert not function or function in defined(ROOT / path), f"{page} names {name}"


MADE = {"docs/generated/"}
"""What is made by building, and not committed."""


def test_the_floors_of_the_page_are_those_of_the_imports() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text[text.index("| floor |") : text.index("## Words")]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == FLOORS


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")]), ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """As on the web page of a repository; what the site is made of is checked where it is built."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if "docs/generated" in path.as_posix():
            assert path.stem in GENERATED
            continue
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}"


GENERATED = {"api", "commands", "security", "notebook", "architecture", "contributing"}
"""Pages that docs/generated.py writes."""


def anchors(path: Path) -> set[str]:
    """Return the headings of a page as they stand in links."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {
        name
        for page in DOCS.glob("*.md")
        for block in re.findall(r"^```{toctree}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for name in block.splitlines()
    }
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= listed
    assert {f"generated/{name}" for name in GENERATED} <= listed


def keys_of(page: str, heading: str) -> set[str]:
    """Return the names in the first column of the table under a heading."""
    text = (DOCS / page).read_text()
    part = re.split(r"^#+ ", text[text.index(heading) + len(heading) :], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\|([^|]*)\|", part, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w.*-]+)`", row)}


def test_the_card_is_described_key_by_key() -> None:
    assert keys_of("file-formats.md", "## The card") == set(Card.model_fields)


def test_the_record_of_a_run_is_described_key_by_key(tmp_path: Path) -> None:
    report = RunRecord(
        output=tmp_path / "a.tif", fingerprint={}, classes=[], valid_pixels=0, seconds={},
        megapixels_per_second=0.0, damaged=[], notes=[], warnings=[], settings={}, profile={"read": 0.0},
    )  # fmt: skip
    report.save()
    written = json.loads((tmp_path / "a.tif.run.json").read_text())
    assert keys_of("file-formats.md", "## `NAME.run.json`") == set(written)


def test_each_requirement_has_a_row() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *(r for rs in project["optional-dependencies"].values() for r in rs)]
    assert keys_of("dependencies.md", "# Dependencies") | keys_of("dependencies.md", "## Extras") == {
        Requirement(line).name for line in needed
    }


def test_messages_that_are_explained_are_said_somewhere() -> None:
    text = (DOCS / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(rows) > 15
    parts = (
        re.sub(r'"\s*f?"', "", path.read_text())
        for path in (*ROOT.glob("geoseg/**/*.py"), *ROOT.glob("cli/*.py"))
    )
    source = "\n".join(parts)
    missing = [words for words in rows if words not in source]
    assert not missing, f"nothing says so any more: {missing}"


def test_broken_links_of_the_site_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#here">b</a><a href="#top">up</a><a href="https://example.org/x">x</a>'
        '<a href="gone.html">c</a><a href="b.html#nowhere">d</a><img src="p.png">'
    )
    (tmp_path / "b.html").write_text('<p id="here">B</p>')
    names = runpy.run_path(str(ROOT / "scripts" / "check_site.py"))
    assert [line.split(": ")[1].split()[0] for line in names["broken"](tmp_path)] == [
        "b.html#nowhere",
        "gone.html",
        "p.png",
    ]


def test_what_dependencies_cost_is_measured_with_all_they_bring() -> None:
    names = runpy.run_path(str(ROOT / "scripts" / "measure_dependencies.py"))
    brought = names["closure"]([Requirement("safetensors"), Requirement("geopandas")])
    assert {"geopandas", "pandas", "shapely", "safetensors"} <= brought
    assert "torch" not in brought
    assert 0.05 < names["megabytes"](["click"]) < 5
