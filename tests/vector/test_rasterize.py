"""Law 4: rasterizing the polygons of a class map gives the class map."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil
import pytest
import rasterio
import rioxarray
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.features import rasterize as by_gdal

import geoseg
from geoseg.errors import DataError, GeosegError, LegendError, OptionError, OutputError, OutputExistsError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.labels.vector_labels import found_classes
from geoseg.raster.classmap import ClassMap, read_class_map
from geoseg.raster.legend_file import read_legend
from geoseg.vector.map_rows import map_rows
from geoseg.vector.polygon_source import PolygonFile, PolygonFrame
from geoseg.vector.rasterize import rasterize
from geoseg.vector.vectorize import vectorize
from geoseg.vector.write import write
from tests.strategies import Map, affines, maps

UTM = Affine(10, 0, 500000, 0, -10, 5400000)
WKT = CRS.from_epsg(32632).to_wkt()
LEGEND = Legend.parse("water=#0000ff,forest=#00ff00,town=#ff0000,field,rock")


def class_map(m: Map, transform: Affine = UTM, crs: str | None = WKT) -> ClassMap:
    height, width = m.codes.shape
    grid = Grid(height=height, width=width, transform=transform, crs=crs)
    return ClassMap(codes=m.codes, valid=m.valid, grid=grid, legend=None)


def random_map(seed: int = 4, shape: tuple[int, int] = (37, 53)) -> ClassMap:
    random = np.random.default_rng(seed)
    codes = random.integers(1, 6, shape).astype(np.uint8)
    codes = np.where(random.random(shape) < 0.5, np.sort(codes, axis=1), codes).astype(np.uint8)
    return class_map(Map(codes=codes, valid=random.random(shape) > 0.1))


def expected(m: ClassMap) -> npt.NDArray[np.integer[Any]]:
    return np.where(m.valid, m.codes, 255)


@given(maps(), affines(), st.sampled_from([WKT, CRS.from_epsg(4326).to_wkt(), None]), st.integers(1, 50))
def test_any_map_on_any_affine_comes_back(m: Map, transform: Affine, crs: str | None, rows: int) -> None:
    """Rotated, sheared, mirrored, south-up, in degrees; in bands of any height."""
    given_map = class_map(m, transform, crs)
    polygons = PolygonFrame(frame=vectorize(given_map))
    found = np.concatenate(list(map_rows(polygons, given_map.grid, rows)))
    np.testing.assert_array_equal(found, expected(given_map))


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".fgb", ".geojson"])
def test_every_format_comes_back(tmp_path: Path, suffix: str) -> None:
    m = random_map()
    path = vectorize(m, legend=LEGEND, output=tmp_path / f"a{suffix}")
    like = None if suffix in (".gpkg", ".parquet") else m.grid
    if suffix == ".geojson":  # seven decimals of degrees are a centimetre
        assert gpd.read_file(path).crs.to_epsg() == 4326
    for rows in (None, m.grid):
        found = rasterize(path, like=rows or like)
        np.testing.assert_array_equal(found.to_numpy(), expected(m))
        assert found.rio.transform() == UTM
        assert found.rio.crs.to_epsg() == 32632


def test_the_written_map_is_that_of_predict(tmp_path: Path) -> None:
    """Codes, affine, CRS, no data, colours, names, and the style beside it."""
    m = random_map()
    polygons = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg")
    path = rasterize(polygons, output=tmp_path / "a.tif")
    found = read_class_map(path)
    assert found.legend == LEGEND
    np.testing.assert_array_equal(found.valid, m.valid)
    np.testing.assert_array_equal(found.codes[m.valid], m.codes[m.valid])
    with rasterio.open(path) as file:
        assert (file.transform, file.crs.to_epsg(), file.nodata, file.dtypes) == (UTM, 32632, 255, ("uint8",))
        assert file.colormap(1)[1] == (0, 0, 255, 255)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "a.qml", "a.tif", "a.tif.aux.xml"]
    again = rasterize(polygons, output=tmp_path / "b.tif", legend=LEGEND)
    assert again.read_bytes() == path.read_bytes()


def test_and_round_again_gives_the_same_polygons(tmp_path: Path) -> None:
    one = vectorize(random_map(), legend=LEGEND, output=tmp_path / "a.gpkg")
    two = vectorize(rasterize(one, output=tmp_path / "a.tif"), output=tmp_path / "b.gpkg")
    assert one.read_bytes() == two.read_bytes()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_any_polygons_are_burned_as_gdal_burns_them(seed: int, rows: int) -> None:
    """Stars with holes, some in several parts, over each other: the last one wins."""
    random = np.random.default_rng(seed)
    shapes = []
    for _ in range(6):
        angle = np.sort(random.uniform(0, 2 * np.pi, 9))
        star = random.uniform(2, 14, (9, 1)) * np.column_stack([np.cos(angle), np.sin(angle)])
        shape = shapely.make_valid(shapely.Polygon(star + random.uniform(0, 30, 2)))
        shapes.append(
            shape.difference(shapely.box(*(random.uniform(5, 10, 2)), *(random.uniform(15, 20, 2))))
        )
    shapes = [s for s in shapes if s.geom_type in ("Polygon", "MultiPolygon")]
    code = list(range(1, len(shapes) + 1))
    frame = gpd.GeoDataFrame({"class_code": code}, geometry=shapes)
    grid = Grid(height=30, width=30, transform=Affine.identity())
    found = np.concatenate(list(map_rows(PolygonFrame(frame=frame), grid, rows, overlap="last")))
    np.testing.assert_array_equal(
        found, by_gdal(zip(shapes, code, strict=True), out_shape=(30, 30), fill=255, dtype="uint8")
    )


@given(st.integers(0, 2**32 - 1))
def test_a_coverage_that_is_not_on_the_lattice_leaves_no_pixel_out(seed: int) -> None:
    """Every centre in exactly one of its polygons, those on borders too: the order does not matter."""
    random = np.random.default_rng(seed)
    points = shapely.multipoints(random.integers(0, 41, (20, 2)) / 2)
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=shapely.box(0, 0, 20, 20)))
    cells = np.array([shapely.set_precision(cell, 0.5) for cell in cells])
    whole = shapely.get_type_id(cells) == shapely.GeometryType.POLYGON
    if not whole.all() or not shapely.coverage_is_valid(cells) or shapely.union_all(cells).area != 400:
        return
    code = np.arange(1, len(cells) + 1)
    grid = Grid(height=20, width=20, transform=Affine.identity())
    one, other = (
        next(map_rows(PolygonFrame(frame=gpd.GeoDataFrame({"class_code": c}, geometry=s)), grid))
        for c, s in ((code, cells), (code[::-1], cells[::-1]))
    )
    np.testing.assert_array_equal(one, other)
    assert (one != 255).all()


def test_a_raster_gives_its_grid(tmp_path: Path) -> None:
    """A scene of another extent and resolution; outside of the polygons is no data."""
    m = random_map()
    polygons = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg")
    finer = Affine(5, 0, 500000 - 20, 0, -5, 5400000 + 30)
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", height=80, width=120, count=3, dtype="uint16",
        crs="EPSG:32632", transform=finer,
    ) as file:  # fmt: skip
        file.write(np.zeros((3, 80, 120), np.uint16))
    wanted = np.full((80, 120), 255)
    doubled = np.kron(expected(m), np.ones((2, 2), np.int64))
    wanted[6:80, 4:110] = doubled[:, :106]
    array = rioxarray.open_rasterio(tmp_path / "scene.tif")
    for like in (tmp_path / "scene.tif", array, array.to_dataset("band")):
        found = rasterize(polygons, like=like)
        np.testing.assert_array_equal(found.to_numpy(), wanted)
        assert found.rio.transform() == finer


def test_a_layer_without_a_crs_is_declared_as_the_message_says(tmp_path: Path) -> None:
    square = gpd.GeoDataFrame({"class_code": [1], "class_name": ["a"]}, geometry=[shapely.box(2, 2, 8, 8)])
    with pytest.warns(UserWarning, match="crs"):
        square.to_file(tmp_path / "no crs.gpkg", layer="landcover")
    like = Grid(height=10, width=10, transform=Affine(1, 0, 0, 0, -1, 10), crs=CRS.from_epsg(32633).to_wkt())
    with pytest.raises(DataError, match=r"layer landcover: declares no CRS, .* copy\.gpkg 'no crs\.gpkg'$"):
        rasterize(tmp_path / "no crs.gpkg", like=like)
    with pytest.raises(DataError, match=r"the frame: declares no CRS, .*; declare it with set_crs\('EPSG"):
        rasterize(square, like=like)
    found = rasterize(square.set_crs("EPSG:32633"), like=like)
    assert (found.to_numpy() == 1).sum() == 36


def test_polygons_in_another_crs_are_brought_to_the_raster() -> None:
    m = random_map()
    frame = vectorize(m).to_crs(4326)
    found = rasterize(frame, like=m.grid)
    assert (found.to_numpy() == expected(m)).mean() > 0.999


def test_a_resolution_makes_a_grid_over_the_extent(tmp_path: Path) -> None:
    m = random_map()
    m.valid[:3] = False
    m.valid[:, -2:] = False
    frame = vectorize(m)
    found = rasterize(frame, resolution=10)
    np.testing.assert_array_equal(found.to_numpy(), expected(m)[3:, :-2])
    assert found.rio.transform() == Affine(10, 0, 500000, 0, -10, 5400000 - 30)
    for wrong in (0, -1, float("nan"), float("inf"), 1e6, 1e-9):
        with pytest.raises(OptionError, match="the resolution is"):
            rasterize(frame, resolution=wrong)
    with pytest.raises(OptionError, match="expected one of the two"):
        rasterize(frame, resolution=10, like=m.grid)


def test_without_a_grid_it_asks_for_one(tmp_path: Path) -> None:
    m = random_map()
    with pytest.raises(
        OptionError, match="the frame: nothing says on which grid they were traced; pass like="
    ):
        rasterize(vectorize(m))
    path = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg")
    moved = class_map(Map(codes=m.codes, valid=m.valid), UTM @ Affine.translation(100, 0))
    vectorize(moved, legend=LEGEND, output=path, append=True)
    with pytest.raises(OptionError, match="polygons were traced on several grids"):
        rasterize(path)
    both = rasterize(path, resolution=10).to_numpy()
    np.testing.assert_array_equal(both[:, :53], expected(m))
    np.testing.assert_array_equal(both[:, 100:], expected(m))
    frame = gpd.read_file(path, layer="landcover")
    with pytest.raises(OptionError, match="nothing says on which grid"):
        rasterize(write(frame, tmp_path / "b.gpkg"))


def test_a_grid_that_lost_polygons_is_not_trusted(tmp_path: Path) -> None:
    m = random_map()
    path = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg")
    damages = {
        "polygons lie outside the grid": ('"height": 37', '"height": 17'),
        "the grid in its metadata": ('"height": 37', '"height": "x"'),
        "is not valid": ('"transform": [10.0, 0.0', '"transform": [0.0, 0.0'),
    }
    content = path.read_bytes()
    for words, change in damages.items():
        path.write_bytes(content)
        with sqlite3.connect(path) as database:
            database.execute("UPDATE gpkg_metadata SET metadata = replace(metadata, ?, ?)", change)
        database.close()
        with pytest.raises(OptionError, match=words):
            rasterize(path)


def test_of_polygons_over_each_other_the_last_one_wins(tmp_path: Path) -> None:
    """Also in a GeoPackage, whose spatial index has an order of its own."""
    random = np.random.default_rng(3)
    corner = random.uniform(0, 80, (300, 2))
    boxes = shapely.box(*corner.T, *(corner + random.uniform(2, 20, (300, 2))).T)
    code = random.integers(0, 255, 300)
    frame = gpd.GeoDataFrame({"class_code": code}, geometry=boxes, crs=32632)
    wanted = by_gdal(zip(boxes, code, strict=True), out_shape=(100, 100), fill=255, dtype="uint8")
    grid = Grid(height=100, width=100, transform=Affine.identity(), crs=WKT)
    path = write(frame, tmp_path / "a.gpkg")
    for source in (PolygonFrame(frame=frame), PolygonFile.open(path, None)):
        found = np.concatenate(list(map_rows(source, grid, 10, overlap="last")))
        np.testing.assert_array_equal(found, wanted)


def test_a_layer_is_chosen(tmp_path: Path) -> None:
    m = random_map()
    path = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg", layer="one")
    vectorize(m, legend=LEGEND, output=path, append=True, layer="two", classes=["town"])
    with pytest.raises(DataError, match="has the layers one, two; choose one with layer="):
        rasterize(path)
    found = rasterize(path, layer="two")
    np.testing.assert_array_equal(found.to_numpy(), np.where(expected(m) == 3, 3, 255))
    assert found.attrs["flag_meanings"] == "town"
    with pytest.raises(DataError, match="has no layer three"):
        rasterize(path, layer="three")


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([1, 65535], "class_code 65535, expected whole numbers from 0 to 65534"),
        ([1, -1], "class_code -1"),
        ([1, 0.5], "class_code 0.5"),
        ([np.nan, None], "no polygon has a class_code"),
        (["water", "forest"], "class_code (water|forest)"),
    ],
)
def test_codes_that_a_class_map_cannot_hold_are_refused(
    tmp_path: Path, codes: list[Any], message: str
) -> None:
    shapes = [shapely.box(0, 0, 5, 5), shapely.box(5, 0, 9, 5)]
    frame = gpd.GeoDataFrame({"class_code": codes}, geometry=shapes, crs=32632)
    frame.to_file(tmp_path / "a.gpkg", layer="a")
    for source in (frame, tmp_path / "a.gpkg"):
        with pytest.raises(DataError, match=message):
            rasterize(source, resolution=1)


def test_floats_that_are_whole_and_polygons_of_others_are_taken(tmp_path: Path) -> None:
    """An editor saves codes as reals, and multipolygons without names."""
    m = random_map()
    frame = vectorize(m).dissolve("class_code", as_index=False)[["class_code", "geometry"]]
    frame["class_code"] = frame["class_code"].astype(float)
    frame.to_file(tmp_path / "a.geojson", driver="GeoJSON", COORDINATE_PRECISION=12)
    for source in (frame, tmp_path / "a.geojson"):
        found = rasterize(source, like=m.grid)
        np.testing.assert_array_equal(found.to_numpy(), expected(m))
    assert found.attrs["flag_meanings"] == "class_1 class_2 class_3 class_4 class_5"


def test_what_is_no_polygons_is_refused(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"kind": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32632)
    frame.to_file(tmp_path / "a.gpkg", layer="a")
    for source in (frame, tmp_path / "a.gpkg"):
        with pytest.raises(DataError, match="expected (class_code|the codes)"):
            rasterize(source, resolution=1)
    (tmp_path / "b.gpkg").write_text("no")
    with pytest.raises(GeosegError, match="none of the vector files that are read"):
        rasterize(tmp_path / "b.gpkg")


def test_an_empty_layer_needs_a_grid_and_a_legend(tmp_path: Path) -> None:
    m = random_map()
    m.valid[:] = False
    path = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg")
    assert (rasterize(path) == 255).all()
    empty = vectorize(m)
    assert (rasterize(empty, like=m.grid, legend=LEGEND) == 255).all()
    with pytest.raises(DataError, match="has no polygons, and no legend"):
        rasterize(empty, like=m.grid)
    with pytest.raises(OptionError, match="has no polygons and so no extent"):
        rasterize(empty, resolution=1)


def test_an_output_is_never_clobbered(tmp_path: Path) -> None:
    path = vectorize(random_map(), legend=LEGEND, output=tmp_path / "a.gpkg")
    target = tmp_path / "a.tif"
    target.write_bytes(b"old")
    with pytest.raises(OutputExistsError):
        rasterize(path, output=target)
    with pytest.raises(OptionError, match=r"expected a name that ends in \.tif"):
        rasterize(path, output=tmp_path / "a.png")
    with pytest.raises(OutputError):
        rasterize(path, output=tmp_path / "nowhere" / "a.tif")
    with pytest.raises(LegendError, match="do not fit a class map"):
        rasterize(path, output=target, overwrite=True, legend=Legend.made_up([1, 70000]))
    assert target.read_bytes() == b"old"
    rasterize(path, output=target, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "a.qml", "a.tif", "a.tif.aux.xml"]


def test_it_is_public() -> None:
    assert geoseg.rasterize is rasterize
    assert "rasterize" in geoseg.__all__


def edited(tmp_path: Path) -> tuple[Path, npt.NDArray[np.integer[Any]]]:
    """Polygons as QGIS leaves them: codes changed and names not, rows with a code alone, multipolygons, a note."""
    codes = np.repeat([1, 1, 2, 2, 3, 3], 4)[None].repeat(6, axis=0).astype(np.uint8)
    m = class_map(Map(codes=codes, valid=np.ones(codes.shape, bool)))
    path = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg")
    frame = gpd.read_file(path, layer="landcover")
    frame.loc[2, "class_code"] = 2  # a town that is forest; its name stays
    west, north = UTM.c, UTM.f
    added = [(shapely.box(west + 10, north - 30, west + 30, north - 10), 4, None)]
    added += [(shapely.box(west + 90, north - 30, west + 110, north - 10), 3, "")]
    added += [(shapely.box(west + 200, north - 30, west + 220, north - 10), None, "water")]
    rows = gpd.GeoDataFrame(
        {
            "class_code": [code for _, code, _ in added],
            "class_name": [name for *_, name in added],
            "note": ["seen", None, ""],
        },
        geometry=[shapely.MultiPolygon([shape]) for shape, *_ in added],
        crs=32632,
    )
    both = pd.concat([frame.drop(columns="pixels"), rows], ignore_index=True)
    both["class_code"] = both["class_code"].astype("Int64")
    both.geometry = [shapely.multipolygons(shapely.get_parts(shape)) for shape in both.geometry]
    both.to_file(tmp_path / "b.gpkg", layer="landcover", engine="pyogrio")
    wanted = np.where(codes == 3, 2, codes).astype(np.int64)
    wanted[1:3, 1:3], wanted[1:3, 9:11] = 4, 3
    return tmp_path / "b.gpkg", wanted


def test_the_code_of_an_edited_polygon_is_the_truth(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, wanted = edited(tmp_path)
    found = rasterize(path, like=grid_of(wanted))
    np.testing.assert_array_equal(found.to_numpy(), wanted)
    assert found.attrs["flag_meanings"] == "water forest class_3 class_4"
    assert (
        f"{path}, layer landcover: the code counts, not the name: of the polygons 1 with code 2 (forest) are called "
        "'town'"
    ) in caplog.messages
    assert f"{path}, layer landcover: 1 polygons have no class_code and are of no class" in caplog.messages
    found = rasterize(path, like=grid_of(wanted), legend=LEGEND)
    np.testing.assert_array_equal(found.to_numpy(), wanted)
    assert found.attrs["flag_meanings"] == "water forest town field rock"


def grid_of(codes: npt.NDArray[Any]) -> Grid:
    return Grid(height=codes.shape[0], width=codes.shape[1], transform=UTM, crs=WKT)


def test_the_style_of_a_layer_names_a_class_before_its_polygons_do(tmp_path: Path) -> None:
    """Corrected in place: more polygons of the code have the old name than the right one."""
    m = random_map()
    path = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as database, database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:  # they call functions that only a spatial library has
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE landcover SET class_code = 2 WHERE class_code = 1")
        database.execute(
            "DELETE FROM landcover WHERE class_code = 2 AND class_name = 'forest' AND fid % 2 = 0"
        )
    found = rasterize(path)
    assert found.attrs["flag_meanings"] == "water forest town field rock"
    assert not (found == 1).any()


@pytest.mark.parametrize("pond_first", [True, False])
def test_overlap_decides_whose_class_a_pixel_has(pond_first: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A pond drawn in a forest, in either order; the rule is the same as that of labels."""
    caplog.set_level("INFO", logger="geoseg")
    rows = [(1, shapely.box(2, 2, 5, 4)), (2, shapely.box(0, 0, 9, 9))][:: 1 if pond_first else -1]
    frame = gpd.GeoDataFrame(
        {"class_code": [code for code, _ in rows]}, geometry=[shape for _, shape in rows]
    )
    grid = Grid(height=12, width=12, transform=Affine.identity())
    ponds = {"smallest": 6, "last": 0 if pond_first else 6, "ignore": 0}
    for overlap, pond in ponds.items():
        found = rasterize(frame, like=grid, overlap=overlap).to_numpy()  # type: ignore[call-overload]
        forest = 81 if overlap == "last" and pond_first else 75
        assert [(found == code).sum() for code in (1, 2, 255)] == [pond, forest, 144 - pond - forest]
        assert "the frame: 6 px lie in polygons of several classes" in caplog.messages[-1]
    assert (rasterize(frame, like=grid) == 1).sum() == 6
    with pytest.raises(OptionError, match="overlap is 'first', expected one of last, smallest, ignore"):
        rasterize(frame, like=grid, overlap="first")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("values", "nodata"), [([0, 255], 65535), ([111, 523, 65534], 65535), ([0, 254], 255)]
)
def test_codes_above_254_make_a_map_of_two_bytes(tmp_path: Path, values: list[int], nodata: int) -> None:
    """Masks of 0 and 255, CORINE's codes: there and back."""
    random = np.random.default_rng(1)
    codes = random.choice(values, (20, 30)).astype(np.uint16)
    m = ClassMap(codes=codes, valid=random.random((20, 30)) < 0.8, grid=grid_of(codes), legend=None)
    polygons = vectorize(m, output=tmp_path / "a.gpkg")
    wanted = np.where(m.valid, codes, nodata)
    found = rasterize(polygons)
    np.testing.assert_array_equal(found.to_numpy(), wanted)
    assert (found.dtype, found.attrs["_FillValue"]) == (
        wanted.astype(np.min_scalar_type(nodata)).dtype,
        nodata,
    )
    path = rasterize(polygons, output=tmp_path / "a.tif")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), wanted)
        assert file.nodata == nodata
        assert file.colormap(1)[values[1]][3] == 255
    again = read_class_map(path)
    np.testing.assert_array_equal(again.valid, m.valid)
    np.testing.assert_array_equal(again.codes[m.valid], codes[m.valid])
    assert again.legend is not None
    assert again.legend.codes == tuple(values)


def test_any_raster_gives_its_grid(tmp_path: Path) -> None:
    """Our own maps have a colour table."""
    m = random_map()
    path = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg")
    raster = rasterize(path, output=tmp_path / "a.tif")
    np.testing.assert_array_equal(rasterize(path, like=raster).to_numpy(), expected(m))
    profile = {"dtype": "complex64", "count": 2, "crs": WKT, "transform": UTM, "height": 37, "width": 53}
    rasterio.open(tmp_path / "c.tif", "w", driver="GTiff", **profile).close()
    np.testing.assert_array_equal(rasterize(path, like=tmp_path / "c.tif").to_numpy(), expected(m))


def test_polygons_far_from_the_grid_make_no_empty_map(tmp_path: Path) -> None:
    m = random_map()
    path = vectorize(m, legend=LEGEND, output=tmp_path / "a.gpkg")
    far = Grid(height=9, width=9, transform=UTM @ Affine.translation(9000, 0), crs=WKT)
    with pytest.raises(DataError, match=r"holds the centre of a pixel of the grid \(they span 500000, "):
        rasterize(path, like=far, output=tmp_path / "a.tif")
    assert not (tmp_path / "a.tif").exists()
    with pytest.raises(DataError, match="holds the centre of a pixel"):
        rasterize(vectorize(m), like=far)
    # They meet the grid, and hold none of its few centres.
    coarse = Grid(height=2, width=2, transform=Affine(10000, 0, 490000, 0, -10000, 5401000), crs=WKT)
    for output in (None, tmp_path / "a.tif"):
        with pytest.raises(DataError, match="holds the centre of a pixel"):
            rasterize(path, like=coarse, output=output)  # type: ignore[call-overload]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg"]


def test_a_resolution_in_degrees_is_explained(tmp_path: Path) -> None:
    path = vectorize(random_map(), legend=LEGEND, output=tmp_path / "a.geojson")
    with pytest.raises(
        OptionError, match=r"resolution is 10 and .* degrees, .* expected pixels that fit in; pass like="
    ):
        rasterize(path, resolution=10)


def test_a_map_that_nobody_can_mean_is_refused_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = shapely.box(500_000, 5_000_000, 700_000, 5_100_000)
    frame = gpd.GeoDataFrame({"class_code": [1]}, geometry=[box], crs="EPSG:32633")
    words = r"makes a map of 2,000,000 x 1,000,000 px \(2,000 GB before compression\), expected at most 100 GB; choose"
    for output in (None, tmp_path / "a.tif"):
        with pytest.raises(OptionError, match=words):
            rasterize(frame, resolution=0.1, output=output)  # type: ignore[call-overload]
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1e9))
    with pytest.raises(
        OptionError, match=r"needs 3\.9 GB of memory, of which 1\.0 are free; pass output with the name"
    ):
        rasterize(frame, resolution=3.2)
    assert list(tmp_path.iterdir()) == []


def test_class_names_of_other_programs_lose_what_is_at_their_ends(tmp_path: Path) -> None:
    """A line end that a table had, a byte that a database padded with; inside, control characters are refused."""
    names = ["forest\r\n", "forest", "\x7fwater\t", "water\u200b"]
    boxes = [shapely.box(500_000 + 10 * i, 5_000_000, 500_010 + 10 * i, 5_000_010) for i in range(4)]
    frame = gpd.GeoDataFrame(
        {"class_code": [1, 1, 2, 2], "class_name": names}, geometry=boxes, crs="EPSG:32633"
    )
    for name in ("a.gpkg", "a.geojson", "a.shp"):
        file = (
            frame.rename(columns={"class_code": "code", "class_name": "name"}) if name == "a.shp" else frame
        )
        file.to_file(tmp_path / name, engine="pyogrio")
    assert rasterize(frame, resolution=10).attrs["flag_meanings"] == "forest water"
    for name in ("a.gpkg", "a.geojson"):
        assert rasterize(tmp_path / name, resolution=10).attrs["flag_meanings"] == "forest water"
    for name, field in (("a.gpkg", "class_name"), ("a.shp", "name")):
        found = found_classes(tmp_path / name, class_field=field)
        assert [c.name for c in found] == ["forest", "water"]
    (tmp_path / "l.csv").write_text("code,name\n1,oak\x7f\n2,lake\x1b\n")
    assert read_legend(tmp_path / "l.csv").names == ("oak", "lake")
    (tmp_path / "l.csv").write_text("code,name\n1,o\x1bak\n")
    with pytest.raises(LegendError, match="contains the control character"):
        read_legend(tmp_path / "l.csv")


def test_what_is_no_polygon_is_left_out_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Foreign files hold lines, points and polygons that rounding made flat."""
    square = [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]
    shapes = [
        {"type": "Polygon", "coordinates": square},
        {"type": "LineString", "coordinates": [[0, 0], [3, 3]]},
        {"type": "Point", "coordinates": [3, 3]},
        {"type": "Polygon", "coordinates": [[[1, 1], [3, 1], [1, 1], [1, 1]]]},
    ]
    features = [
        {"type": "Feature", "properties": {"class_code": i + 1}, "geometry": shape}
        for i, shape in enumerate(shapes)
    ]
    path = tmp_path / "f.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = rasterize(path, resolution=1)
    assert (found.to_numpy() == 1).all()
    assert "f.geojson, layer f: 3 are lines, points or polygons without an area" in caplog.text


def test_a_bow_tie_covers_its_halves_though_their_areas_cancel(tmp_path: Path) -> None:
    """Corners drawn in the wrong order are an everyday slip; QGIS and GDAL fill both halves."""
    x, y = UTM @ (0, 0)
    bow = shapely.Polygon([(x, y), (x + 100, y - 100), (x + 100, y), (x, y - 100)])
    gpd.GeoDataFrame({"class_code": [3]}, geometry=[bow], crs=32632).to_file(tmp_path / "p.gpkg")
    grid = Grid(height=10, width=10, transform=UTM, crs=WKT)
    found = geoseg.rasterize(tmp_path / "p.gpkg", like=grid).to_numpy()
    row, col = abs(np.mgrid[:10, :10] - 4.5)
    assert (found[col > row] == 3).all()  # pixels on the diagonals belong to either side
    assert (found[col < row] == 255).all()
