"""A stdout or stderr that is full, as a log on a full disk, and libraries that cannot be loaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from geoseg_cli.main import _translated
from geoseg_cli.process import unfailing

from tests.vector.test_vectorize import write_raster

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full on this system")


def geoseg(*arguments: str, **streams: object) -> subprocess.CompletedProcess[str]:
    script = "from geoseg_cli.main import main; main()"
    return subprocess.run([sys.executable, "-c", script, *arguments], text=True, check=False, **streams)  # type: ignore[call-overload,no-any-return]


@needs_full
def test_a_full_stdout_is_one_line_and_a_failure(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "m.tif", np.ones((6, 8), np.uint8))
    for arguments in (["info", str(raster)], ["--help"]):
        with FULL.open("w") as full:
            done = geoseg(*arguments, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: nothing more can be written (No space left on device)")


@needs_full
def test_a_full_stderr_does_not_end_the_work(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "m.tif", np.ones((6, 8), np.uint8))
    with FULL.open("w") as full:
        done = geoseg("info", str(raster), "-vv", stdout=subprocess.PIPE, stderr=full)
        assert (done.returncode, "crs" in done.stdout) == (0, True)
        assert geoseg("info", str(tmp_path), stdout=subprocess.PIPE, stderr=full).returncode != 0
        with unfailing(full) as stream:
            print("lost", file=stream)
            assert stream.fileno() == full.fileno()


def test_what_there_is_room_for_is_written_in_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file, unfailing(file) as stream:
        for text in ("a é \udcff", "b" * 100_000, ""):
            print(text, file=stream)
        os.write(file.fileno(), b"c\n")  # nothing waits in a buffer
    assert (tmp_path / "log").read_text() == "a é \\udcff\n" + "b" * 100_000 + "\n\nc\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "ulimit -v"),
        (ImportError("libx.so: cannot open shared object file"), "install geoseg anew"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            "^this needs the package torch, which is not installed: pip install geoseg installs all that it needs$",
        ),
        (OSError(28, "No space left on device"), "nothing more can be written"),
        (
            RuntimeError("CUDA error: an illegal memory access\nCUDA kernel errors"),
            "the GPU failed .*run the same command",
        ),
    ],
)
def test_what_the_machine_lacks_is_no_bug(error: Exception, words: str) -> None:
    line, code = _translated(error)
    assert re.search(words, line)
    assert "this is a bug" not in line
    assert code == 1
    assert "this is a bug" in _translated(ImportError("x", name="geoseg.vector"))[0]


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    """As where only requirements/predict.txt is installed; a process of its own, since this one has torch."""
    script = "import sys; sys.modules['torch'] = None\nfrom geoseg_cli.main import main; main()"
    arguments = [
        "model",
        "new",
        "--bands",
        "r,g,b",
        "--classes",
        "a,b",
        "-o",
        str(tmp_path / "m.safetensors"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], text=True, check=False, capture_output=True
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert done.stderr == (
        "Error: this needs the package torch, which is not installed: pip install geoseg installs all that it needs\n"
    )


def test_a_package_that_is_not_whole_is_not_called_missing() -> None:
    line, code = _translated(ModuleNotFoundError("x", name="torch.fx.proxy"))
    assert (line, code) == (
        "the package torch lacks fx.proxy, it is not whole or of another version; install geoseg anew",
        1,
    )
    assert "this is a bug" in _translated(ModuleNotFoundError("x", name="geoseg.vector.nothing"))[0]
