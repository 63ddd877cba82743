"""Samples of maps: who has a chance, what the file tells, and what is refused."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

import geoseg
from geoseg.assessment.accuracy.picking import by_rank, pick
from geoseg.assessment.accuracy.population import count, rows_of_map
from geoseg.assessment.accuracy.record import KEY, Record
from geoseg.assessment.accuracy.sample_file import read_sample
from geoseg.errors import ClassMapError, DataError, GeosegError, OptionError, OutputExistsError
from geoseg.grid.grid import Grid
from geoseg.grid.ground import row_areas
from geoseg.grid.legend import NODATA, Legend
from geoseg.raster.classmap import write_cog
from geoseg.vector.sources import opened
from tests.assessment.accuracy.samples import LEGEND, UTM, made_up, map_of
from tests.strategies import Map, maps

CODES = made_up()
VALID = CODES != NODATA


def drawn(folder: Path, *, of: Any = None, **options: Any) -> Record:
    options = {"points": 100, **options} if "standard_error" not in options else options
    design = geoseg.design_sample(
        map_of(CODES) if of is None else of, output=folder / "s.gpkg", overwrite=True, **options
    )
    return design.record


@pytest.mark.parametrize(
    "options",
    [
        {}, {"allocation": "equal"}, {"allocation": "neyman", "expected": {"water": 0.99, 3: 0.5}},
        {"design": "simple"}, {"design": "systematic"}, {"minimum": 30},
    ],
)  # fmt: skip
def test_points_are_different_valid_pixels_and_the_record_says_what_they_are(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    record = drawn(tmp_path, **options)
    places = record.places
    assert VALID[places.row, places.col].all()
    assert CODES[places.row, places.col].tolist() == places.mapped.tolist()
    assert len(set(zip(places.row.tolist(), places.col.tolist(), strict=True))) == len(places.row)
    for part in record.classes:
        inside = part.code == CODES
        assert (part.pixels, part.points) == (inside.sum(), (places.mapped == part.code).sum())
        assert part.area_m2 == pytest.approx(100 * part.pixels, rel=2e-3), (
            "pixels of UTM are nearly 10 m wide"
        )
    if record.by_classes:
        assert record.strata == record.classes
    else:
        assert [(each.pixels, each.points) for each in record.strata] == [(VALID.sum(), len(places.row))]


@given(maps(most=24), st.integers(0, 2**32 - 1))
def test_ranks_are_found_as_in_the_whole_map(whole: Map, seed: int) -> None:
    """Law: the pixel of rank k of a stratum is the k-th one in row-major order."""
    random = np.random.default_rng(seed)
    codes = whole.codes.astype(np.int32) * 300 - 5
    grid = Grid(height=codes.shape[0], width=codes.shape[1], transform=Affine.identity())
    ranks = {
        code: np.flatnonzero(random.random(int((whole.valid & (codes == code)).sum())) < 0.3)
        for code in np.unique(codes[whole.valid]).tolist()
    }

    def read(rows: int) -> Any:
        for row in range(0, len(codes), 5):
            yield codes[row : row + 5], whole.valid[row : row + 5]

    found = pick(grid, (read, None), by_rank(ranks))
    expected = [np.flatnonzero(whole.valid & (codes == code))[some] for code, some in ranks.items()]
    flat = np.sort(np.concatenate([np.empty(0, np.intp), *expected]))
    assert (found.row * grid.width + found.col).tolist() == flat.tolist()
    assert found.mapped.tolist() == codes.ravel()[flat].tolist()


def test_every_pixel_of_a_stratum_has_the_same_chance(tmp_path: Path) -> None:
    """A tiny map drawn with many seeds: counts of its pixels are those of a fair lottery."""
    codes = np.array([[1, 1, 1, 255], [1, 2, 2, 1], [2, 2, 2, 1]], np.uint8)
    grid = Grid(height=3, width=4, transform=Affine.identity())
    found = opened(map_of(codes, grid), None)
    counts = np.zeros(codes.shape)
    rounds = 1500
    for seed in range(rounds):
        random = np.random.default_rng(seed)
        ranks = {code: np.sort(random.choice(n, 2, replace=False)) for code, n in ((1, 6), (2, 5))}
        places = pick(grid, (rows_of_map(found), None), by_rank(ranks))
        counts[places.row, places.col] += 1
    for code, chance in ((1, 2 / 6), (2, 2 / 5)):
        share = counts[codes == code] / rounds
        assert abs(share - chance).max() < 4 * (chance * (1 - chance) / rounds) ** 0.5
    assert counts[codes == 255].sum() == 0


def test_a_lattice_has_equal_steps_and_a_random_start(tmp_path: Path) -> None:
    starts = set()
    for seed in range(8):
        record = drawn(tmp_path, design="systematic", seed=seed)
        step = record.drawing.step
        assert step is not None
        assert abs(step[0] * step[1] - VALID.sum() / 100) < 20
        rows, cols = record.places.row % step[0], record.places.col % step[1]
        assert len(set(rows.tolist())) == len(set(cols.tolist())) == 1
        starts.add((int(rows[0]), int(cols[0])))
        lattice = np.zeros_like(VALID)
        lattice[rows[0] :: step[0], cols[0] :: step[1]] = True
        assert (lattice & VALID).sum() == len(record.places.row)
    assert len(starts) > 4


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def file_of(seed: int) -> bytes:
        drawn(tmp_path, seed=seed)
        return (tmp_path / "s.gpkg").read_bytes()

    assert file_of(5) == file_of(5)
    assert file_of(5) != file_of(6)


def test_the_labeller_sees_nothing_of_the_map(tmp_path: Path) -> None:
    """Columns are the number, the label and a comment; the order has nothing to do with strata or places."""
    record = drawn(tmp_path, points=600)
    frame = pyogrio.read_dataframe(tmp_path / "s.gpkg", layer="sample")
    assert list(frame.columns) == ["point", "reference", "comment", "geometry"]
    assert frame["point"].tolist() == list(range(1, 601))
    assert frame["reference"].isna().all()
    x, y = UTM.transform @ (record.places.col + 0.5, record.places.row + 0.5)
    assert frame.geometry.x.tolist() == x.tolist()
    assert frame.geometry.y.tolist() == y.tolist()
    assert frame.crs.to_epsg() == 32652
    number = np.arange(600)
    for other in (record.places.stratum, record.places.row, record.places.col):
        assert abs(np.corrcoef(number, other)[0, 1]) < 0.15, "five standard errors would be 0.2"


def test_the_file_tells_its_design(tmp_path: Path) -> None:
    write_cog(tmp_path / "map.tif", [CODES], UTM, legend=LEGEND, description="land cover", tags={})
    (tmp_path / "samples").mkdir()
    design = geoseg.design_sample(
        tmp_path / "map.tif",
        output=tmp_path / "samples" / "s.gpkg",
        standard_error=0.05,
        expected=0.9,
        seed=7,
    )
    stored = read_sample(design.path).record
    assert stored.json() == design.record.json()
    assert (stored.map_name, stored.map_path) == ("map.tif", "../map.tif")
    drawing = stored.drawing
    assert (drawing.seed, drawing.standard_error, drawing.allocation, drawing.minimum) == (
        7,
        0.05,
        "proportional",
        2,
    )
    assert drawing.expected == dict.fromkeys(LEGEND.names, 0.9)
    assert len(stored.places.row) == 36, "(0.3 / 0.05)²"
    assert design.strata["points"].sum() == 36
    assert design.strata["name"].tolist() == list(LEGEND.names)
    assert stored.digest == drawn(tmp_path).digest, "of the pixels, whatever file they are in"
    other = CODES.copy()
    other[0, 0] ^= 3
    assert stored.digest != drawn(tmp_path, of=map_of(other)).digest


def test_areas_are_those_on_the_ground_in_degrees_too(tmp_path: Path) -> None:
    """From the equator to 60° a pixel loses half its area: strata are weighed by area, not by pixels."""
    grid = Grid(
        height=120, width=40, transform=Affine(0.5, 0, 0, 0, -0.5, 60), crs=CRS.from_epsg(4326).to_wkt()
    )
    codes = np.full(grid.shape, 2, np.uint8)
    codes[:60] = 1
    record = drawn(tmp_path, of=map_of(codes, grid))
    zones = row_areas(grid)
    assert zones is not None
    assert [part.area_m2 for part in record.strata] == pytest.approx(
        [zones[:60].sum() * 40, zones[60:].sum() * 40]
    )
    assert record.strata[0].points < 45, "by pixels it were 50"
    assert record.places.area_m2 == pytest.approx(zones[record.places.row])


def test_classes_with_few_points_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "geoseg"):
        drawn(tmp_path)
        drawn(tmp_path, points=200, minimum=50)
    (said,) = [r.getMessage() for r in caplog.records if "points in" in r.getMessage()]
    assert (
        said
        == "fewer than 25 points in field, whose accuracy will be uncertain; minimum=50 gives each class more"
    )


def test_a_map_without_a_crs_is_counted_in_pixels(tmp_path: Path) -> None:
    grid = Grid(height=120, width=160, transform=Affine.identity())
    record = drawn(tmp_path, of=map_of(CODES, grid))
    assert {part.area_m2 for part in record.strata} == {None}
    assert record.places.area_m2.tolist() == [1.0] * 100


def test_strata_of_another_raster(tmp_path: Path) -> None:
    halves = np.where(np.arange(160) < 60, 7, 9)[np.newaxis].repeat(120, axis=0).astype(np.uint8)
    halves[:10] = NODATA
    write_cog(
        tmp_path / "halves.tif", [halves], UTM, legend=Legend.of([(7, "west", None), (9, "east", None)]),
        description="", tags={},
    )  # fmt: skip
    record = drawn(tmp_path, strata=tmp_path / "halves.tif", allocation="equal", points=90)
    assert [each.name for each in record.strata] == ["outside the strata", "west", "east"]
    assert [each.points for each in record.strata] == [30, 30, 30]
    assert record.drawing.strata == "halves.tif"
    expected = np.where(halves == NODATA, record.strata[0].code, halves.astype(np.int64))
    assert expected[record.places.row, record.places.col].tolist() == record.places.stratum.tolist()
    assert [each.pixels for each in record.strata] == [
        (VALID & (expected == each.code)).sum() for each in record.strata
    ]


def test_strata_of_polygons(tmp_path: Path) -> None:
    west, south, east, north = UTM.bounds
    middle = (west + east) / 2
    frame = gpd.GeoDataFrame(
        {"class_code": [1, 2], "class_name": ["west", "east"]},
        geometry=[shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)],
        crs="EPSG:32652",
    )
    frame.to_file(tmp_path / "regions.gpkg", layer="regions")
    record = drawn(tmp_path, strata=tmp_path / "regions.gpkg", layer="regions", expected={"west": 0.5})
    assert [each.name for each in record.strata] == ["west", "east"]
    assert ((record.places.col >= 80) + 1).tolist() == record.places.stratum.tolist()
    assert record.drawing.expected == {"west": 0.5, "east": 0.8}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"points": None}, "the size of the sample is points= or follows from standard_error=, found neither"),
        ({"standard_error": 0.1}, "found both"),
        ({"points": 1}, "points is 1, expected 2 or more"),
        ({"points": 5}, "5 points are too few for 2 in each of 3 strata, expected 6 or more; pass more points="),
        ({"points": 10**6}, r"the sample has 1,000,000 points and the map 17,\d+ pixels; pass fewer points="),
        ({"points": None, "standard_error": 1.5}, "standard_error is 1.5, expected a share between 0 and 1"),
        ({"design": "random"}, "design is 'random', expected stratified, simple, systematic"),
        ({"allocation": "optimal"}, "allocation is 'optimal', expected proportional, equal, neyman"),
        ({"design": "simple", "allocation": "equal"}, "allocation is for a stratified design, and design is simple"),
        ({"design": "systematic", "minimum": 5}, "minimum is for a stratified design"),
        ({"minimum": 1}, "minimum is 1, expected 2 or more: one point has no spread"),
        ({"expected": 1.2}, "an expected accuracy is 1.2, expected a share from 0 to 1"),
        ({"expected": {"sea": 0.9}}, "expected names 'sea', which is no stratum; expected some of 'water', 'forest'"),
        ({"layer": "a"}, "layer is of the strata; pass strata, too, or leave layer out"),
        ({"seed": -1}, "seed is -1"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used_are_one_line(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        geoseg.design_sample(map_of(CODES), output=tmp_path / "s.gpkg", **{"points": 100, **options})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_other_refusals(tmp_path: Path) -> None:
    def refused(kind: type[GeosegError], said: str, of: Any = None, **options: Any) -> None:
        source = map_of(CODES) if of is None else of
        with pytest.raises(kind, match=said):
            geoseg.design_sample(source, **{"points": 9, "output": tmp_path / "s.gpkg", **options})

    refused(OptionError, "expected a name that ends in .gpkg", output=tmp_path / "s.shp")
    refused(ClassMapError, "the map has no pixel of a class", of=map_of(np.full((120, 160), 255, np.uint8)))
    shifted = map_of(
        CODES, Grid(height=120, width=160, transform=UTM.transform @ Affine.translation(1, 0), crs=UTM.crs)
    )
    refused(
        ClassMapError,
        "the strata do not lie on the grid of the class map: .* gdalwarp -r near",
        strata=shifted,
    )
    refused(OptionError, "layer is of a vector file", strata=map_of(CODES), layer="a")
    (tmp_path / "no.gpkg").write_bytes(b"no")
    refused(GeosegError, "no.gpkg", strata=tmp_path / "no.gpkg")
    refused(DataError, "gone.tif: cannot be read .*; check the path of strata=", strata=tmp_path / "gone.tif")
    geoseg.design_sample(map_of(CODES), output=tmp_path / "s.gpkg", points=9)
    refused(OutputExistsError, "already exists; pass overwrite=True")


def test_hostile_names_reach_the_style_and_the_design_as_text(tmp_path: Path) -> None:
    names = ["=1+1", '"/><script>alert(1)</script>', "]]>&amp;{brace} %s"]
    legend = Legend.of((code, name, None) for code, name in enumerate(names, start=1))
    record = drawn(tmp_path, of=map_of(CODES, legend=legend))
    assert read_sample(tmp_path / "s.gpkg").record.legend.names == tuple(names) == record.legend.names
    with closing(sqlite3.connect(tmp_path / "s.gpkg")) as database:
        (style,) = database.execute("SELECT styleQML FROM layer_styles").fetchone()
    assert "<script" not in style
    from geoseg.grid.qml import style_classes

    classes = style_classes(style)
    assert classes is not None
    assert [name for _, name, _ in classes] == names


def test_a_damaged_design_is_one_line(tmp_path: Path) -> None:
    fields = json.loads(drawn(tmp_path).json())
    assert KEY == "GEOSEG_SAMPLE"
    for change in ({"legend": []}, {"points": {}}, {"map": None}, {"drawing": {}}, {"strata": []}):
        with pytest.raises(DataError, match="s.gpkg: the design of the sample is damaged"):
            Record.of_json(json.dumps(fields | change), "s.gpkg")
    with pytest.raises(DataError, match="the design has format 2, expected 1; update geoseg"):
        Record.of_json(json.dumps(fields | {"format": 2}), "s.gpkg")


def test_it_is_read_strip_by_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of strips are those of the whole, and progress says so."""
    found = opened(map_of(CODES), None)
    whole = count(UTM, rows_of_map(found), None)
    monkeypatch.setattr("geoseg.assessment.accuracy.population.rows_of_band", lambda width: 7)
    told: list[tuple[int, int, str]] = []
    strips = count(UTM, rows_of_map(found), None, lambda *said: told.append(said))
    assert strips.digest == whole.digest
    assert strips.pixels.tolist() == whole.pixels.tolist()
    assert strips.area_m2.tolist() == whole.area_m2.tolist()
    assert told[-1] == (120, 120, "count")
    assert Counter(CODES[VALID].tolist()) == dict(
        zip(whole.classes.tolist(), whole.pixels.tolist(), strict=True)
    )
