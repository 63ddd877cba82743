"""Kernels: they compute what their source says, in this process and in the next, which does without numba."""

from __future__ import annotations

import ast
import math
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.kernels.cache import VARIABLE
from geoseg.kernels.kernel import Kernel, Part, inlined, kernel

Longs = npt.NDArray[np.int64]
ROOT = Path(__file__).parents[2]


class Pair(NamedTuple):
    """Arrays with names."""

    whole: Longs
    half: npt.NDArray[np.float64]


class Steps(NamedTuple):
    """Numbers."""

    factor: float
    step: int


class About(NamedTuple):
    """A bundle in a bundle."""

    steps: Steps
    upwards: bool


@inlined
def twice(number: int) -> int:
    """Become part of who calls it."""
    return 2 * number


@kernel
def add_up(pair: Pair, table: npt.NDArray[np.uint8], about: About, into: Longs) -> tuple[int, int]:
    """Use every kind of argument."""
    (factor, step), upwards = about
    for row in range(table.shape[0]):
        for col in range(table.shape[1]):
            into[row] += twice(table[row, col]) * step
    for i in range(len(pair.whole)):
        pair.half[i] = pair.whole[i] * factor if upwards else math.log2(1.0 + i) / factor
    return table.shape[0], -table.shape[1]


@kernel
def largest(numbers: Longs) -> int:
    """Return a number."""
    found = numbers[0]
    for each in numbers:
        found = max(found, each)
    return found


@kernel
def logarithm(numbers: npt.NDArray[np.float64]) -> None:
    """Call what is not of LLVM."""
    for i in range(len(numbers)):
        numbers[i] = math.log2(numbers[i])


@kernel
def allocating(numbers: Longs) -> int:
    """Do what kernels must not do."""
    more = np.zeros(len(numbers), np.int64)
    for i in range(len(numbers)):
        more[i] = numbers[-i]
    return more[0]


@pytest.fixture(scope="module", autouse=True)
def not_beside_the_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the kernels of these tests out of the installation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("kernels")))
        yield


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder for compiled kernels."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kernels"))
    return tmp_path / "kernels"


@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(1, 4), st.floats(0.1, 10), st.booleans())
def test_it_computes_what_its_source_says(
    seed: int, rows: int, cols: int, factor: float, upwards: bool
) -> None:
    random = np.random.default_rng(seed)
    whole, table = random.integers(-(2**40), 2**40, 5), random.integers(0, 256, (rows, cols)).astype(np.uint8)
    results: list[Any] = []
    for function in (add_up, add_up.__wrapped__):  # type: ignore[attr-defined]
        half, into = np.zeros(5), np.zeros(rows, np.int64)
        returned = function(
            Pair(whole, half), table.astype(np.int64), About(Steps(factor, -3), upwards), into
        )
        results.append((half.tobytes(), into.tolist(), returned))
    assert results[0] == results[1]


def test_each_form_of_arguments_has_its_own_code() -> None:
    for dtype in (np.int64, np.int32, np.uint8):
        assert largest(np.array([3, 200, 7], dtype)) == 200
    with pytest.raises(TypeError, match="contiguous"):
        largest(np.arange(8)[::2])
    with pytest.raises(TypeError, match="by kernels only"):
        Part("geoseg.kernels.unaligned", "load_double")(1)


def _difference(pair: Any) -> int:
    return int(pair.one - pair.other)


@pytest.mark.parametrize("fields", ["one other", "other one"])
def test_fields_are_told_by_their_names(fields: str) -> None:
    """Code that is kept for a tuple must not be called with one whose fields were put in another order."""
    again = kernel(_difference)
    for names in ("one other", fields):
        kind: Any = namedtuple("Bundle", names)  # type: ignore[misc]
        assert again(kind(one=7, other=3)) == 4


@kernel
def both(first: Any, second: Any) -> int:
    """Take two types of one name."""
    return int(first.a - second.b)


def test_two_types_of_one_name_are_two() -> None:
    first: Any = namedtuple("Bundle", "a b")  # type: ignore[misc]
    second: Any = namedtuple("Bundle", "b a")  # type: ignore[misc]
    assert both(first(a=9, b=1), second(a=1, b=2)) == 7


def test_bundles_have_names() -> None:
    with pytest.raises(TypeError, match=r"named tuples, found \(1, 2\)"):
        both((1, 2), (3, 4))


@pytest.mark.long
def test_no_kernel_of_ours_takes_a_bundle_without_names_or_more_than_six_arguments() -> None:
    taken = []
    for path in sorted(ROOT.glob("geoseg/**/*.py")):
        tree = ast.parse(path.read_text())
        aliases = {
            ast.unparse(target)
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and "tuple[" in ast.unparse(node.value or node.target)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and {"kernel", "inlined"} & {
                ast.unparse(each) for each in node.decorator_list
            }:
                for argument in node.args.args:
                    said = ast.unparse(argument.annotation or ast.Name("nothing"))
                    if "tuple[" in said or said in aliases:
                        taken.append(f"{path.name}: {node.name}({argument.arg}: {said})")
                if len(node.args.args) > 6:
                    taken.append(
                        f"{path.name}: {node.name} takes {len(node.args.args)}, expected a bundle of them"
                    )
    assert not taken


def test_a_kernel_that_allocates_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"test_kernels\.allocating allocates"):
        allocating(np.arange(4))


def test_what_llvm_alone_has_not_is_called_by_numba(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(llvm, "address_of_symbol", lambda name: None)
    for _ in range(2):  # compiled, and found
        numbers = np.array([1.0, 8.0])
        Kernel(logarithm.__wrapped__)(numbers)  # type: ignore[attr-defined]
        assert numbers.tolist() == [0, 3]
    (kept,) = place.iterdir()
    assert kept.stat().st_size == 32, "a digest of nothing"


@pytest.mark.long
def test_the_next_process_does_without_numba(place: Path) -> None:
    """If numba renames the functions of its runtime: its code cannot be linked without it, no kernel is kept, and
    every process imports numba and compiles for seconds.
    """
    script = """
import sys
import numpy as np
from tests.kernels.test_kernels import largest
print(largest(np.array([3, 5, 4])), "numba" in sys.modules)
"""
    found = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert run.returncode == 0, run.stderr
        found.append(run.stdout.split())
    assert found == [["5", "True"], ["5", "False"]]
    (kept,) = place.iterdir()
    assert kept.suffix == ".kernel"
