"""Every write, fsync and rename of a command fails once: the old or the new complete file, one line, and again."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import skip_without
from tests.faults.conftest import Program, command, error_line, names
from tests.faults.test_train import config, outcome, train  # noqa: F401 - a fixture
from tests.vector.test_vectorize import write_raster

pytestmark = pytest.mark.calls

KINDS = ("write", "sync", "rename")
LEGEND = "code,name\n1,a\n2,b\n3,c\n4,d\n"


@dataclass
class Sweep:
    """Runs a command in a folder with one of its calls failing.

    Parameters
    ----------
    program : Program
        With the library that makes calls fail.
    counts : Path
        File that it counts in.
    """

    program: Program
    counts: Path
    seen: dict[str, int] = field(default_factory=dict)

    def run(self, arguments: list[str], folder: Path, failing: str = "") -> tuple[int, str]:
        """Run a command whose calls below `folder` count; return its exit code and the line of its error."""
        self.counts.write_bytes(bytes(24))
        environment = {"FAILING_FOLDER": str(folder), "FAILING_COUNTS": str(self.counts), "FAILING": failing}
        finished = self.program.run(arguments, environment)
        self.seen = dict(zip(KINDS, struct.unpack("3q", self.counts.read_bytes()), strict=True))
        assert "Traceback" not in finished.stderr, finished.stderr
        assert "this is a bug" not in finished.stderr, finished.stderr
        return finished.returncode, error_line(finished) if finished.returncode else ""

    def chosen(self, most: int) -> list[str]:
        """Return calls to fail by what was counted: all of each kind, or a seeded sample with the last of them."""
        calls: list[str] = []
        for kind, count in self.seen.items():
            every = range(1, count + 1)
            some = every if count <= most else sorted({count, *random.Random(count).sample(every, most - 1)})
            calls += [f"{kind} {number}" for number in some]
        return calls


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    folder = tmp_path_factory.mktemp("failing")
    compiler = shutil.which("gcc") or shutil.which("cc")
    skip_without("gcc", compiler is not None)
    library = folder / "failing.so"
    source = Path(__file__).with_name("failing.c")
    subprocess.run([str(compiler), "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    program = Program(folder / "stderr", {"LD_PRELOAD": str(library)})
    yield Sweep(program=program, counts=folder / "counts")
    program.close()


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    codes = np.random.default_rng(3).integers(1, 5, (30, 40)).astype(np.uint8)
    (tmp_path / "l.csv").write_text(LEGEND)
    return write_raster(tmp_path / "m.tif", codes)


def files(folder: Path) -> dict[str, bytes]:
    """Products by name; run.json says when it was, which differs."""
    return {
        item.name: item.read_bytes()
        for item in folder.iterdir()
        if item.is_file() and not item.name.endswith(".run.json")
    }


def equal(found: dict[str, bytes], new: dict[str, bytes]) -> bool:
    """Compare products; GeoPackages without the counters of changes that SQLite keeps (bytes 24 and 92)."""

    def told(content: bytes) -> bytes:
        if not content.startswith(b"SQLite format 3"):
            return content
        return content[:24] + content[28:92] + content[96:]

    return {name: told(content) for name, content in found.items()} == {
        name: told(content) for name, content in new.items()
    }


def swept(sweep: Sweep, arguments: list[str], folder: Path, old: dict[str, bytes], most: int) -> None:
    """Fail the calls of a command one by one.

    Law: each product is the old complete file or the new complete one, the command says in one line that it failed,
    and the same command afterwards makes what it would have made.
    """

    def reset() -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        for name, content in old.items():
            (folder / name).write_bytes(content)

    reset()
    assert sweep.run(arguments, folder) == (0, "")
    new, left = files(folder), names(folder)
    assert all(sweep.seen.values()), sweep.seen
    quiet = 0
    for failing in sweep.chosen(most):
        reset()
        code, line = sweep.run(arguments, folder, failing)
        found = files(folder)
        if code == 0:  # a call that does not matter, as that of the text in a lock file
            assert failing.startswith("write"), failing
            assert equal(found, new), failing
            quiet += 1
            continue
        assert code == 1, (failing, line)
        assert str(folder) in line, (failing, line)
        for name, content in found.items():
            if name in new:
                assert content == old.get(name) or equal({name: content}, {name: new[name]}), (failing, name)
            else:
                raise AssertionError(f"{failing}: left {name}")
        code, line = sweep.run(arguments, folder)
        # What failed after the file had its name: adding it once more would be twice.
        twice = code == 2 and "holds polygons of scene" in line and equal(found, new)
        assert code == 0 or twice, (failing, line)
        assert equal(files(folder), new), failing
        assert names(folder) == left, failing
    assert quiet <= 3


@pytest.mark.parametrize("name", ["o.gpkg", "o.parquet", "o.fgb", "o.geojson"])
def test_vectorize(sweep: Sweep, raster: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    arguments = ["vectorize", str(raster), "-o", str(folder / name), "--overwrite", "--workers", "1"]
    swept(sweep, arguments, folder, {name: b"the old file"}, most=5)


def test_append(sweep: Sweep, raster: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    arguments = ["vectorize", str(raster), "-o", str(folder / "o.gpkg"), "--legend", str(tmp_path / "l.csv")]
    assert sweep.run([*arguments, "--scene-name", "a"], folder)[0] == 0
    old = files(folder)
    codes = np.random.default_rng(4).integers(1, 5, (30, 40)).astype(np.uint8)
    other = write_raster(tmp_path / "n.tif", codes)
    arguments[1] = str(other)
    swept(sweep, [*arguments, "--append", "--scene-name", "b", "--workers", "1"], folder, old, most=5)


def test_predict(sweep: Sweep, job: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    confidence = ["--save-confidence", str(folder / "c.tif")]
    arguments = command(job, folder / "l.tif", "--overwrite", *confidence, verb="predict")
    swept(sweep, arguments, folder, {"l.tif": b"the old file", "c.tif": b"the old confidence"}, most=4)


def test_segment(sweep: Sweep, job: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    arguments = command(job, folder / "l.gpkg", "--overwrite", "--raster", str(folder / "l.tif"))
    swept(sweep, arguments, folder, {"l.gpkg": b"the old file"}, most=3)


def test_train(sweep: Sweep, config: Path, tmp_path: Path) -> None:  # noqa: F811
    """The weights are those of a training to which nothing happened."""
    whole = tmp_path / "whole"
    assert sweep.run(train(config, whole), tmp_path) == (0, "")
    expected = outcome(whole)
    for failing in sweep.chosen(3):
        run = tmp_path / failing.replace(" ", "-")
        code, line = sweep.run(train(config, run), run, failing)
        if code == 0:
            assert outcome(run) == expected, failing
            continue
        assert code == 1, (failing, line)
        assert str(run) in line, (failing, line)
        assert not (run / "model.safetensors").exists() or outcome(run)[0] == expected[0]
        again = sweep.run(train(config, run), run)
        assert again[0] in (0, 4), (failing, again)
        assert outcome(run) == expected, failing
        assert names(run) == names(whole), failing
