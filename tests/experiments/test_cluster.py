"""A trial on another machine ends with its sweep, and a cluster that is not there is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from distributed import Client, LocalCluster, get_client

from geoseg.errors import OptionError, OutputError
from geoseg.experiments import cluster
from geoseg.experiments.cluster import ClusterPool, Pulse, cluster_pool
from geoseg.inference import scheduler


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that follow each other at once."""
    monkeypatch.setattr(cluster, "_LOOK", 0.0)


def test_a_pulse_tells_whose_sweep_lives(at_once: None, tmp_path: Path) -> None:
    path = tmp_path / "pulse"
    path.write_text("mine 0")
    pulse = Pulse(path, "mine")
    assert not pulse.ended()
    path.write_text("mine 1")
    assert not pulse.ended()
    path.write_text("other 0")
    assert pulse.ended(), "another sweep has taken the folder over"
    path.write_text("mine 2")
    assert pulse.ended(), "it does not come back"


def test_a_sweep_that_ends_says_so_and_one_that_died_is_silent(at_once: None, tmp_path: Path) -> None:
    path = tmp_path / "pulse"
    path.write_text("mine 7")
    alive, dead = Pulse(path, "mine"), Pulse(path, "mine", silence=0.0)
    assert not alive.ended()
    path.write_text("mine ends")
    assert alive.ended()
    path.write_text("mine 7")
    dead.ended()
    assert dead.ended(), "nothing has changed for longer than it waits"
    assert Pulse(tmp_path / "none", "mine", silence=0.0).ended(), "nor where the file is gone"


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OptionError, match=r"nothing.json: does not exist; expected the JSON file"),
        cluster_pool(str(tmp_path / "nothing.json"), tmp_path, {}),
    ):
        pass
    with (
        pytest.raises(OptionError, match=r"no dask scheduler answers at udp://.*pass workers="),
        cluster_pool("udp://127.0.0.1:1", tmp_path, {}),
    ):
        pass
    with pytest.raises(ValueError, match="no address"):
        get_client()  # what dask would compute the caller's own arrays with


def test_a_sweep_gives_a_cluster_up_that_has_lost_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0", silence_logs=50) as local,
        Client(local, set_as_default=False) as client,
    ):
        pool = ClusterPool(client, tmp_path, {})
        assert pool.ended(0.01) == []
        monkeypatch.setattr(scheduler, "_LOOK", 0.0)
        monkeypatch.setattr(scheduler, "_PATIENCE", 0.0)
        with pytest.raises(OutputError, match="the cluster has had no workers"):
            pool.ended(0.01)
        pool.close()
