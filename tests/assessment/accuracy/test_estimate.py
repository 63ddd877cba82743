"""Estimates from files: what is found, written and refused."""

from __future__ import annotations

import csv
import json
import logging
import sqlite3
import struct
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from click.testing import CliRunner, Result
from geoseg_cli.main import group
from rasterio.crs import CRS

import geoseg
from geoseg.errors import DataError, GeosegError, OptionError, OutputExistsError
from geoseg.grid.grid import Grid
from geoseg.grid.ground import row_areas
from geoseg.grid.legend import NODATA, Legend
from geoseg.raster.classmap import ClassMap, write_cog
from tests.assessment.accuracy.samples import (
    LEGEND,
    UTM,
    Codes,
    made_up,
    map_of,
    teach_geometry,
    truth_of,
    write_labels,
)
from tests.chromium import CHROMIUM, browser
from tests.conftest import skip_without

CODES = made_up()
TRUTH = truth_of(CODES)
HOSTILE = Legend.of(
    [
        (1, "=HYPERLINK(1)", "#3070c0"),
        (2, "<script>alert('x')</script>", "#228b22"),
        (3, "@SUM(A1)|'{}%s", "#d0c040"),
    ]
)


def labelled(
    path: Path, *, source: ClassMap | Path | None = None, truth: Codes = TRUTH, **options: Any
) -> list[int]:
    """Draw a sample and label it with the truth, which is returned point by point."""
    design = geoseg.design_sample(map_of(CODES) if source is None else source, output=path, **options)
    places = design.record.places
    labels: list[int] = truth[places.row, places.col].tolist()
    write_labels(path, labels)
    return labels


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    labelled(tmp_path / "s.gpkg", points=200)
    return tmp_path / "s.gpkg"


def test_it_is_what_counting_the_labels_gives(sample: Path) -> None:
    """Strata are the map's classes, whose pixels are all but equally large: loops over the file and the map."""
    found = geoseg.estimate_accuracy(sample, class_map=map_of(CODES))
    frame = gpd.read_file(sample, layer="sample")
    col, row = ~UTM.transform @ (frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
    mapped, reference = CODES[row.astype(int), col.astype(int)], frame["reference"].to_numpy()
    share = np.array([(c == CODES).sum() for c in (1, 2, 3)]) / (CODES != NODATA).sum()
    for j, code in enumerate((1, 2, 3)):
        n = [np.count_nonzero(mapped == c) for c in (1, 2, 3)]
        p = [np.count_nonzero((mapped == c) & (reference == code)) / n[i] for i, c in enumerate((1, 2, 3))]
        correction = [1 - n[i] / np.count_nonzero(c == CODES) for i, c in enumerate((1, 2, 3))]
        variance = sum(share[i] ** 2 * correction[i] * p[i] * (1 - p[i]) / (n[i] - 1) for i in range(3))
        line = found.areas.iloc[j]
        assert line["share"] == pytest.approx(share @ p, rel=1e-3)
        assert line["share_se"] == pytest.approx(variance**0.5, rel=1e-3)
        assert line["area_ha_high"] - line["area_ha_low"] == pytest.approx(2 * 1.96 * line["area_ha_se"])
        assert line["area_km2"] == pytest.approx(line["area_ha"] / 100)
        assert found.counts.loc[:, LEGEND[code].name].sum() == (reference == code).sum()
    total = found.areas["area_ha"].sum()
    assert (
        total
        == pytest.approx(found.areas["mapped_ha"].sum())
        == pytest.approx(np.count_nonzero(CODES != NODATA) / 100, rel=2e-3)
    )
    assert found.matrix.to_numpy().sum() == pytest.approx(1)
    assert found.strata["points"].sum() == 200
    assert found.accuracies["users"].tolist() == pytest.approx(
        [np.mean(reference[mapped == c] == c) for c in (1, 2, 3)], rel=1e-3
    )
    assert found.notes == ()


def test_pixels_of_unequal_area_count_by_it(tmp_path: Path) -> None:
    """A class that holds the north of one stratum: by pixels it were half, on the ground it is a third."""
    grid = Grid(
        height=160, width=40, transform=Affine(0.5, 0, 0, 0, -0.5, 80), crs=CRS.from_epsg(4326).to_wkt()
    )
    codes = np.ones(grid.shape, np.uint8)
    truth = codes.copy()
    truth[:80] = 2
    path = tmp_path / "s.gpkg"
    source = map_of(codes, grid, LEGEND)
    labelled(path, source=source, truth=truth, points=1500)
    zones = row_areas(grid)
    assert zones is not None
    north = zones[:80].sum() / zones.sum()
    areas = geoseg.estimate_accuracy(path, class_map=source).areas
    line = areas[areas["code"] == 2].iloc[0]
    assert north < 0.36
    assert abs(line["share"] - north) < 3 * line["share_se"] < 0.05
    assert areas["area_ha"].sum() == pytest.approx(zones.sum() * 40 / 1e4)


@pytest.mark.parametrize("design", ["simple", "systematic"])
def test_other_designs_are_stratified_afterwards(tmp_path: Path, design: str) -> None:
    labelled(tmp_path / "s.gpkg", points=400, design=design)
    found = geoseg.estimate_accuracy(tmp_path / "s.gpkg", class_map=map_of(CODES))
    assert "stratified by the map's classes after it was drawn" in found.notes[0]
    assert ("taken for a random one" in " ".join(found.notes)) == (design == "systematic")
    assert len(found.sample.share) == 3
    right = np.count_nonzero((TRUTH == CODES) & (CODES != NODATA)) / np.count_nonzero(CODES != NODATA)
    assert abs(found.overall["estimate"] - right) < 3 * found.overall["se"]


def test_a_class_with_one_point_of_a_simple_sample_is_not_a_stratum(tmp_path: Path) -> None:
    codes = np.ones((120, 160), np.uint8)
    codes[0, :6] = 2
    labelled(tmp_path / "s.gpkg", source=map_of(codes), truth=codes, points=20, design="simple")
    found = geoseg.estimate_accuracy(tmp_path / "s.gpkg", class_map=map_of(codes))
    assert len(found.sample.share) == 1
    assert found.notes == ()


def test_unlabelled_points_are_refused_or_left_out(sample: Path) -> None:
    labels = [TRUTH[r, c] for r, c in zip(*_places(sample), strict=True)]
    write_labels(sample, [None, None, *map(int, labels[2:])])
    with pytest.raises(
        DataError, match=r"s.gpkg: 2 points of 200 have no label \(1, 2\); label them, or pass drop_unl"
    ):
        geoseg.estimate_accuracy(sample)
    found = geoseg.estimate_accuracy(sample, drop_unlabelled=True, class_map=map_of(CODES))
    assert len(found.sample.stratum) == 198
    assert found.notes[0].startswith(
        "2 points without a label left out, as if they had not been drawn: the estimate is bias"
    )
    run = invoke("accuracy", "estimate", sample)
    assert run.exit_code == 1
    assert "label them, or pass --drop-unlabelled to leave them out, which biases the estimate" in run.stderr


def _places(path: Path) -> tuple[list[int], list[int]]:
    from geoseg.assessment.accuracy.sample_file import read_sample

    places = read_sample(path).record.places
    return places.row.tolist(), places.col.tolist()


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        teach_geometry(database)
        database.execute(statement)


def test_what_is_no_probability_sample_is_refused(sample: Path, tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(DataError) as caught:
            geoseg.estimate_accuracy(path, class_map=map_of(CODES))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    frame = gpd.read_file(sample, layer="sample")
    for name in ("copied.gpkg", "copied.geojson"):
        frame.to_file(tmp_path / name)
        assert "is no probability sample: no layer has the design by which it was drawn" in said(
            tmp_path / name
        )
    whole = sample.read_bytes()
    change(sample, "DELETE FROM sample WHERE point IN (3, 9)")
    assert "lacks 2 points of its design (3, 9); put them back" in said(sample)
    sample.write_bytes(whole)
    write_labels(sample, [None] * 4 + [8])
    write_labels(sample, [5], "point")
    assert "lacks 1 point of its design (1)" in said(sample), "two have the number 5"
    sample.write_bytes(whole)
    write_labels(sample, [77])
    assert (
        "point 1 has the reference '77', expected a code of the legend (1 water, 2 forest, 3 field)"
        in said(sample)
    )


def test_added_and_moved_points_are_refused(sample: Path) -> None:
    whole = sample.read_bytes()
    with closing(sqlite3.connect(sample)) as database, database:
        teach_geometry(database)
        (blob,) = database.execute("SELECT geom FROM sample WHERE point = 4").fetchone()
        x, y = struct.unpack_from("<dd", blob, 13)
        moved = blob[:13] + struct.pack("<dd", x + 6, y)
        database.execute("UPDATE sample SET geom = ? WHERE point = 4", (moved,))
    with pytest.raises(
        DataError, match=r"1 point \(4\) lie in another pixel than the one that was drawn; move them back"
    ):
        geoseg.estimate_accuracy(sample)
    sample.write_bytes(whole)
    with closing(sqlite3.connect(sample)) as database, database:
        teach_geometry(database)
        database.execute("INSERT INTO sample (geom, reference) SELECT geom, 1 FROM sample WHERE point = 1")
    with pytest.raises(
        DataError, match="has 201 points, of which 200 were drawn; remove what was added or copied"
    ):
        geoseg.estimate_accuracy(sample)


def test_a_stratum_with_one_point_is_refused_unless_it_is_whole(tmp_path: Path) -> None:
    codes = CODES.copy()
    codes[codes == 3] = 1
    codes[0, 0], path = 3, tmp_path / "s.gpkg"  # the only pixel of its class
    source, truth = map_of(codes), np.where(codes == NODATA, 1, codes).astype(np.uint8)
    labels = labelled(path, source=source, truth=truth, points=40)
    assert labels.count(3) == 1
    found = geoseg.estimate_accuracy(path, class_map=source)
    line = found.accuracies[found.accuracies["code"] == 3].iloc[0]
    assert (line["users"], line["users_se"]) == (1, 0), "counted whole"
    water = [i for i, code in enumerate(labels) if code == 1][1:]
    write_labels(path, [None if i in water else code for i, code in enumerate(labels)])
    with pytest.raises(
        DataError, match=r"stratum water has 1 point of \d+ that are labelled and .* expected 2 points"
    ):
        geoseg.estimate_accuracy(path, class_map=source, drop_unlabelled=True)


def test_another_map_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, raster = tmp_path / "s.gpkg", tmp_path / "map.tif"
    write_cog(raster, [CODES], UTM, legend=LEGEND, description="land cover", tags={})
    labelled(path, source=raster, points=100)
    geoseg.estimate_accuracy(path)
    other = CODES.copy()
    other[5, 5] = 1 + other[5, 5] % 3
    write_cog(tmp_path / "other.tif", [other], UTM, legend=LEGEND, description="land cover", tags={})
    said = (
        r"s.gpkg: was drawn from the map map.tif, and other.tif has other pixels or another grid: the sample "
    )
    with pytest.raises(DataError, match=said):
        geoseg.estimate_accuracy(path, class_map=tmp_path / "other.tif")
    (tmp_path / "other.tif").replace(raster)
    with pytest.raises(DataError, match="and map.tif has other pixels"):
        geoseg.estimate_accuracy(path)
    raster.unlink()
    with caplog.at_level(logging.WARNING, "geoseg"):
        geoseg.estimate_accuracy(path)
    assert (
        "the map map.tif that the sample was drawn from is not there to be compared; pass it as class_map="
        in caplog.text
    )


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(group, list(map(str, arguments)))


def test_the_commands_write_what_python_returns(tmp_path: Path) -> None:
    raster, path = tmp_path / "map.tif", tmp_path / "s.gpkg"
    write_cog(raster, [CODES], UTM, legend=LEGEND, description="land cover", tags={})
    run = invoke(
        "accuracy", "design", raster, "-o", path, "--points", 150, "--allocation", "neyman", "--expected", "0.7",
        "--expected", "water=0.9", "--minimum", 20, "--seed", 3,
    )  # fmt: skip
    assert run.exit_code == 0, run.stderr
    assert "s.gpkg: 150 points, stratified, seed 3" in run.stderr
    design = geoseg.design_sample(
        raster, output=tmp_path / "t.gpkg", points=150, allocation="neyman", expected={"": 0.7, "water": 0.9},
        minimum=20, seed=3,
    )  # fmt: skip
    assert (tmp_path / "t.gpkg").read_bytes() == path.read_bytes()
    write_labels(path, TRUTH[design.record.places.row, design.record.places.col].tolist())
    found = geoseg.estimate_accuracy(path)
    run = invoke("accuracy", "estimate", path, "--json")
    assert json.loads(run.stdout) == json.loads(json.dumps(found.to_dict()))
    assert json.loads(run.stdout)["areas"][0]["area_ha"] == found.areas["area_ha"][0]
    run = invoke("accuracy", "estimate", path, "-o", tmp_path / "e.html")
    assert run.stdout.splitlines() == list(found.lines())
    assert run.stdout.startswith("overall accuracy 0.8")
    assert (tmp_path / "e.html").exists()
    assert invoke("accuracy", "estimate", path, "-o", tmp_path / "e.html").exit_code == 4
    refused = invoke(
        "accuracy", "design", raster, "-o", tmp_path / "u.gpkg", "--points", 9, "--expected", "water=2"
    )
    assert (refused.exit_code, "is no accuracy, expected a share from 0 to 1" in refused.stderr) == (2, True)
    refused = invoke("accuracy", "design", raster, "-o", tmp_path / "u.gpkg")
    assert (
        "the size of the sample is --points or follows from --standard-error, found neither" in refused.stderr
    )


def test_outputs_that_cannot_be_written_are_refused_first(sample: Path, tmp_path: Path) -> None:
    def refused(kind: type[GeosegError], said: str, **options: Any) -> None:
        with pytest.raises(kind, match=said):
            geoseg.estimate_accuracy(sample, **options)

    refused(OptionError, "expected a name that ends in .html or .csv", output=tmp_path / "e.pdf")
    refused(OptionError, "overwrite is about files that are written", overwrite=True)
    (tmp_path / "e.csv").write_text("mine")
    refused(OutputExistsError, "already exists; pass overwrite=True", output=tmp_path / "e.csv")
    assert (tmp_path / "e.csv").read_text() == "mine"


class Words(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_names_are_text_in_the_page_and_the_table(tmp_path: Path) -> None:
    source = map_of(CODES, legend=HOSTILE)
    labelled(tmp_path / "=s.gpkg", source=source, points=200)
    page, table = tmp_path / "e.html", tmp_path / "e.csv"
    for output in (page, table):
        found = geoseg.estimate_accuracy(tmp_path / "=s.gpkg", class_map=source, output=output)
    words = Words(page)
    assert not [tag for tag, _ in words.tags if tag == "script"]
    assert all(name in words.text for name in HOSTILE.names)
    for tag, attributes in words.tags:
        for key in ("src", "href", "xlink:href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:")), tag
    assert "<script" not in found._repr_html_()
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in rows] == [
        "'=HYPERLINK(1)",
        "<script>alert('x')</script>",
        "'@SUM(A1)|'{}%s",
    ]
    assert [float(row["area_ha"]) for row in rows] == found.areas["area_ha"].tolist()


def test_a_class_that_neither_map_nor_sample_has_is_a_dash(tmp_path: Path) -> None:
    legend = Legend.parse("water,forest,field,ice")
    source = map_of(CODES, legend=legend)
    labelled(tmp_path / "s.gpkg", source=source, points=60)
    found = geoseg.estimate_accuracy(tmp_path / "s.gpkg", class_map=source, output=tmp_path / "e.html")
    assert found.to_dict()["accuracies"][3]["users"] is None
    assert list(found.short_table().rows[3][-2:]) == ["–", "–"]
    assert found.areas["area_ha"][3] == 0


def test_a_browser_loads_the_page_in_silence(sample: Path, tmp_path: Path) -> None:
    skip_without("chromium", CHROMIUM is not None)
    page = tmp_path / "e.html"
    geoseg.estimate_accuracy(sample, class_map=map_of(CODES), output=page)
    (tmp_path / "profile").mkdir()
    with browser(tmp_path / "profile") as tab:
        for width, dark in ((1280, False), (400, True)):
            tab.open(page, width=width, dark=dark)
            assert tab.evaluate("document.documentElement.scrollWidth") == width, "nothing sticks out"
        assert tab.evaluate("document.querySelectorAll('svg line.value').length") == 9
        assert tab.complaints == []
        assert set(tab.requests) == {page.resolve().as_uri()}
