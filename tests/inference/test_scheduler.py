"""A cluster without workers is waited for, told of, and given up."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue

import pytest
from distributed import Client, Future, LocalCluster

from geoseg.errors import OutputError
from geoseg.inference import scheduler
from geoseg.inference.scheduler import Workers


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """A cluster in this process without workers."""
    with LocalCluster(
        n_workers=0, processes=False, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as started:
        yield started


def test_workers_that_do_not_come_are_told_of_once_and_given_up(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in {"_LOOK": 0.02, "_TOLD": 0.1, "_PATIENCE": 0.5}.items():
        monkeypatch.setattr(scheduler, name, seconds)
    done: SimpleQueue[Future] = SimpleQueue()
    with Client(cluster, set_as_default=False) as client:
        future = client.submit(abs, -1)
        future.add_done_callback(done.put)
        with pytest.raises(OutputError, match="the cluster has had no workers for 0 minutes"):
            Workers(client).wait_for_next(done)
    assert caplog.text.count("the cluster has no workers any more; waiting for others") == 1


def test_workers_that_come_late_do_the_work(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_LOOK", 0.02)
    done: SimpleQueue[Future] = SimpleQueue()
    with Client(cluster, set_as_default=False) as client:
        workers = Workers(client)
        assert workers.threads == 0
        future = client.submit(abs, -1)
        future.add_done_callback(done.put)
        cluster.scale(1)
        assert workers.wait_for_next(done).result() == 1
