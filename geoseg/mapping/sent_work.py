"""What all cells of a map share, as a file in their folder that each worker reads once.

Data that dask itself scatters are lost with the last worker that holds them, and with them every task. A file is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

from geoseg.errors import OptionError, OutputError, plural
from geoseg.inference.worker_models import Kept
from geoseg.mapping.cell_work import CellWork
from geoseg.mapping.parts import UNFINISHED, CellAbout
from geoseg.mapping.task import CellTask, run_task

Versions = tuple[tuple[str, str | None], ...]
Sent = TypeVar("Sent")
_WORKS: Kept[Any] = Kept(2)
_SAME_ENVIRONMENT = "give client and workers the same environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentWork(Generic[Sent]):
    """Where workers find what they need.

    Parameters
    ----------
    path : Path
        File with the pickled `CellWork`, or whatever else was sent.
    sha256 : str
        Its checksum, so that nothing else is unpickled.
    versions : tuple of (str, str or None)
        Versions of the client.
    """

    path: Path
    sha256: str
    versions: Versions

    def load(self) -> Sent:
        """Read it, once per process.

        Raises
        ------
        OptionError
            If this process, which may have come after the start, has other versions.
        OutputError
            If the file is gone or is another one.
        """
        found: Sent = _WORKS.get(self.sha256, self._read)
        return found

    def _read(self) -> Sent:
        import cloudpickle  # type: ignore[import-untyped]  # dask requires it

        other = differences(self.versions, versions())
        if other:
            raise OptionError(f"a worker differs from the client: {other}", _SAME_ENVIRONMENT)
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be read by a worker ({error.strerror})") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise OutputError(f"{self.path}: has changed since the client wrote it; run the command again")
        work: Sent = cloudpickle.loads(data)
        return work


@contextmanager
def sent_work(work: Sent, folder: Path) -> Iterator[SentWork[Sent]]:
    """Write what workers need into a folder that they see, for as long as they are at it.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    import cloudpickle

    path = folder / f"work.{uuid4().hex}{UNFINISHED}"
    data = cloudpickle.dumps(work)
    try:
        try:
            path.write_bytes(data)
        except OSError as error:
            raise OutputError(
                f"{path}: {plural(len(data), 'byte')} could not be written ({error.strerror}); make room and run "
                "the command again"
            ) from error
        yield SentWork(path=path, sha256=hashlib.sha256(data).hexdigest(), versions=versions())
    finally:
        path.unlink(missing_ok=True)


def run_sent(sent: SentWork[CellWork], task: CellTask) -> CellAbout:
    """Compute a cell and write it: what a worker does."""
    return run_task(sent.load(), task)


def versions() -> Versions:
    """Return the versions that results depend on, of this process."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found: list[tuple[str, str | None]] = [("python", platform.python_version())]
    for package in ("geoseg", "numpy", "rasterio", "openvino", "torch", "distributed"):
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            found.append((package, None))
    return tuple(found)


def differences(ours: Versions, theirs: Versions) -> str:
    """Say which versions of a worker differ from the client's; nothing if none does."""
    found = dict(theirs)
    return ", ".join(
        f"{name} {found.get(name) or 'is missing'} for {version}"
        for name, version in ours
        if found.get(name) != version
    )
