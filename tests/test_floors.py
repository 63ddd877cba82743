"""A module imports only from floors below it, in no circle, and heavy packages only where they may be carried."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = (
    "errors",
    "grid",
    "storage",
    "progress",  # geoseg/progress.py: the bar
    "kernels",
    "raster",
    "polygons",
    "vectorfiles",
    "labels",
    "vector",
    "engine",
    "models",
    "datasets",
    "learning",
    "inference",
    "mapping",
    "pictures",
    "assessment",
    "experiments",
    "demo",
    "geoseg",  # geoseg/__init__.py: the public names
    "cli",
)

# The lowest floor that may import a package, at the top of a module or inside a function.
LOWEST = {
    "rasterio": "raster",
    "numba": "kernels",
    "llvmlite": "kernels",
    "pyogrio": "vectorfiles",
    "geopandas": "polygons",
    "shapely": "polygons",
    "torch": "engine",
    "openvino": "engine",
    "nncf": "engine",
    "vl_convert": "experiments",
    "tensorboard": "learning",
    "lightning": "learning",
    "torchgeo": "models",
    "segmentation_models_pytorch": "models",
    "dask": "inference",
    "xarray": "raster",
    "matplotlib": "assessment",
    "jinja2": "assessment",
    "optuna": "experiments",
    "click": "cli",
    "tqdm": "progress",
}

# What predicting must not load: it has to start fast and fit a small machine.
NOT_FOR_PREDICTING = ("numba", "pyogrio", "geopandas", "lightning", "torchgeo", "nncf", "dask", "kornia")


def sources() -> list[Path]:
    return sorted([*ROOT.glob("geoseg/**/*.py"), *ROOT.glob("cli/**/*.py")])


def dotted(path: Path) -> str:
    """Name of a module as it is imported: ``geoseg.grid.window``, ``cli.main``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int | None:
    """Floor of a module of ours, None for a foreign one."""
    head, *rest = module.split(".")
    if module == "geoseg.__version__":  # metadata of the installation: stands on no floor
        return None
    if head in ("cli", "geoseg_cli"):
        return FLOORS.index("cli")
    if head != "geoseg":
        return None
    if not rest or rest[0] not in FLOORS:  # `from geoseg import predict` names no floor of its own
        return FLOORS.index("geoseg")
    return FLOORS.index(rest[0])


def imports(source: str, module: str, *, package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything a module imports, at its top or inside a function."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parents = parts[: len(parts) - node.level + package]
                base = ".".join([*parents, *filter(None, [node.module])])
            # `from geoseg import grid` may name a floor, `from geoseg.grid import window` a module.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def circle(sources: Mapping[str, str], packages: frozenset[str] = frozenset()) -> list[str]:
    """Modules that import each other in a circle, the first one again at the end; none if there is no circle.

    Parameters
    ----------
    sources : mapping of str to str
        Module to source.
    packages : frozenset of str
        Which of the modules are packages.

    Notes
    -----
    What a module imports inside a function counts, too, and what it imports for a type checker only.
    """
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        found = graph.setdefault(module, set())
        for _, name in imports(source, module, package=module in packages):
            if name == "geoseg.__version__":  # metadata of the installation
                continue
            named = name.replace("geoseg_cli", "cli", 1)
            while named and named not in sources:
                named = named.rpartition(".")[0]
            if named and named != module:
                found.add(named)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(each) for each in reversed(error.args[1])]
    return []


def violations(source: str, module: str, *, package: bool = False) -> list[str]:
    """What a module imports although it must not."""
    here = floor_of(module)
    assert here is not None
    found = []
    for line, name in imports(source, module, package=package):
        there = floor_of(name)
        if there is not None and there > here:
            found.append(f"{module}:{line} imports {name} from a floor above")
        lowest = LOWEST.get(name.split(".")[0])
        if lowest is not None and here < FLOORS.index(lowest):
            found.append(f"{module}:{line} imports {name}, which starts at {lowest}")
    return found


@pytest.mark.parametrize("path", sources(), ids=dotted)
def test_a_module_imports_only_from_floors_below(path: Path) -> None:
    assert not violations(path.read_text(), dotted(path), package=path.name == "__init__.py")


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import geoseg.raster.scene", "geoseg.grid.window"),
        ("from geoseg.inference.predict import predict", "geoseg.models.model"),
        ("from geoseg import vector", "geoseg.raster.scene"),
        ("from geoseg import predict", "geoseg.demo.run"),
        ("from ..vector import trace", "geoseg.raster.scene"),
        ("from .. import vector", "geoseg.raster.scene"),
        ("def f():\n    from geoseg.vector.vectorize import vectorize", "geoseg.raster.classmap"),
        ("import geoseg_cli.main", "geoseg.demo.run"),
        ("def f():\n    import torch", "geoseg.polygons.trace"),
        ("import click", "geoseg.inference.predict"),
    ],
)
def test_the_test_sees_an_upward_import(source: str, module: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from geoseg.errors import GeosegError", "geoseg.grid.window"),
        ("from .window import Window", "geoseg.grid.grid"),
        ("from ..grid import window", "geoseg.raster.scene"),
        ("import torch, numpy", "geoseg.models.model"),
        ("from geoseg import predict", "cli.predict"),
    ],
)
def test_the_test_lets_downward_imports_pass(source: str, module: str) -> None:
    assert not violations(source, module)


def test_no_modules_import_each_other_in_a_circle() -> None:
    packages = frozenset(dotted(path) for path in sources() if path.name == "__init__.py")
    assert not circle({dotted(path): path.read_text() for path in sources()}, packages)


@pytest.mark.parametrize(
    "made_up",
    [
        {"geoseg.a.x": "from geoseg.a.y import f", "geoseg.a.y": "import geoseg.a.x"},
        {
            "geoseg.a.x": "from geoseg.a import y",
            "geoseg.a.y": "def f():\n    from .z import g",
            "geoseg.a.z": "def f():\n    def g():\n        from geoseg.a.x import h",
        },
        {"geoseg": "from geoseg.a.x import f", "geoseg.a.x": "def g():\n    from geoseg import f"},
        {
            "geoseg.a.x": "from geoseg.a.y import f",
            "geoseg.a.y": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from geoseg.a.x import X",
        },
    ],
)
def test_the_test_sees_a_circle(made_up: dict[str, str]) -> None:
    found = circle(made_up, frozenset({"geoseg"}))
    assert set(found) == set(made_up)
    assert found[0] == found[-1]


def test_the_test_lets_pass_what_is_no_circle() -> None:
    assert not circle({"geoseg.a.x": "from geoseg.a.y import f", "geoseg.a.y": "import geoseg.b"})
    assert not circle({"geoseg": "", "geoseg.a.x": "from geoseg import __version__"}, frozenset({"geoseg"}))


def test_every_folder_stands_on_a_floor() -> None:
    folders = {p.parent.name for p in ROOT.glob("geoseg/*/__init__.py")}
    modules = {p.stem for p in ROOT.glob("geoseg/*.py")} - {"__init__"}
    assert folders | modules <= set(FLOORS)


def modules_after(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.split(".")[0] for name in run.stdout.split()}


def test_importing_geoseg_loads_nothing_heavy() -> None:
    assert not modules_after("import geoseg; geoseg.Window, geoseg.GeosegError") & (set(LOWEST) | {"numpy"})


def test_predicting_loads_nothing_it_does_not_need() -> None:
    assert not modules_after("import geoseg.inference.predict") & set(NOT_FOR_PREDICTING)


def test_vectorizing_a_file_loads_nothing_it_does_not_need(tmp_path: Path) -> None:
    """Importing xarray takes longer than tracing a small map; who passes an array of it has it."""
    name = str(tmp_path / "map.gpkg")
    statement = (
        "import numpy as np\n"
        "from affine import Affine\n"
        "from geoseg.grid.grid import Grid\n"
        "from geoseg.raster.classmap import ClassMap\n"
        "from geoseg.vector.vectorize import vectorize\n"
        "grid = Grid(height=2, width=2, transform=Affine.identity(), crs=None)\n"
        "whole = ClassMap(codes=np.ones((2, 2), np.uint8), valid=np.ones((2, 2), bool), grid=grid, legend=None)\n"
        f"vectorize(whole, output={name!r}, overwrite=True)"
    )
    modules_after(statement)  # compiles what was not kept
    not_needed = {
        "dask",
        "geopandas",
        "matplotlib",
        "numba",
        "pandas",
        "scipy",
        "shapely",
        "torch",
        "xarray",
        "yaml",
    }
    assert not modules_after(statement) & not_needed
