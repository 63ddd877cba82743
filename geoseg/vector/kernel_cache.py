"""Where numba keeps the kernels that it compiled, also in an installation that nobody may write to.

numba takes a folder only where it can write: the one that ``NUMBA_CACHE_DIR`` names, ``__pycache__`` beside the
modules, or one in the person's home. Where it finds none it refuses to import a module with a kernel.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

VARIABLE: Final = "NUMBA_CACHE_DIR"
_log = logging.getLogger("geoseg")


def find_place() -> None:
    """Have numba find a folder for its kernels, before it is asked to make one.

    A folder that ``NUMBA_CACHE_DIR`` names and that is only to be read (of an image, filled by ``geoseg warmup``) is
    copied to a private one for the life of this process. Where nothing can be written a private folder takes what is
    compiled.
    """
    given = os.environ.get(VARIABLE)
    beside = Path(__file__).parent / "__pycache__"
    if (given and writable(Path(given))) or writable(beside):
        return
    if given and Path(given).is_dir():
        private = _private_folder()
        shutil.copytree(given, private, dirs_exist_ok=True)
    elif not writable(_in_home()):
        _private_folder()
        _log.warning(
            "no folder for compiled kernels can be written, so every run compiles them anew; set %s to one",
            VARIABLE,
        )


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def place() -> Path:
    """Folder that holds the kernels of this process."""
    given = os.environ.get(VARIABLE)
    beside = Path(__file__).parent / "__pycache__"
    if given and writable(Path(given)):
        return Path(given)
    return beside if writable(beside) else _in_home()


def _in_home() -> Path:
    """Numba's folder in the person's home."""
    if sys.platform == "darwin":
        return Path("~/Library/Caches/numba").expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "numba" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "numba"


def _private_folder() -> Path:
    """Make a folder that only this person can write to: who can change a kernel can run code."""
    private = Path(tempfile.mkdtemp(prefix="geoseg-kernels-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    os.environ[VARIABLE] = str(private)
    if "numba" in sys.modules:  # which has read the variable
        sys.modules["numba"].config.CACHE_DIR = str(private)
    return private
