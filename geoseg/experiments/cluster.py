"""Trials on the workers of a dask cluster, each in a process that its worker starts.

The workers see the folder of the sweep. A trial must not go on after its sweep has died, and no pipe leads to another
machine: the sweep writes a file in its folder every few seconds, and a worker stops a trial when it has not changed for
a minute, or another sweep has taken it over.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from geoseg.errors import OptionError
from geoseg.experiments.trial_process import Outcome, run_process
from geoseg.inference.scheduler import Workers, connected

if TYPE_CHECKING:
    from distributed import Client, Future

PULSE: Final = "pulse"
"""File by which workers know that the sweep lives."""
_BEAT: Final = 5.0
_SILENCE: Final = 60.0
"""Seconds without a change after which a sweep counts as dead."""
_LOOK: Final = 1.0
_ENDS: Final = "ends"


class Pulse:
    """Tells whether a sweep has ended, by its file.

    Parameters
    ----------
    path : Path
        The file.
    token : str
        What it begins with while that sweep lives.
    silence : float
        Seconds without a change after which the sweep counts as dead.
    """

    def __init__(self, path: Path, token: str, silence: float = _SILENCE) -> None:
        self._path, self._token, self._silence = path, token, silence
        self._text, self._changed, self._looked = "", time.monotonic(), 0.0
        self._over = False

    def ended(self) -> bool:
        """Return whether the sweep has ended; looks once a second."""
        now = time.monotonic()
        if self._over or now - self._looked < _LOOK:
            return self._over
        self._looked = now
        text = ""
        with suppress(OSError):
            text = self._path.read_text(encoding="utf-8")
        if text != self._text and text:
            self._text, self._changed = text, now
            token, _, beat = text.partition(" ")
            self._over = token != self._token or beat == _ENDS
        self._over = self._over or now - self._changed > self._silence
        return self._over


def run_order(order: Mapping[str, Any], environment: Mapping[str, str], pulse: tuple[str, str]) -> Outcome:
    """Run a trial on a worker.

    Parameters
    ----------
    order, environment : mapping
        As `run_process` takes them.
    pulse : (str, str)
        File and token of the sweep.
    """
    return run_process(order, environment, Pulse(Path(pulse[0]), pulse[1]).ended)


class ClusterPool:
    """Workers of a cluster: a trial each at a time, with a GPU each where they offer one.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    folder : Path
        Folder of the sweep.
    environment : mapping of str to str
        Variables that trials need.
    """

    def __init__(self, client: Client, folder: Path, environment: Mapping[str, str]) -> None:
        self._client, self._environment = client, dict(environment)
        self._token = uuid4().hex
        self._path = folder.absolute() / PULSE
        self._futures: dict[Future, str] = {}
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._ends = threading.Event()
        self._workers = Workers(client)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        gpus = int(sum(each.get("resources", {}).get("GPU", 0) for each in workers))
        self._resources = {"GPU": 1} if gpus else None
        self.size = max(1, gpus or len(workers))
        self._beat(0)
        self._heart = threading.Thread(target=self._live, daemon=True)
        self._heart.start()

    @property
    def running(self) -> set[str]:
        """Names of the trials that have begun."""
        return set(self._futures.values())

    def start(self, name: str, order: Mapping[str, Any]) -> None:
        """Begin a trial."""
        future = self._client.submit(
            run_order, order, self._environment, (str(self._path), self._token),
            key=f"geoseg-trial-{name}-{uuid4().hex[:8]}", pure=False, resources=self._resources,
        )  # fmt: skip
        self._futures[future] = name
        future.add_done_callback(self._done.put)

    def ended(self, timeout: float) -> list[tuple[str, Outcome]]:
        """Return the trials that have ended.

        Raises
        ------
        OutputError
            If there has been no worker for ten minutes.
        """
        self._workers.look()
        try:
            future = self._done.get(timeout=timeout)
        except queue.Empty:
            return []
        return [(self._futures.pop(future), self._outcome(future))]

    def _outcome(self, future: Future) -> Outcome:
        try:
            found: Outcome = future.result()
        except Exception as error:  # whatever happens to a worker is told of its trial
            reason = " ".join(str(error).split()) or type(error).__name__
            return Outcome(status="failed", reason=f"its worker failed: {reason}")
        return found

    def stop(self) -> None:
        """Let all trials save their state and end."""
        self._ends.set()
        self._beat(_ENDS)

    def close(self) -> None:
        """Stop what runs."""
        self.stop()
        self._heart.join()

    def _beat(self, count: int | str) -> None:
        with suppress(OSError):  # a full disk: the next one may find room
            self._path.write_text(f"{self._token} {count}", encoding="utf-8")

    def _live(self) -> None:
        count = 0
        while not self._ends.wait(_BEAT):
            count += 1
            self._beat(count)


@contextmanager
def cluster_pool(address: str, folder: Path, environment: Mapping[str, str]) -> Iterator[ClusterPool]:
    """Yield the workers of the cluster of a scheduler.

    Parameters
    ----------
    address : str
        Its address, or the JSON file that it wrote.
    folder : Path
        Folder of the sweep, which the workers see.
    environment : mapping of str to str
        Variables that trials need.

    Raises
    ------
    OptionError
        If no scheduler answers, or it has no workers.
    """
    with connected(address) as client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise OptionError(f"the dask scheduler at {address} has no workers; start some with dask worker")
        pool = ClusterPool(client, folder, environment)
        try:
            yield pool
        finally:
            pool.close()
            (folder / PULSE).unlink(missing_ok=True)
