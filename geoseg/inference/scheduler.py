"""Connect to the scheduler of a dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import Message, OptionError

if TYPE_CHECKING:
    from distributed import Client


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
