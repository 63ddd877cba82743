"""What is kept of models is shown and removed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from geoseg_cli.main import group
from safetensors.torch import load_file, save_file

from geoseg.errors import ModelError
from geoseg.inference.predict import predict
from geoseg.models import network
from geoseg.models.card import CARD_KEY
from geoseg.models.card_file import read_card
from geoseg.models.graphs import cache_folder, graph_of, kept_graph, kept_graphs, trim
from geoseg.models.model import Model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEOSEG_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept" / "graphs"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(group, ["cache", *arguments])
    assert result.exit_code == 0, result.stderr
    return result.stderr + result.stdout


def test_nothing_is_kept_at_first(folder: Path) -> None:
    assert f"{folder}: 0 converted networks, 0 MB" in run()
    assert not folder.exists()


@pytest.mark.long
def test_a_converted_network_is_kept_shown_and_removed(folder: Path, model_file: Path) -> None:
    model = Model.open(model_file)
    graph_of(model, (64, 64))
    (kept,) = folder.iterdir()
    assert sorted(file.name for file in kept.iterdir()) == ["graph.bin", "graph.xml"]
    before = {file: file.stat().st_mtime_ns for file in kept.iterdir()}
    graph_of(model, (64, 64))
    assert {file: file.stat().st_mtime_ns for file in kept.iterdir()} == before
    graph_of(model, (96, 96))
    assert f"{folder}: 2 converted networks, " in run()
    assert "removed 2 converted networks" in run("--clear")
    assert not list(folder.iterdir())


@pytest.mark.long
def test_what_is_kept_is_found_without_building_the_network(
    folder: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept_graph(Model.open(model_file, build=False), (64, 64)) is None
    graph_of(Model.open(model_file), (64, 64))

    def build(plan: object) -> None:
        raise AssertionError(plan)

    monkeypatch.setattr(network, "build", build)
    model = Model.open(model_file, build=False)
    model.check_tile_size(64)
    assert kept_graph(model, (64, 64)) is not None
    assert graph_of(model, (64, 64)) is not None
    whole = Model.open(model_file, build=False)
    whole.card = whole.card.changed(image_size=(64, 64))
    whole.check_tile_size(64)
    with pytest.raises(AssertionError, match="NetworkPlan"):
        model.check_tile_size(96)


def test_weights_that_do_not_fit_their_card_are_refused_by_a_prediction(
    folder: Path, model_file: Path
) -> None:
    """Which builds no network before it needs one."""
    path = folder.parent.parent / "m.safetensors"
    card = read_card(model_file).changed(channels=[1, 2], legend=read_card(model_file).legend[:2])
    save_file(load_file(model_file), path, metadata={CARD_KEY: card.to_json()})
    assert Model.open(path, build=False).card == card
    scene = np.zeros((3, 64, 64), np.uint8)
    for refused in (lambda: Model.open(path), lambda: predict(scene, path)):
        with pytest.raises(ModelError, match=rf"{path}: its weights do not fit its card \(.*size mismatch"):
            refused()


@pytest.mark.long
def test_other_weights_are_another_network(folder: Path, model_file: Path) -> None:
    """Also those of a Model that was trained on after a prediction."""
    model = Model.open(model_file)
    graph_of(model, (64, 64))
    for weights in model.network.parameters():
        weights.data.mul_(1.5)
    graph_of(model, (64, 64))
    assert len(list(folder.iterdir())) == 2


@pytest.mark.long
def test_a_damaged_file_is_made_anew(folder: Path, model_file: Path) -> None:
    model = Model.open(model_file)
    graph_of(model, (64, 64))
    (kept,) = folder.iterdir()
    (kept / "graph.xml").write_bytes(b"<net")
    graph_of(model, (64, 64))
    assert (kept / "graph.xml").read_bytes().startswith(b"<?xml")


@pytest.mark.long
def test_a_folder_that_cannot_be_written_is_done_without(
    tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GEOSEG_CACHE_DIR", str(tmp_path / "file"))
    assert graph_of(Model.open(model_file), (64, 64)) is not None
    assert cache_folder() == tmp_path / "file" / "graphs"


def test_what_was_not_used_for_longest_goes_first(folder: Path) -> None:
    for number in range(3):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "graph.bin").write_bytes(bytes(100))

    for number in range(3):
        os.utime(folder / str(number), (1000 - number, 1000 - number))
    assert trim(200) == 1
    assert [path.name for path, _ in kept_graphs()] == ["1", "0"]
