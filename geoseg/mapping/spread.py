"""Compute the cells of a map: one after the other in this process, or by the workers of a dask cluster.

Tasks carry paths, windows and hashes; workers write the cells themselves and return counts. A few tasks per worker are
in flight, so a scheduler never holds a country.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from geoseg.errors import Message, OptionError, OutputError, plural
from geoseg.inference.scheduler import Workers, connected
from geoseg.mapping.cell_work import CellWork
from geoseg.mapping.parts import CellAbout
from geoseg.mapping.sent_work import SentWork, differences, run_sent, sent_work, versions
from geoseg.mapping.task import CellTask, computed, stored

if TYPE_CHECKING:
    from distributed import Client

    from geoseg.mapping.products import Polygons

log = logging.getLogger("geoseg")

_AHEAD: Final = 2
"""Tasks in flight per thread of the workers."""
_DEATHS: Final = 3
"""Workers that a task may kill before it is given up."""
_LOST: Final = "2s"
"""Time after which another worker takes the place of one that does not come back."""
_MOST_WORKERS: Final = 256

Told = Callable[[CellTask, CellAbout], object]
"""Called for each finished cell."""


def compute_here(work: CellWork, tasks: Sequence[CellTask], told: Told) -> dict[str, str]:
    """Compute cells in this process; a thread writes each while the next is computed."""
    writing: tuple[CellTask, Future[CellAbout]] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="geoseg-cells") as pool:
        for task in tasks:
            found = computed(work, task)
            if writing is not None:
                told(writing[0], writing[1].result())
            writing = task, pool.submit(stored, work, task, found)
        if writing is not None:
            told(writing[0], writing[1].result())
    return {}


def compute_on(client: Client, work: CellWork, tasks: Sequence[CellTask], told: Told) -> dict[str, str]:
    """Compute cells on a cluster; return those that were given up because they kill their workers, with the reason.

    Raises
    ------
    OptionError
        If the workers do not fit: other versions, or they do not see the same folder.
    OutputError
        If the scheduler is gone, or there has been no worker for ten minutes.
    GeosegError
        What a cell raised.
    """
    if not tasks:
        return {}
    lost: dict[str, str] = {}
    with sent_work(work, tasks[0].folder) as sent, _scheduler_there():
        check_workers(client, sent, getattr(work.model, "path", None), gpu=work.settings.device == "cuda")
        flow = _Flow(client, sent, told, gpu=work.settings.device == "cuda")
        suspects = flow.run(tasks)
        # The scheduler blames a death on all tasks that the worker had been given, so each is tried once more, alone.
        for task in suspects:
            if flow.run([task]):
                lost[task.name] = "kills its worker every time, as lack of memory does"
                log.error("cell %s: %s; it stays empty", task.name, lost[task.name])
    return lost


class _Flow:
    """Tasks that go through a cluster, a few per thread at a time."""

    def __init__(self, client: Client, sent: SentWork[CellWork], told: Told, *, gpu: bool) -> None:
        self._client, self._sent, self._told, self._gpu = client, sent, told, gpu
        self._workers = Workers(client)

    def run(self, tasks: Sequence[CellTask]) -> list[CellTask]:
        """Compute cells; return those that may have killed workers."""
        from distributed.scheduler import KilledWorker

        suspects: list[CellTask] = []
        waiting = iter(tasks)
        running: dict[Any, CellTask] = {}
        done: SimpleQueue[Any] = SimpleQueue()
        while True:
            for task in islice(waiting, max(0, max(1, _AHEAD * self._workers.threads) - len(running))):
                future = self._submitted(task)
                running[future] = task
                future.add_done_callback(done.put)
            if not running:
                return suspects
            future = self._workers.wait_for_next(done)
            task = running.pop(future)
            try:
                self._told(task, future.result())
            except KilledWorker:
                suspects.append(task)

    def _submitted(self, task: CellTask) -> Any:
        return self._client.submit(
            run_sent,
            self._sent,
            task,
            key=f"geoseg-cell-{task.name}-{uuid4().hex[:8]}",
            pure=False,
            resources={"GPU": 1} if self._gpu else None,
        )


def polygons_on(client: Client, polygons: Polygons, path: Path) -> dict[int, int]:
    """Let a worker put the cells together; return how many polygons there are of each class.

    Raises
    ------
    OutputError
        If the scheduler is gone, or there has been no worker for ten minutes.
    """
    from distributed.scheduler import KilledWorker

    key = f"geoseg-polygons-{uuid4().hex[:8]}"
    with sent_work(polygons, path.parent) as sent, _scheduler_there():
        done: SimpleQueue[Any] = SimpleQueue()
        future = client.submit(_write, sent, path, key=key, pure=False)
        future.add_done_callback(done.put)
        try:
            found: dict[int, int] = Workers(client).wait_for_next(done).result()
        except KilledWorker as error:
            raise OutputError(
                "putting the cells together kills its worker every time, as lack of memory does; the same command "
                "without a cluster does it in its own process"
            ) from error
    return found


def _write(sent: SentWork[Polygons], path: Path) -> dict[int, int]:
    return sent.load().write(path)


@contextmanager
def _scheduler_there() -> Iterator[None]:
    """Say in one line that a scheduler is gone."""
    from concurrent.futures import CancelledError

    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CommClosedError, CancelledError, TimeoutError) as error:
        raise OutputError(
            f"the scheduler of the cluster is gone ({type(error).__name__}); finished cells stay",
            Message("run the same command again, with another {scheduler} if that one does not come back"),
        ) from error


def sees(path: str) -> bool:
    """Tell whether this process finds a file."""
    return Path(path).exists()


def check_workers(client: Client, sent: SentWork[CellWork], model: Path | None, *, gpu: bool) -> None:
    """Refuse workers of other versions, and workers that do not see the folder of the cells or the model.

    Raises
    ------
    OptionError
    """
    theirs = client.run(versions)
    if not theirs:
        raise OptionError(
            "the cluster has no workers",
            "start some with dask worker and the address of the scheduler, one thread each",
        )
    for worker, found in sorted(theirs.items()):
        other = differences(sent.versions, found)
        if other:
            raise OptionError(
                f"worker {worker} differs from this process: {other}",
                "give client and workers the same environment",
            )
    for path in (sent.path, *([] if model is None else [model])):
        blind = sorted(worker for worker, there in client.run(sees, str(path)).items() if not there)
        if blind:
            raise OptionError(
                f"worker {blind[0]} does not find {path.parent if path is sent.path else path}",
                "client and workers need one file system, mounted under the same path",
            )
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if gpu and not any(worker["resources"].get("GPU") for worker in workers):
        raise OptionError(
            "no worker of the cluster offers a GPU",
            "start one worker for each, with the resource GPU=1",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Where the cells of a map are computed.

    Parameters
    ----------
    workers : int or None
        Number of processes to start on this machine.
    scheduler : str or None
        Address of a dask scheduler, ``tcp://host:8786``, or its JSON file.
    client : distributed.Client or None
        Client of a cluster that the caller has.
    """

    workers: int | None = None
    scheduler: str | None = None
    client: Any = None

    def __post_init__(self) -> None:
        """Refuse more than one of them, and numbers out of range."""
        given = [name for name in ("workers", "scheduler", "client") if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(
                Message("{workers} and {scheduler} both say where cells are computed; give one of them")
            )
        if self.workers is not None and not 1 <= self.workers <= _MOST_WORKERS:
            raise OptionError(f"workers is {self.workers}, expected 1 to {_MOST_WORKERS}")

    @property
    def elsewhere(self) -> bool:
        """Whether other processes compute."""
        return (self.workers, self.scheduler, self.client) != (None, None, None)

    def threads(self, cores: int) -> int | None:
        """Return the threads of a worker on this machine; None if the cluster is not started here."""
        return None if self.workers is None else max(1, cores // self.workers)

    @contextmanager
    def opened(self, threads: int) -> Iterator[Client | None]:
        """Yield a client of the cluster, which is started and ended here if it is this machine's; None for none.

        Raises
        ------
        OptionError
            If no scheduler answers.
        """
        if self.client is not None:
            _say_dashboard(self.client)
            yield self.client
        elif self.scheduler is not None:
            with connected(self.scheduler) as client:
                _say_dashboard(client)
                yield client
        elif self.workers is not None:
            with _local(self.workers, threads) as client:
                _say_dashboard(client)
                yield client
        else:
            yield None


@contextmanager
def _local(workers: int, threads: int) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    # Not for other clusters, whose scheduler has settings of its own.
    settings = {
        "distributed.scheduler.allowed-failures": _DEATHS - 1,
        "distributed.deploy.lost-worker-timeout": _LOST,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            resources={"GPU": 1},
            preload=["geoseg.mapping.deaf"],
            dashboard_address="127.0.0.1:0",
            env={"OMP_NUM_THREADS": str(threads)},
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        # dask starts no other worker for one that dies before it is told that it has begun, as that of a deadly cell
        # may; a cluster that adapts itself does.
        cluster.adapt(minimum=workers, maximum=workers)
        yield client


def _say_dashboard(client: Client) -> None:
    address = getattr(client, "dashboard_link", None)
    count = len(client.nthreads())
    log.info("%s; dashboard: %s", plural(count, "worker"), address or "none")
