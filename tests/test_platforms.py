"""Systems without what only Unix has (Windows), simulated: imports of ours are blocked, and the source is searched."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = frozenset(["fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"])
UNIX = """
os: O_CLOEXEC O_DIRECTORY chown chroot fchmod fchown fork forkpty fstatvfs geteuid getgid getloadavg getpgid getuid
os: killpg lchown memfd_create mkfifo mknod nice openpty posix_fadvise posix_fallocate pread preadv pwrite pwritev
os: register_at_fork sched_getaffinity sched_setaffinity sendfile setpgid setsid statvfs sync sysconf uname wait
os: wait3 wait4 waitpid
signal: SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH alarm
signal: getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait
"""
NAMES = {
    (module, name)
    for module, names in (line.split(":") for line in UNIX.strip().splitlines())
    for name in names.split()
}
# Used where the system is known to have them.
GUARDED = {
    "geoseg/storage/lock.py": {"fcntl", "O_CLOEXEC", "pread", "pwrite", "register_at_fork"},
    "geoseg/engine/devices.py": {"sched_getaffinity"},
    "geoseg/storage/process_memory.py": {"resource"},
    "geoseg/datasets/loading.py": {"resource"},
    "cli/process.py": {"register_at_fork"},
}


def unix_only(path: Path) -> Iterator[str]:
    """Names in a module that only Unix has."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Attribute) and (ast.unparse(node.value), node.attr) in NAMES:
            yield node.attr


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("geoseg/**/*.py"), *ROOT.glob("cli/*.py")]), ids=lambda path: path.stem
)
def test_what_only_unix_has_is_guarded(path: Path) -> None:
    assert set(unix_only(path)) == GUARDED.get(path.relative_to(ROOT).as_posix(), set())


WITHOUT = """
import builtins, os, sys
from pathlib import Path

found = builtins.__import__

def blocked(name, globals=None, *rest):
    ours = (globals or {}).get("__name__", "").startswith("geoseg")
    if ours and name in ("fcntl", "resource"):
        raise ImportError(name)
    return found(name, globals, *rest)

builtins.__import__ = blocked
folder = Path(sys.argv[1])

import numpy as np
import geoseg.datasets.loading as loading
import geoseg.storage.process_memory as memory
from geoseg.errors import OutputBusyError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster.classmap import ClassMap
from geoseg.storage import durable, lock
from geoseg.vector.vectorize import vectorize
from affine import Affine

assert not lock.HAS_FLOCK and loading._data_limit() is None and memory.peak_memory_mb() > 0
durable._WINDOWS = True
grid = Grid(height=4, width=4, transform=Affine(10, 0, 0, 0, -10, 0), crs=None)
codes = np.kron(np.array([[1, 2], [2, 1]], np.uint8), np.ones((2, 2), np.uint8))
whole = ClassMap(codes=codes, valid=codes > 0, grid=grid, legend=Legend.parse("a,b"))
output = folder / "map.gpkg"
with lock.locked(folder / "map.gpkg.geoseg-lock", output):
    try:
        vectorize(whole, output=output)
    except OutputBusyError as error:
        print(error)
print(len(vectorize(whole)), vectorize(whole, output=output) is not None, output.exists())
"""


@pytest.mark.long
def test_maps_are_made_and_locked_where_there_is_no_flock(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    busy, made = run.stdout.splitlines()
    assert (
        busy == f"{tmp_path / 'map.gpkg'}: in use by another process; wait for it, or choose another output="
    )
    assert made.endswith("True")
