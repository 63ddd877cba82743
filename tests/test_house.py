"""Promises of the repository itself: public names, requirements that agree, files that name no machine."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import geoseg

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]

# What conda-forge calls differently, or splits where the registry has an extra.
CONDA_NAMES = {"torch": ["pytorch"], "matplotlib": ["matplotlib-base"], "dask": ["dask", "distributed"]}


def requirements() -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}


def tracked() -> list[Path]:
    git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if git.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in git.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_public_names_are_sorted_and_exist() -> None:
    assert list(geoseg.__all__) == sorted(geoseg.__all__)
    for name in geoseg.__all__:
        assert getattr(geoseg, name) is not None
        assert name in dir(geoseg)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        geoseg.no_such_name  # noqa: B018


def test_the_version_is_the_one_of_pyproject() -> None:
    assert geoseg.__version__ == PROJECT["version"]


def test_every_folder_is_packaged() -> None:
    folders = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("geoseg/**/__init__.py")}
    assert folders | {"geoseg_cli"} == set(PYPROJECT["tool"]["setuptools"]["packages"])


def test_environment_yml_states_the_ranges_of_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    conda = {r.name: str(r.specifier) for r in map(Requirement, environment["dependencies"])}
    assert conda.pop("python") == PROJECT["requires-python"]
    conda.pop("pip")
    expected = {
        conda_name: str(requirement.specifier)
        for name, requirement in requirements().items()
        for conda_name in CONDA_NAMES.get(name, [requirement.name])
    }
    assert conda == expected


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_constraints_satisfy_pyproject(python: str) -> None:
    """Exactly one pin applies to a requirement on every supported Python, and it lies in its range."""
    pins = pins_of({**default_environment(), "python_version": python, "python_full_version": f"{python}.0"})
    groups = PYPROJECT["dependency-groups"]
    others = [*groups["dev"], *groups["docs"], *PROJECT["optional-dependencies"]["int8"]]
    for requirement in [*requirements().values(), *map(Requirement, others)]:
        pinned = pins[canonicalize_name(requirement.name)]
        assert pinned in requirement.specifier, f"{requirement} is pinned to {pinned}"


def pins_of(environment: Mapping[str, str]) -> dict[str, Version]:
    """Versions of ``constraints.txt``; every line is one exact version from the registry, no URL and no folder."""
    pins: dict[str, Version] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(environment):
            assert canonicalize_name(pin.name) not in pins, f"{pin.name} is pinned twice"
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            assert pin.url is None
            pins[canonicalize_name(pin.name)] = Version(specifier.version)
    return pins


def test_what_is_installed_with_geoseg_is_pinned_down_to_the_last() -> None:
    """A release that was tampered with does not get in by itself, not as a dependency of a dependency either."""
    pins = pins_of({**default_environment()})
    waiting, seen = [("geoseg", frozenset({"int8"}))], set()
    waiting += [
        (r.name, frozenset(r.extras)) for r in map(Requirement, PYPROJECT["dependency-groups"]["dev"])
    ]
    while waiting:
        name, extras = waiting.pop()
        if (canonicalize_name(name), extras) in seen:
            continue
        seen.add((canonicalize_name(name), extras))
        for requirement in map(Requirement, importlib.metadata.requires(name) or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras | {""})):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    names = {name for name, _ in seen} - {"geoseg"}
    assert len(names) > 100
    assert names <= pins.keys(), f"not in constraints.txt: {sorted(names - pins.keys())}"


# Releases that stole secrets, or that run code of a file which is said to be only read.
BAD = {
    "lightning": [
        "2.6.2",
        "2.6.3",
        "2.6.5",
    ],  # GHSA-w37p-236h-pfx3; hyperparameters as code, GHSA-qqmf-gpg7-g8gw
    "torch": ["2.5.1", "2.9.1"],  # CVE-2025-32434, CVE-2026-24747: weights_only
}


@pytest.mark.parametrize("name", BAD)
def test_releases_known_to_be_bad_are_excluded(name: str) -> None:
    for version in BAD[name]:
        assert Version(version) not in requirements()[name].specifier
        for python in ("3.11", "3.13"):
            environment = {
                **default_environment(), "python_version": python, "python_full_version": f"{python}.0"
            }  # fmt: skip
            assert pins_of(environment)[name] != Version(version)


def test_make_installs_geoseg_with_the_pins() -> None:
    """The peers that geoseg is compared with have environments of their own, with versions that they choose."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installs = [line for line in text.splitlines() if re.search(r"pip install .*(dist/|-e '?\.)", line)]
    with_all_they_need = [line for line in installs if "--no-deps" not in line]
    assert (len(installs), len(with_all_they_need)) == (3, 2)
    assert all("-c constraints.txt" in line for line in with_all_they_need)


def small_requirements() -> list[Requirement]:
    """What an installation has that only predicts, vectorizes and describes."""
    lines = (ROOT / "requirements" / "predict.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def test_the_small_installation_has_the_ranges_of_pyproject() -> None:
    whole = requirements()
    for requirement in small_requirements():
        assert requirement == whole[canonicalize_name(requirement.name)]


def test_the_small_installation_has_no_torch_and_no_pandas() -> None:
    """Neither it nor what it needs."""
    waiting, seen = [each.name for each in small_requirements()], set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in seen:
            seen.add(name)
            needed = map(Requirement, importlib.metadata.requires(name) or ())
            waiting += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    assert not seen & {"torch", "torchvision", "lightning", "timm", "pandas", "geopandas", "xarray", "dask"}
    assert len(seen) < 40


def test_the_image_is_installed_as_the_manual_says() -> None:
    """Docker's commands are those of docs/installation.md, and what they read is copied before."""
    said = re.findall(
        r"^    (pip install .*)$", (ROOT / "docs" / "installation.md").read_text(), re.MULTILINE
    )
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    done = [
        line.removeprefix("RUN ").replace(" --no-cache-dir", "") for line in lines if "pip install" in line
    ]
    assert len(done) == 2
    assert set(done) <= set(said)
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    sources = {
        "pyproject.toml",
        PROJECT["readme"],
        "LICENSE",
        "constraints.txt",
        "requirements",
        "geoseg",
        "cli",
    }
    assert copied == sources
    assert all((ROOT / name).exists() for name in copied)


def test_tracked_files_name_no_registry_and_no_machine() -> None:
    """Installation uses the user's own registry; nothing of the machine it was written on stays in a file."""
    hosts = [
        "pypi" + ".org",
        "python" + "hosted",
        "deb." + "debian",
        "registry." + "npmjs",
        "conda.ana" + "conda",
    ]
    paths = ["/work" + "/", "/root" + "/", "/home" + "/", "/tmp" + "/bash_"]
    pattern = re.compile("|".join(map(re.escape, hosts + paths)))
    for path in tracked():
        if path.stat().st_size < 400_000 and path.name != "LICENSE":
            text = path.read_bytes().decode("utf-8", errors="replace")
            found = pattern.search(text)
            assert found is None, f"{path.relative_to(ROOT)} names {found.group() if found else ''}"


def test_words_that_mislead_are_not_module_names() -> None:
    vague = {"utils", "helpers", "common", "manager", "base"}
    assert not [p for p in tracked() if p.suffix == ".py" and p.stem in vague]


PRIVATE = {
    ("geoseg/raster/handles.py", "rasterio._err.CPLE_BaseError"),
    ("geoseg/engine/compiled.py", "torch._dynamo.exc.TorchDynamoException"),
    ("geoseg/models/smp.py", "torch._dynamo"),
}
"""Private names of other libraries and the one module that uses each: see the table in ARCHITECTURE.md."""


def private_names(source: str) -> set[str]:
    """Return the private names of other objects and modules that a module uses: imported, in a text, or by a dot."""
    private = re.compile(r"\._(?!_)")
    if not (private.search(source) or re.search(r"import\b.*\b_|^\s+_\w+(,|\n| as )", source, re.MULTILINE)):
        return set()
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value} if re.fullmatch(r"[a-z]\w*(\.\w+)+", node.value) else set()
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            found |= set() if ast.unparse(node.value) in ("self", "cls", "super()") else {f".{node.attr}"}
    ours = {f".{name}" for name in re.findall(r"(?:def |self\.|^    )(_\w+)\b", source, re.MULTILINE)}
    known = {"._replace", "._exit", "._repr_html_"}  # of the manuals of Python and IPython
    return {n for n in found - ours - known if private.search(n) and not n.startswith("geoseg")}


def test_private_names_of_other_libraries_stand_in_one_module_each() -> None:
    used = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in [*ROOT.glob("geoseg/**/*.py"), *ROOT.glob("cli/**/*.py")]
        for name in private_names(path.read_text())
    }
    assert used == PRIVATE
    doors = (ROOT / "ARCHITECTURE.md").read_text()
    doors = doors[doors.index("## Doors") : doors.index("## The journey of one pixel")]
    assert all(f"`{module}`" in doors for module, _ in PRIVATE)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from rasterio._env import get_gdal_config", "rasterio._env.get_gdal_config"),
        ("def f():\n    import torch._inductor.config", "torch._inductor.config"),
        ("from torch import nn, _dynamo", "torch._dynamo"),
        ("from torch import (\n    nn,\n    _dynamo\n)", "torch._dynamo"),
        ("batches._shutdown_workers()", "._shutdown_workers"),
        ("name = 'torch._dynamo'", "torch._dynamo"),
    ],
)
def test_the_test_sees_private_names(source: str, name: str) -> None:
    assert name in private_names(source)


def test_the_test_lets_pass_what_is_public_or_ours() -> None:
    assert not private_names("import torch\nself._a = torch.nn.__name__\nfrom geoseg.grid._x import _y")
