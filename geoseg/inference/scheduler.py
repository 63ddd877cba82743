"""Connect to the scheduler of a dask cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from geoseg.errors import Message, OptionError, OutputError

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger("geoseg")

_LOOK: Final = 5.0
"""Seconds after which the workers of a cluster are counted anew."""
_TOLD: Final = 15.0
"""Seconds without a worker after which that is told: another may be on its way."""
_PATIENCE: Final = 600.0


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Yield a client of the cluster of a scheduler.

    Parameters
    ----------
    address : str
        Address of the scheduler, ``tcp://host:8786``, or the JSON file that it wrote.

    Raises
    ------
    OptionError
        If no scheduler answers.
    """
    from distributed import Client

    name = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    if address.endswith(".json") and not Path(address).is_file():
        raise OptionError(f"{address}: does not exist; expected the JSON file that a dask scheduler writes")
    with _silent():
        try:
            # Not as dask's default client: one that could not connect would remain the default, and every later
            # computation of the caller would wait for it without end.
            client = Client(**name, timeout="10s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise OptionError(
                f"no dask scheduler answers at {address} ({reason})",
                Message("start one with dask scheduler, or pass {workers} for processes of this machine"),
            ) from error
        with client:
            yield client


class Workers:
    """Counts the threads of a cluster's workers, and does not wait without end for a cluster that has none.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._looked, self._seen, self._told = -_LOOK, time.monotonic(), False
        self._threads = 0

    @property
    def threads(self) -> int:
        """Threads of all workers, counted every few seconds.

        Raises
        ------
        OutputError
            If there has been no worker for ten minutes.
        """
        self.look()
        return self._threads

    def look(self) -> None:
        """Count anew, if it is time; tell that there are none.

        Raises
        ------
        OutputError
            If there has been no worker for ten minutes.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked, self._threads = now, sum(self._client.nthreads().values())
        without = now - self._seen
        if self._threads:
            self._seen, self._told = now, False
        elif without > _PATIENCE:
            raise OutputError(
                f"the cluster has had no workers for {without / 60:.0f} minutes; what is finished stays",
                "start some with dask worker and the address of the scheduler, and run the same command again",
            )
        elif without > _TOLD and not self._told:
            self._told = True
            log.warning("the cluster has no workers any more; waiting for others")

    def wait_for_next(self, done: SimpleQueue[Future]) -> Future:
        """Wait for the next future that its callback puts into a queue.

        Raises
        ------
        OutputError
            If there has been no worker for ten minutes.
        """
        while True:
            self.look()
            with suppress(Empty):
                return done.get(timeout=_LOOK)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep dask's own lines, which repeat with a traceback what is said here, off stderr."""
    handlers = {handler: handler.level for handler in logging.getLogger("distributed").handlers}
    try:
        for handler in handlers:
            handler.setLevel(logging.CRITICAL)
        yield
    finally:
        for handler, level in handlers.items():
            handler.setLevel(level)
