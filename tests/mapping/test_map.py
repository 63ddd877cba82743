"""One map of many scenes: ground once, whatever the scenes, cells and workers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import geoseg
from geoseg.mapping.map import map as make_map
from tests.mapping.truths import NODATA, ReadsOff, reading_model, truth, write_scene

MODEL = reading_model()
SHAPE = (120, 150)


def polygons(path: Path) -> list[tuple[bytes, int, int, float]]:
    """Geometry, class, pixels and confidence of all polygons, sorted."""
    frame = gpd.read_file(path, layer="landcover")
    return sorted(
        zip(shapely.to_wkb(frame.geometry), frame.class_code, frame.pixels, frame.confidence, strict=True)
    )


def made(folder: Path, scenes: Sequence[Path], name: str = "map.gpkg", **keywords: Any) -> Path:
    return make_map(scenes, MODEL, output=folder / name, precision="fp32", **keywords)


def pieces(folder: Path, codes: np.ndarray, seed: int, count: int = 12) -> list[Path]:
    """Cut a truth into overlapping scenes with clouds (no data) such that every pixel is clear in one of them."""
    generator = np.random.default_rng(seed)
    rows, cols = codes.shape
    scenes = []
    covered = np.zeros(codes.shape, bool)
    for number in range(count):
        height, width = generator.integers(rows // 3, rows), generator.integers(cols // 3, cols)
        row, col = generator.integers(0, rows - height + 1), generator.integers(0, cols - width + 1)
        part = codes[row : row + height, col : col + width].copy()
        part[
            generator.random((height // 10 + 1, width // 10 + 1)).repeat(10, 0).repeat(10, 1)[:height, :width]
            < 0.3
        ] = NODATA
        covered[row : row + height, col : col + width] |= part != NODATA
        scenes.append(write_scene(folder / f"s{number}_2024{number + 1:02d}15.tif", part, (row, col)))
    rest = np.where(covered, NODATA, codes)
    return [*scenes, write_scene(folder / "rest.tif", rest)]


@pytest.mark.long
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    cell=st.sampled_from(["37px", "64px", "200px", "1km"]),
    prefer=st.sampled_from(["order", "newest", "clearest", "nearest", "confidence"]),
)
def test_the_map_of_pieces_is_the_map_of_the_whole_scene(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cell: str, prefer: str
) -> None:
    folder = tmp_path_factory.mktemp("map")
    codes = truth(SHAPE, seed)
    whole = made(folder, [write_scene(folder / "whole.tif", codes)], "whole.gpkg")
    expected = geoseg.vectorize(codes + 1, progress=False)

    found = made(folder, pieces(folder, codes, seed), cell=cell, prefer=prefer)

    assert polygons(found) == polygons(whole)
    assert len(polygons(found)) == len(expected)
    with rasterio.open(folder / "map.vrt") as mosaic:
        np.testing.assert_array_equal(mosaic.read(1), codes + 1)
        assert mosaic.nodata == NODATA
        assert mosaic.colormap(1)[1] == (47, 127, 208, 255)
    rows = list(csv.DictReader((folder / "map.areas.csv").read_text().splitlines()))
    pixels = {int(row["class_code"]): int(row["pixels"]) for row in rows if row["zone"] == "all"}
    assert pixels == {code: int((codes + 1 == code).sum()) for code in np.unique(codes + 1).tolist()}


def test_polygons_say_where_they_come_from(tmp_path: Path) -> None:
    codes = np.zeros((40, 40), np.uint8)
    west = write_scene(tmp_path / "west_20200417.tif", codes[:, :30])
    east = write_scene(
        tmp_path / "east.tif", np.full((40, 30), 2, np.uint8), (0, 10), ACQUISITION_DATE="2024-05-06"
    )

    first = gpd.read_file(made(tmp_path, [west, east], "first.gpkg"), layer="landcover")
    newest = gpd.read_file(made(tmp_path, [west, east], "newest.gpkg", prefer="newest"), layer="landcover")

    assert first[["class_name", "scene", "date", "pixels"]].to_numpy().tolist() == [
        ["water", "west_20200417.tif", "2020-04-17", 1200],
        ["town", "east.tif", "2024-05-06", 400],
    ]
    assert newest.pixels.tolist() == [400, 1200]


def test_more_scenes_change_only_the_cells_that_they_touch(tmp_path: Path) -> None:
    codes = truth((64, 128))
    left, right = (
        write_scene(tmp_path / "left.tif", codes[:, :64], (0, 16)),  # both begin at an edge of cells
        write_scene(tmp_path / "right.tif", codes[:, 64:], (0, 80)),
    )
    told: list[tuple[int, int, str]] = []
    made(tmp_path, [left], cell="32px")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "map.cells").glob("*.npz")}

    made(tmp_path, [left, right], cell="32px", overwrite=True, progress=lambda *each: told.append(each))

    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "map.cells").glob("*.npz")}
    assert before.items() <= after.items()
    assert len(after) > len(before)
    assert sum(what == "map" for _, _, what in told) == len(after) - len(before)
    whole = made(tmp_path, [write_scene(tmp_path / "whole.tif", codes, (0, 16))], "whole.gpkg")
    assert polygons(tmp_path / "map.gpkg") == polygons(whole)


def test_the_same_call_does_nothing_the_second_time(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", truth((64, 64)))
    path = made(tmp_path, [scene])
    first = path.stat().st_mtime_ns

    made(tmp_path, [scene])

    assert path.stat().st_mtime_ns == first
    with pytest.raises(geoseg.OutputExistsError, match="already exists"):
        made(tmp_path, [scene], prefer="nearest")


def test_a_finished_output_of_something_else_stays(tmp_path: Path) -> None:
    (tmp_path / "map.gpkg").write_bytes(b"mine")
    scene = write_scene(tmp_path / "scene.tif", truth((64, 64)))

    with pytest.raises(geoseg.OutputExistsError, match="already exists"):
        made(tmp_path, [scene])

    assert (tmp_path / "map.gpkg").read_bytes() == b"mine"
    assert not (tmp_path / "map.cells").exists()


@pytest.mark.parametrize("name", ["map.qml", "map.vrt", "map.areas.csv"])
def test_what_lies_beside_a_new_map_stays(tmp_path: Path, name: str) -> None:
    """Before any cell is computed; and a style that was changed since stays beside a map that is made again."""
    (tmp_path / name).write_text("mine")
    scene = write_scene(tmp_path / "scene.tif", truth((64, 64)))
    with pytest.raises(geoseg.OutputExistsError, match=f"would replace {name}") as caught:
        made(tmp_path, [scene])
    assert caught.value.exit_code == 4
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "map.cells").exists()
    made(tmp_path, [scene], overwrite=True)
    assert (tmp_path / name).read_text() != "mine"
    (tmp_path / "map.gpkg").unlink()
    made(tmp_path, [scene])
    (tmp_path / "map.gpkg").unlink()
    (tmp_path / "map.qml").write_text("mine")
    with pytest.raises(geoseg.OutputExistsError, match=r"would replace map\.qml, too"):
        made(tmp_path, [scene])
    assert (tmp_path / "map.qml").read_text() == "mine"


class Counting(ReadsOff):
    """The same, and counts the tiles that it sees."""

    tiles = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counting.tiles += int((x.flatten(1) > 0).any(dim=1).sum())
        return super().forward(x)


def test_what_a_scene_does_not_own_is_not_predicted(tmp_path: Path) -> None:
    codes = np.full((96, 192), 2, np.uint8)
    whole = write_scene(tmp_path / "whole.tif", codes)
    covered = write_scene(tmp_path / "covered.tif", codes[:, :100])
    beyond = write_scene(tmp_path / "beyond.tif", codes, (0, 192 - 40))
    model = reading_model(module=Counting())

    def tiles(scenes: list[Path], name: str) -> int:
        Counting.tiles = 0
        make_map(scenes, model, output=tmp_path / name, precision="fp32", batch_size=1, cell="1024px")
        return Counting.tiles

    alone, other = tiles([whole], "alone.gpkg"), tiles([beyond], "other.gpkg")

    assert tiles([whole, covered], "covered.gpkg") == alone
    assert alone < tiles([whole, beyond], "beyond.gpkg") < alone + other
