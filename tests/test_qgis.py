"""QGIS itself opens what geoseg writes: coloured, named and in its place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS

import geoseg
from geoseg.assessment.accuracy.design import design_sample
from geoseg.assessment.accuracy.estimate import estimate_accuracy
from geoseg.assessment.coverage.findings import CHECKS
from geoseg.demo.run import run_demo
from geoseg.demo.scene import PACKAGED
from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend, LegendClass
from geoseg.models.card_file import read_card
from geoseg.raster.classmap import ClassMap, class_map_sidecars, read_class_map, write_cog
from geoseg.vector.rasterize import rasterize
from geoseg.vector.vectorize import vectorize
from tests.conftest import skip_without

QGIS_PYTHON = Path("/usr/bin/python3")  # Debian's python3-qgis belongs to Debian's interpreter
LEGEND = Legend.parse('water=#3070c0,forest & "wood"=#228b22,<field>=#d0c040')
GRID = Grid(
    height=36, width=60, transform=Affine(10, 0, 332740, 0, -10, 3837710), crs=CRS.from_epsg(32652).to_wkt()
)


def has_qgis() -> bool:
    if not QGIS_PYTHON.exists():
        return False
    return not subprocess.run(
        [QGIS_PYTHON, "-c", "import qgis.core"], capture_output=True, check=False
    ).returncode


def made_up_map() -> npt.NDArray[np.uint8]:
    """Blocks of 4 px of every class and of no data, with a diagonal pinch among them."""
    blocks = np.random.default_rng(7).choice([1, 2, 3, NODATA], size=(9, 15)).astype(np.uint8)
    blocks[0, :2], blocks[1, :2] = (1, 2), (2, 1)
    return np.kron(blocks, np.ones((4, 4), dtype=np.uint8))


def probe(folder: Path, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    (folder / "wanted.json").write_text(json.dumps(wanted))
    run = subprocess.run(
        [QGIS_PYTHON, Path(__file__).with_name("qgis_probe.py"), folder / "wanted.json"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "QT_QPA_PLATFORM": "offscreen", "HOME": str(folder)},
    )
    assert run.returncode == 0, run.stderr
    found: list[dict[str, Any]] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def seen(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[npt.NDArray[np.uint8], dict[str, Any], dict[str, Any]]:
    """A class map, and how QGIS sees its GeoPackage and its COG."""
    skip_without("qgis", has_qgis())
    folder = tmp_path_factory.mktemp("qgis")
    codes, raster = made_up_map(), folder / "map.tif"
    write_cog(raster, iter([codes]), GRID, legend=LEGEND, description="land cover", tags={})
    sidecars = class_map_sidecars(LEGEND)
    raster.with_suffix(".qml").write_text(sidecars[".qml"])
    Path(f"{raster}.aux.xml").write_text(sidecars[".aux.xml"])
    vectorize(raster, output=folder / "map.gpkg", layer="land cover")
    points = [(332745 + 10 * col, 3837705 - 10 * row) for row in range(36) for col in range(60)]
    both = {"extent": GRID.bounds, "points": points}
    vector, image = probe(
        folder,
        [
            {
                "kind": "vector",
                "uri": f"{folder / 'map.gpkg'}|layername=land cover",
                "png": str(folder / "v.png"),
                **both,
            },
            {"kind": "raster", "uri": str(raster), "png": str(folder / "r.png"), **both},
        ],
    )
    return codes, vector, image


def colors_of(codes: npt.NDArray[np.uint8]) -> list[str]:
    """Colour of every pixel; no data is the white behind the map."""
    return ["#ffffff" if code == NODATA else LEGEND[int(code)].color for code in codes.ravel()]


def test_the_geopackage_opens_categorised_with_names_and_colours(seen) -> None:
    _, vector, _ = seen
    assert vector["valid"]
    assert (vector["renderer"], vector["attribute"]) == ("categorizedSymbol", "class_code")
    assert vector["categories"] == [[c.code, c.name, c.color] for c in LEGEND.classes]


def test_the_geopackage_is_whole_and_in_its_place(seen) -> None:
    codes, vector, _ = seen
    assert vector["crs"] == "EPSG:32652"
    assert vector["features"] == regions(codes)
    assert vector["all_valid"]
    assert vector["area"] == pytest.approx(100 * int((codes != NODATA).sum()))
    assert {"class_code", "class_name", "area_m2", "pixels"} <= set(vector["fields"])


def test_the_class_map_opens_paletted_with_names_and_colours(seen) -> None:
    _, _, image = seen
    assert image["valid"]
    assert (image["renderer"], image["crs"], image["size"]) == ("paletted", "EPSG:32652", [60, 36])
    assert image["categories"] == [[c.code, c.name, c.color] for c in LEGEND.classes]


def test_both_are_drawn_pixel_for_pixel_in_the_colours_of_the_legend(seen) -> None:
    codes, vector, image = seen
    assert vector["colors"] == colors_of(codes)
    assert image["colors"] == colors_of(codes)


@pytest.mark.long
def test_a_multilabel_map_opens_with_a_coloured_layer_for_each_class(tmp_path: Path) -> None:
    """Classes overlap: QGIS draws each layer's polygons of 1, and of the raster the first class."""
    skip_without("qgis", has_qgis())
    codes = made_up_map()
    layers = np.stack([np.where(codes == NODATA, NODATA, np.isin(codes, pair)) for pair in ((1, 2), (2, 3))])
    legend = Legend.parse('cloud & "fog"=#c08040,<roof>=#d0c040')
    raster, polygons = tmp_path / "map.tif", tmp_path / "map.gpkg"
    write_cog(
        raster,
        [layers.astype(np.uint8)],
        GRID,
        legend=legend,
        description=legend.names,
        tags={},
    )
    sidecars = class_map_sidecars(legend, layered=True)
    raster.with_suffix(".qml").write_text(sidecars[".qml"])
    Path(f"{raster}.aux.xml").write_text(sidecars[".aux.xml"])
    vectorize(raster, output=polygons)
    points = [(332745 + 10 * col, 3837705 - 10 * row) for row in range(36) for col in range(60)]
    names = ['cloud & "fog"', "roof>"]
    wanted: list[dict[str, Any]] = [
        {"kind": "vector", "uri": f"{polygons}|layername={name}", "png": str(tmp_path / f"{i}.png")}
        for i, name in enumerate(names)
    ]
    wanted.append({"kind": "raster", "uri": str(raster), "png": str(tmp_path / "r.png")})
    found = probe(tmp_path, [each | {"extent": GRID.bounds, "points": points} for each in wanted])
    assert all(each["valid"] and each["crs"] == "EPSG:32652" for each in found)
    for c, layer, vector in zip(legend.classes, layers, found, strict=False):
        assert (vector["renderer"], vector["attribute"]) == ("categorizedSymbol", "class_code")
        assert vector["categories"] == [[c.code, c.name, c.color]]
        assert vector["all_valid"]
        assert vector["area"] == pytest.approx(100 * int((layer == 1).sum()))
        assert vector["colors"] == [c.color if value == 1 else "#ffffff" for value in layer.ravel()]
    image = found[-1]
    assert (image["renderer"], image["size"]) == ("paletted", [60, 36])
    first = legend.classes[0]
    assert [1, first.name, first.color] in image["categories"]
    assert image["colors"] == found[0]["colors"]


def regions(codes: npt.NDArray[np.uint8]) -> int:
    """Number of 4-connected regions, counted apart from geoseg."""
    from scipy.ndimage import label

    return sum(int(label(codes == c.code)[1]) for c in LEGEND.classes)


@pytest.mark.long
def test_the_demo_opens_with_its_legend(tmp_path: Path) -> None:
    """The real thing: the bands and the model that come along, and what a person drags into QGIS."""
    skip_without("qgis", has_qgis())
    run_demo(tmp_path)
    with rasterio.open(PACKAGED.bands["red"]) as image:
        extent = {"extent": list(image.bounds), "points": [image.xy(5, 5)]}
    files = {"vector": tmp_path / "zion.gpkg", "raster": tmp_path / "zion.tif"}
    vector, raster = probe(
        tmp_path,
        [
            {"kind": kind, "uri": str(file), "png": str(tmp_path / f"{kind}.png"), **extent}
            for kind, file in files.items()
        ],
    )
    legend = [[c.code, c.name, c.color] for c in read_card(PACKAGED.model).legend]
    assert vector["valid"]
    assert raster["valid"]
    assert (vector["renderer"], raster["renderer"]) == ("categorizedSymbol", "paletted")
    assert vector["categories"] == raster["categories"] == legend
    assert vector["crs"] == raster["crs"] == "EPSG:32612"
    assert vector["features"] == len(pyogrio.read_dataframe(files["vector"], layer="landcover"))
    assert vector["all_valid"]
    assert vector["colors"] == raster["colors"]
    assert vector["colors"][0] in [color for _, _, color in legend]


def test_a_file_that_a_scene_was_added_to_opens_with_both_and_one_legend(tmp_path: Path) -> None:
    """The style grew by the class that only the second scene has."""
    skip_without("qgis", has_qgis())
    north, south = made_up_map(), made_up_map()[::-1].copy()
    south[south == 2] = 9
    below = GRID.transform @ Affine.translation(0, 36)
    legends = [LEGEND, Legend(classes=(*LEGEND.classes, LegendClass(code=9, name="'bog'", color="#123456")))]
    polygons = tmp_path / "both.gpkg"
    for name, codes, transform, legend in zip(
        "ab", (north, south), (GRID.transform, below), legends, strict=True
    ):
        grid = replace(GRID, transform=transform)
        write_cog(tmp_path / f"{name}.tif", [codes], grid, legend=legend, description="land cover", tags={})
        vectorize(tmp_path / f"{name}.tif", output=polygons, append=True)
    west, south_edge, east, north_edge = GRID.bounds
    (found,) = probe(
        tmp_path,
        [
            {
                "kind": "vector",
                "uri": f"{polygons}|layername=landcover",
                "png": str(tmp_path / "v.png"),
                "extent": [west, 2 * south_edge - north_edge, east, north_edge],
                "points": [(332745 + 10 * col, 3837705 - 10 * row) for row in range(72) for col in range(60)],
            }
        ],
    )
    assert found["valid"]
    assert found["crs"] == "EPSG:32652"
    assert found["categories"] == [[c.code, c.name, c.color] for c in legends[1].classes]
    both = np.concatenate([north, south])
    assert found["area"] == pytest.approx(100 * int((both != NODATA).sum()))
    assert found["all_valid"]
    colors = {c.code: c.color for c in legends[1].classes} | {NODATA: "#ffffff"}
    assert found["colors"] == [colors[int(code)] for code in both.ravel()]


def test_gdal_s_validator_has_no_complaint(tmp_path: Path) -> None:
    """The system's GDAL, older than ours, as in most installations of QGIS: it knows the file without a warning."""
    skip_without("qgis", has_qgis())
    path = tmp_path / "map.gpkg"
    south = replace(GRID, transform=GRID.transform @ Affine.translation(0, GRID.height))
    for grid, options in ((GRID, {}), (south, {"append": True})):
        whole = ClassMap(codes=made_up_map(), valid=made_up_map() != NODATA, grid=grid, legend=LEGEND)
        vectorize(whole, output=path, **options)
    for command in (
        ["-m", "osgeo_utils.samples.validate_gpkg", path],
        ["-W", "error", "-c", f"from osgeo import ogr; ogr.UseExceptions(); ogr.Open({str(path)!r})"],
    ):
        run = subprocess.run(
            [QGIS_PYTHON, *command], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert (run.returncode, run.stderr) == (0, ""), command


def test_a_mosaic_by_gdalbuildvrt_keeps_the_legend_with_a_map_s_style_beside_it(tmp_path: Path) -> None:
    """As the documentation says: the colours come along by themselves, the names with a copy of the style."""
    skip_without("qgis", has_qgis())
    codes = made_up_map()
    for i, name in enumerate(("north.tif", "south.tif")):
        grid = replace(GRID, transform=Affine(10, 0, 332740, 0, -10, 3837710 - 360 * i))
        write_cog(tmp_path / name, iter([codes]), grid, legend=LEGEND, description="land cover", tags={})
        (tmp_path / name).with_suffix(".qml").write_text(class_map_sidecars(LEGEND)[".qml"])
        (tmp_path / f"{name}.aux.xml").write_text(class_map_sidecars(LEGEND)[".aux.xml"])
    mosaic, named = tmp_path / "plain.vrt", tmp_path / "named.vrt"
    for path in (mosaic, named):
        subprocess.run(
            ["gdalbuildvrt", "-q", path, tmp_path / "north.tif", tmp_path / "south.tif"], check=True
        )
        found = read_class_map(path)
        assert found.codes.shape == (72, 60)
        assert found.legend == LEGEND
    shutil.copy(tmp_path / "north.qml", named.with_suffix(".qml"))
    wanted = {
        "kind": "raster",
        "extent": GRID.bounds,
        "points": [(332745, 3837705)],
        "png": str(tmp_path / "p.png"),
    }
    plain, styled = probe(tmp_path, [{**wanted, "uri": str(mosaic)}, {**wanted, "uri": str(named)}])
    assert styled["categories"] == [[c.code, c.name, c.color] for c in LEGEND.classes]
    assert plain["colors"] == styled["colors"] == colors_of(codes)[:1]
    assert read_class_map(named).legend == LEGEND


def test_a_sample_opens_with_a_labelling_form_that_tells_nothing_of_the_map(tmp_path: Path) -> None:
    """The list has the legend's names; QGIS's own labels are what the estimate reads."""
    skip_without("qgis", has_qgis())
    codes, path = made_up_map(), tmp_path / "sample.gpkg"
    whole = ClassMap(codes=codes, valid=codes != NODATA, grid=GRID, legend=LEGEND)
    drawn = design_sample(whole, output=path, points=60, minimum=10)
    col, row = drawn.record.places.col, drawn.record.places.row
    points = [
        list(GRID.transform @ (c + 0.5, r + 0.5)) for c, r in zip(col.tolist(), row.tolist(), strict=True)
    ]
    truth = codes[row, col].tolist()
    labels = {str(i): code for i, code in enumerate(truth, start=1) if i > 3}
    wanted = {
        "kind": "vector",
        "uri": f"{path}|layername=sample",
        "png": str(tmp_path / "s.png"),
        "extent": GRID.bounds,
        "points": points,
    }
    before, after = probe(tmp_path, [wanted, wanted | {"labels": labels}])
    assert before["valid"]
    assert (before["renderer"], before["attribute"], before["features"]) == (
        "categorizedSymbol",
        "reference",
        60,
    )
    assert before["fields"] == ["fid", "point", "reference", "comment"]
    assert [each[:2] for each in before["categories"]] == [
        *([c.code, c.name] for c in LEGEND.classes),
        ["", "to label"],
    ]
    choices = before["form"]["reference"][1]
    assert choices[1:] == [[c.name, str(c.code)] for c in LEGEND.classes]
    assert before["form"]["reference"][0] == "ValueMap"
    assert before["form"]["reference"][2:] == [True, "class on the ground"]
    assert before["form"]["point"][2] is False
    assert before["form"]["comment"][0] == "TextEdit"
    assert set(before["colors"]) == {"#ffffff"}, "points to label are rings, whatever the map says"
    shown = [LEGEND[code].color for code in truth]
    assert sum(a == b for a, b in zip(after["colors"][3:], shown[3:], strict=True)) > 50, (
        "filled by their label"
    )
    with pytest.raises(DataError, match=r"3 points of 60 have no label \(1, 2, 3\)"):
        estimate_accuracy(path, class_map=whole)
    found = estimate_accuracy(path, class_map=whole, drop_unlabelled=True)
    assert found.overall["estimate"] == pytest.approx(1)


def test_polygons_edited_in_qgis_become_a_raster_and_grow(tmp_path: Path) -> None:
    """The loop: codes changed and names not, a square with only a code, a new column; saved as multipolygons."""
    skip_without("qgis", has_qgis())
    codes, edited, saved = made_up_map(), tmp_path / "edited.gpkg", tmp_path / "saved.gpkg"
    whole = ClassMap(codes=codes, valid=codes != NODATA, grid=GRID, legend=LEGEND)
    vectorize(whole, output=edited)
    frame = pyogrio.read_dataframe(edited, layer="landcover")
    run = subprocess.run(
        [QGIS_PYTHON, Path(__file__).with_name("qgis_edit.py"), edited, saved],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr
    wanted = codes.copy()
    for polygon in frame.geometry[::3]:
        inside = rasterio.features.rasterize([polygon], out_shape=codes.shape, transform=GRID.transform)
        wanted[inside == 1] = 3
    wanted[2:4, 2:4] = 9
    both = np.concatenate([wanted, codes])
    south = replace(GRID, transform=GRID.transform @ Affine.translation(0, GRID.height))
    tall = replace(GRID, height=2 * GRID.height)
    for path, kind in ((edited, "Polygon"), (saved, "MultiPolygon")):
        found = rasterize(path, like=GRID, legend=LEGEND)
        np.testing.assert_array_equal(found.to_numpy(), wanted)
        assert found.attrs["flag_meanings"].split()[-1] == "class_9"
        vectorize(replace(whole, grid=south), output=path, append=True)
        assert pyogrio.read_info(path, layer="landcover")["geometry_type"] == kind
        np.testing.assert_array_equal(rasterize(path, like=tall).to_numpy(), both)


@pytest.mark.long
def test_findings_of_a_check_open_in_the_colours_of_their_kinds(tmp_path: Path) -> None:
    """Outlines over a pale fill; names of kinds in the legend, and texts of anybody as they are."""
    skip_without("qgis", has_qgis())
    west, _, _, north = GRID.bounds
    left, right = (
        shapely.box(west, north - 300, west + 300, north),
        shapely.box(west + 200, north - 300, west + 600, north),
    )
    hole = shapely.box(west + 100, north - 200, west + 140, north - 100)
    frame = gpd.GeoDataFrame({"class_code": ["<b>'1'", "2"]}, geometry=[left - hole, right], crs=GRID.crs)
    frame.to_file(tmp_path / "drawn.gpkg", layer="drawn 'b' <b>")
    geoseg.check(tmp_path / "drawn.gpkg", output=tmp_path / "findings.gpkg")
    places = [(west + 250, north - 150), (west + 120, north - 150), (west + 50, north - 50)]
    (found,) = probe(
        tmp_path,
        [
            {
                "kind": "vector",
                "uri": f"{tmp_path / 'findings.gpkg'}|layername=findings",
                "png": str(tmp_path / "findings.png"),
                "extent": GRID.bounds,
                "points": places,
            }
        ],
    )
    assert found["valid"]
    assert (found["crs"], found["renderer"], found["attribute"]) == (
        "EPSG:32652",
        "categorizedSymbol",
        "check",
    )
    assert found["categories"] == [[each.name, each.many, each.color] for each in CHECKS]
    assert found["all_valid"]
    overlap, gap, sound = found["colors"]
    assert sound == "#ffffff"
    assert overlap != gap
    for color, name in ((overlap, "overlaps"), (gap, "gaps")):
        (own,) = [each.color for each in CHECKS if each.name == name]
        pale = [255 + (int(own[at : at + 2], 16) - 255) * 90 / 255 for at in (1, 3, 5)]
        assert [int(color[at : at + 2], 16) for at in (1, 3, 5)] == pytest.approx(pale, abs=3)
