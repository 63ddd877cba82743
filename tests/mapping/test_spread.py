"""Maps that a dask cluster computes: the bytes of one process."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import geoseg
from geoseg.mapping.map import map as make_map
from tests.mapping.test_map import pieces
from tests.mapping.truths import reading_model, truth


@pytest.mark.long
def test_workers_give_the_bytes_of_one_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scenes = pieces(tmp_path, truth((120, 150)), 3)
    maps = {}
    for workers in (None, 1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        made = make_map(
            scenes,
            reading_model(),
            output=folder / "map.gpkg",
            cell="64px",
            precision="fp32",
            workers=workers,
        )
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file() and path.suffix in (".gpkg", ".tif", ".npz", ".vrt")
        )
        assert len(files) > 10
        maps[workers] = {path.name: path.read_bytes() for path in files}
        assert made == folder / "map.gpkg"

    assert maps[1] == maps[None]
    assert maps[2] == maps[None]
    assert "2 workers; dashboard: http" in caplog.text


def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    scenes = pieces(tmp_path, truth((60, 60)), 3)

    with pytest.raises(geoseg.OptionError, match=r"nobody\.json: does not exist"):
        make_map(
            scenes, reading_model(), output=tmp_path / "map.gpkg", scheduler=str(tmp_path / "nobody.json")
        )
