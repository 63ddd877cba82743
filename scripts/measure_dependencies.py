"""Measure what each dependency costs: MB on the disk and seconds to import, as the table of docs/dependencies.md.

Run it in an environment with the whole installation::

    python scripts/measure_dependencies.py [--rounds N] [NAME ...]
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
MODULES = {
    "tensorboard": "torch.utils.tensorboard",
    "torchgeo": "torchgeo.datasets",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "dask": "dask.array",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
}
"""Modules to import where they are not called as the package is."""


def required() -> list[Requirement]:
    """Return what pyproject.toml requires, in its order."""
    return [Requirement(line) for line in tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]]


def closure(roots: Iterable[Requirement]) -> set[str]:
    """Return the names of all distributions that these requirements install here, themselves included."""
    waiting, seen = list(roots), set()
    while waiting:
        requirement = waiting.pop()
        for extra in {"", *requirement.extras}:
            key = (canonicalize_name(requirement.name), extra)
            if key in seen:
                continue
            seen.add(key)
            for line in metadata.requires(requirement.name) or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return {name for name, _ in seen}


def megabytes(names: Iterable[str]) -> float:
    """Return the size of the files of these distributions, without bytecode, in millions of bytes."""
    size = 0
    for name in names:
        for file in metadata.files(name) or ():
            path = Path(str(file.locate()))
            if path.suffix != ".pyc" and path.is_file():
                size += path.stat().st_size
    return size / 1e6


def seconds(module: str | None, rounds: int) -> float:
    """Return the median processor time of a fresh interpreter that imports a module, less that of a bare one."""
    statement = f"import {module}" if module else "pass"
    taken = []
    for _ in range(rounds):
        before = os.times()
        subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)  # noqa: S603
        after = os.times()
        taken.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    return statistics.median(taken)


def module_of(name: str) -> str:
    """Return the module that stands for a package."""
    return MODULES.get(name, re.sub("-", "_", name))


def main() -> None:
    """Print a line for each requirement, or for those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="packages to measure; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="imports of each, of which the median counts")
    said = parser.parse_args()
    requirements = required()
    whole = closure(requirements)
    bare = seconds(None, said.rounds)
    print("| package | own MB | MB that would go without it | import, s |\n|---|---|---|---|")
    for requirement in requirements:
        if said.names and requirement.name not in said.names:
            continue
        others = closure(each for each in requirements if each.name != requirement.name)
        own, alone = megabytes([requirement.name]), megabytes(whole - others)
        took = max(0.0, seconds(module_of(requirement.name), said.rounds) - bare)
        print(f"| {requirement.name} | {own:.1f} | {alone:.1f} | {took:.2f} |", flush=True)
    print(f"\n{len(whole)} packages, {megabytes(whole):.0f} MB")


if __name__ == "__main__":
    main()
