"""The public verbs: class maps from files, arrays and frames to polygons and GeoPackages."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import geopandas.testing
import numpy as np
import pytest
import rasterio
import rioxarray
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.features import rasterize

from geoseg.assessment.evaluation.open_map import OpenMap
from geoseg.errors import ClassMapError, LegendError, OptionError, OutputError, OutputExistsError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.polygons import features
from geoseg.raster.classmap import ClassMap
from geoseg.raster.xarray_results import result_dataset
from geoseg.vector.options import VectorizeOptions
from geoseg.vector.vectorize import vectorize
from geoseg.vector.write import write
from geoseg.vector.xarray_maps import legend_of_attributes
from tests.strategies import drawn

MAP = drawn(("112233", "1.2233", "444433", "1.1.55"))
UTM = Affine(10, 0, 500000, 0, -10, 5400000)
LEGEND = Legend.parse("water=#0000ff,forest,town,field,rock")
TWO = np.array([[1, 2], [1, 1]], np.uint8)
"""Two classes in memory."""
GRID = Grid(height=2, width=2, transform=UTM, crs=CRS.from_epsg(32632).to_wkt())


def write_raster(
    path: Path, data: Any, transform: Affine = UTM, crs: str | None = "EPSG:32632", **kw: Any
) -> Path:
    height, width = data.shape
    profile = {"driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": data.dtype, **kw}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as file:
        file.write(data, 1)
    return path


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_raster(
        tmp_path / "classes.tif", np.where(MAP.valid, MAP.codes, 0).astype(np.int16), nodata=0
    )


def class_map() -> ClassMap:
    height, width = MAP.codes.shape
    grid = Grid(height=height, width=width, transform=UTM, crs=CRS.from_epsg(32632).to_wkt())
    return ClassMap(codes=MAP.codes, valid=MAP.valid, grid=grid, legend=LEGEND)


def test_a_file_from_anywhere(raster: Path) -> None:
    frame = vectorize(raster)
    assert frame.crs.to_epsg() == 32632
    assert sorted(set(frame["class_name"])) == [f"class {i}" for i in range(1, 6)]
    burnt = rasterize(
        zip(frame.geometry, frame["class_code"], strict=True), out_shape=MAP.codes.shape, transform=UTM
    )
    np.testing.assert_array_equal(burnt, np.where(MAP.valid, MAP.codes, 0))


def test_a_palette_names_nothing_but_colours(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "p.tif", MAP.codes, nodata=0, photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {i: (10 * i, 0, 255, 255) for i in range(6)})
    output = vectorize(path, output=tmp_path / "p.gpkg")
    assert b"10,0,255,255" in output.read_bytes()


def test_every_kind_of_source_gives_the_same_frame(raster: Path) -> None:
    expected = vectorize(raster, legend=LEGEND)
    array = rioxarray.open_rasterio(raster)
    sources = {
        "class map": class_map(),
        "text": str(raster),
        "array": array,
        "array (y, x)": array.isel(band=0),
        "masked array": rioxarray.open_rasterio(raster, masked=True),
        "transposed array": array.isel(band=0).transpose("x", "y"),
        "lazy array": array.chunk({"x": 2}),
        "dataset": xr.Dataset({"landcover": array.isel(band=0)}),
    }
    for name, source in sources.items():
        found = vectorize(source, legend=LEGEND)
        gpd.testing.assert_geodataframe_equal(found, expected, check_less_precise=False), name


@pytest.mark.parametrize("step", [-10, 10], ids=["north-up", "south-up"])
def test_arrays_without_a_transform_use_their_coordinates(step: int) -> None:
    codes = xr.DataArray(
        np.array([[1, 2]], np.uint8), dims=("y", "x"), coords={"y": [50.0], "x": [105.0, 115.0]}
    ).rio.write_crs("EPSG:32632")
    codes = xr.concat([codes, codes.assign_coords(y=[50.0 + step])], dim="y")
    frame = vectorize(codes)
    top, bottom = sorted((50 - step / 2, 50 + 1.5 * step))
    assert frame.total_bounds.tolist() == [100, top, 120, bottom]
    assert shapely.is_ccw(frame.geometry.exterior.to_numpy()).all()


def test_a_plain_array_is_a_map_without_a_place() -> None:
    frame = vectorize(np.where(MAP.valid, MAP.codes, 9))
    assert frame.crs is None
    assert frame["area_m2"].isna().all()
    assert frame.geometry.area.sum() == MAP.codes.size
    assert vectorize(np.where(MAP.valid, MAP.codes, 9)[np.newaxis]).equals(frame)


def test_a_mask_is_a_map_of_two_classes() -> None:
    mask = np.zeros((3, 4), np.bool_)
    mask[1, 1:3] = True
    frame = vectorize(mask)
    assert list(zip(frame["class_code"], frame["pixels"], strict=True)) == [(1, 2), (0, 10)]


def test_a_mask_of_one_class_is_not_called_as_the_map_calls_code_1() -> None:
    """xarray keeps the attributes of a map that is compared, and with them the names of its codes."""
    landcover = result_dataset(TWO, TWO, GRID, Legend.parse("water,forest"))["landcover"]
    mask = (landcover == 2).assign_attrs(landcover.attrs)
    assert set(vectorize(mask)["class_name"]) == {"class 0", "class 1"}
    with pytest.raises(ClassMapError, match="has no legend"):
        OpenMap.of(mask, None, "the mask")
    burnt = mask.drop_attrs(deep=False).assign_attrs(flag_values=[0, 1], flag_meanings="sound burnt")
    assert dict(zip(*vectorize(burnt)[["class_code", "class_name"]].to_numpy().T, strict=True)) == {
        0: "sound", 1: "burnt",
    }  # fmt: skip
    assert set(vectorize(mask, legend=Legend.of([(0, "other", None), (1, "forest", None)]))["class_name"]) == {
        "other", "forest",
    }  # fmt: skip


def test_numbers_that_the_names_of_an_array_lack_are_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    landcover = result_dataset(TWO, TWO, GRID, Legend.parse("water,forest"))["landcover"]
    mask = (landcover == 2).astype(np.uint8).assign_attrs(landcover.attrs)
    with caplog.at_level(logging.WARNING, "geoseg"):
        vectorize(landcover.where(landcover == 2))
        vectorize(mask, legend=Legend.of([(0, "other", None), (1, "forest", None)]))
        assert not caplog.records
        vectorize(mask)
    (record,) = caplog.records
    assert "name the codes 1, 2, and it holds 0, too" in record.getMessage()
    assert "pass legend= with the right ones" in record.getMessage()


def test_a_legend_may_be_a_csv_file(tmp_path: Path, raster: Path) -> None:
    path = tmp_path / "legend.csv"
    path.write_text("code,name,color\n1,water,#0000ff\n")
    frame = vectorize(raster, legend=path)
    assert {"water", "class 2"} <= set(frame["class_name"])
    style = write(frame, tmp_path / "a.gpkg", legend=str(path))
    assert b"0,0,255,255" in style.read_bytes()
    for wrong in ({1: "water"}, ["water"]):
        with pytest.raises(LegendError, match="expected a Legend or the path of a file with one"):
            vectorize(raster, legend=wrong)  # type: ignore[arg-type]


def test_cf_flags_are_a_legend() -> None:
    codes = xr.DataArray(np.array([[1, 2]], np.uint8), dims=("y", "x")).rio.write_transform(UTM)
    codes.attrs = {"flag_values": np.array([1, 2], np.uint8), "flag_meanings": "open_water forest"}
    assert vectorize(codes)["class_name"].tolist() == ["open_water", "forest"]
    codes.attrs["flag_meanings"] = "only_one"
    assert vectorize(codes)["class_name"].tolist() == ["class 1", "class 2"]


@given(
    names=st.lists(
        st.text("ab _é", min_size=1, max_size=6).map(str.strip).filter(bool),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_an_array_keeps_the_names_of_its_classes(names: list[str]) -> None:
    """CF's flags cannot hold blanks, by which two names may differ."""
    legend = Legend.of([(code, name, None) for code, name in enumerate(names, start=1)])
    array = result_dataset(TWO, TWO, GRID, legend)["landcover"]
    assert legend_of_attributes(array.attrs) == legend
    renamed = array.assign_attrs(flag_meanings=" ".join("abcd"[: len(names)]))
    found = legend_of_attributes(renamed.attrs)
    assert found is not None
    assert found.names == tuple("abcd"[: len(names)]), "what a person calls them counts"


def test_an_array_read_from_a_map_has_its_classes(tmp_path: Path) -> None:
    legend = Legend.of([(1, "shrub and grass", "#d9c58b"), (2, "water", "#0000ff")])
    array = result_dataset(TWO, TWO, GRID, legend)["landcover"]
    path = tmp_path / "by rioxarray.tif"
    array.rio.to_raster(path)
    for each in (array, path, rioxarray.open_rasterio(path).isel(band=0)):
        assert set(vectorize(each)["class_name"]) == {"shrub and grass", "water"}
    frame = vectorize(array, classes=["shrub and grass"])
    assert frame["class_code"].tolist() == [1]


def test_confidence_comes_in_every_form(tmp_path: Path, raster: Path) -> None:
    stored = np.random.default_rng(1).integers(0, 256, MAP.codes.shape, dtype=np.uint8)
    share = np.where(stored == 255, np.nan, stored / 254)
    array = rioxarray.open_rasterio(raster).isel(band=0)
    dataset = xr.Dataset({"landcover": array, "confidence": (("y", "x"), share.astype(np.float32))})
    forms = [
        vectorize(raster, confidence=write_raster(tmp_path / "a.tif", stored, nodata=255)),
        vectorize(raster, confidence=write_raster(tmp_path / "b.tif", share, nodata=np.nan)),
        vectorize(raster, confidence=stored),
        vectorize(raster, confidence=share),
        vectorize(raster, confidence=array.copy(data=share)),
        vectorize(dataset),
    ]
    for frame in forms:
        gpd.testing.assert_geodataframe_equal(frame, forms[0], check_less_precise=False)
    assert forms[0]["confidence"].between(0, 1).any()


def without_proof(path: Path) -> list[str]:
    """Everything in a GeoPackage but what is known of the polygons, which a frame that may be edited cannot say."""
    with closing(sqlite3.connect(path)) as database:
        return [line for line in database.iterdump() if "gpkg_metadata" not in line]


@pytest.mark.parametrize("chunks", [None, {"x": 3, "y": 2}])
@pytest.mark.parametrize("masked", [False, True])
def test_confidence_beside_a_map_is_that_of_its_file(
    tmp_path: Path, raster: Path, masked: bool, chunks: dict[str, int] | None
) -> None:
    """``masked=True`` makes floats of its steps of 1/254, lazy or not."""
    share = np.arange(MAP.codes.size, dtype=np.uint8).reshape(MAP.codes.shape) * 10
    path = write_raster(tmp_path / "c.tif", np.where(MAP.valid, share, 255).astype(np.uint8), nodata=255)
    codes, conf = (rioxarray.open_rasterio(each, masked=masked, chunks=chunks) for each in (raster, path))
    both = xr.Dataset({"landcover": codes, "confidence": conf})
    assert vectorize(both).equals(vectorize(raster, confidence=path))


def test_the_file_is_what_the_frame_would_be_written_as(tmp_path: Path, raster: Path) -> None:
    """Law 12: with `output` the same tables as through a frame."""
    confidence = np.full(MAP.codes.shape, 200, np.uint8)
    output = vectorize(raster, confidence=confidence, legend=LEGEND, output=tmp_path / "a.gpkg")
    frame = vectorize(raster, confidence=confidence, legend=LEGEND)
    again = write(frame, tmp_path / "b.gpkg", legend=LEGEND)
    assert without_proof(output) == without_proof(again)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "b.gpkg", "classes.tif"]


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_strips_and_workers_give_the_same_bytes(tmp_path: Path, rows: int, workers: int) -> None:
    random = np.random.default_rng(6)
    codes = random.integers(0, 4, (40, 30)).astype(np.uint8)
    share = random.integers(0, 256, codes.shape, dtype=np.uint8)
    path = write_raster(tmp_path / "m.tif", codes, nodata=0)
    options = {"rows": rows, "workers": workers}
    found = vectorize(path, confidence=share, **options, output=tmp_path / "a.gpkg")
    expected = vectorize(path, confidence=share, output=tmp_path / "b.gpkg")
    assert found.read_bytes() == expected.read_bytes()
    lazy = rioxarray.open_rasterio(path).chunk({"y": 7, "x": 11})
    frame = vectorize(lazy, confidence=xr.DataArray(share, dims=("y", "x")).chunk({"y": 5}), **options)
    assert without_proof(write(frame, tmp_path / "c.gpkg")) == without_proof(expected)


@pytest.mark.parametrize("name", ["rows", "workers"])
def test_options_below_one_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} is 0, expected 1 to"):
        VectorizeOptions(**{name: 0})


def test_many_features_are_handed_over_at_places_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(7)
    path = write_raster(tmp_path / "m.tif", random.integers(0, 4, (40, 30)).astype(np.uint8), nodata=0)
    whole = vectorize(path)
    for batch, size in ((1, 2**28), (7, 2**28), (1000, 500), (64, 2000)):
        monkeypatch.setattr(features, "_BATCH", batch)
        monkeypatch.setattr(features, "_BATCH_BYTES", size)
        files = [
            vectorize(path, rows=rows, output=tmp_path / f"{rows}.gpkg", overwrite=True)
            for rows in (1, 13, 40)
        ]
        assert len({file.read_bytes() for file in files}) == 1
        frame = write(whole, tmp_path / "frame.gpkg", overwrite=True)
        assert without_proof(frame) == without_proof(files[0])
        gpd.testing.assert_geodataframe_equal(
            gpd.read_file(files[0], layer="landcover"), whole, check_dtype=False
        )


def test_a_map_that_fails_half_way_says_why_and_leaves_the_old_file(tmp_path: Path) -> None:
    codes = np.ones((1100, 8), np.float32)
    codes[-1, -1] = 0.5
    path = write_raster(tmp_path / "m.tif", codes)
    output = tmp_path / "a.gpkg"
    output.write_bytes(b"old")
    for rows in (5, 2000):
        with pytest.raises(ClassMapError, match=r"m\.tif: holds 0\.5, expected whole numbers"):
            vectorize(path, output=output, overwrite=True, rows=rows, workers=2)
    assert output.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "m.tif"]


def test_an_output_is_never_clobbered(tmp_path: Path, raster: Path) -> None:
    path = tmp_path / "a.gpkg"
    path.write_bytes(b"old")
    with pytest.raises(OutputExistsError):
        vectorize(raster, output=path)
    with pytest.raises(OutputExistsError):
        write(vectorize(raster), path)
    assert path.read_bytes() == b"old"
    vectorize(raster, output=path, overwrite=True)
    assert len(gpd.read_file(path, layer="landcover")) == len(vectorize(raster))


def test_a_failure_leaves_the_old_file(tmp_path: Path, raster: Path) -> None:
    path = tmp_path / "a.gpkg"
    path.write_bytes(b"old")
    with pytest.raises(ClassMapError):
        vectorize(raster, output=path, overwrite=True, confidence=np.zeros((1, 1), np.uint8))
    with pytest.raises(OptionError):
        vectorize(raster, output=path, overwrite=True, layer="gpkg")
    with pytest.raises(OutputError):
        vectorize(raster, output=tmp_path / "nowhere" / "a.gpkg")
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "classes.tif"]


@pytest.mark.parametrize(
    ("confidence", "message"),
    [
        (np.full(MAP.codes.shape, 2.0), "expected 0 to 1"),
        (np.zeros(MAP.codes.shape, np.int64), "expected uint8"),
        (np.zeros((1, 1), np.uint8), "expected that of the grid"),
    ],
)
def test_unusable_confidence_is_refused(raster: Path, confidence: Any, message: str) -> None:
    with pytest.raises(ClassMapError, match=message):
        vectorize(raster, confidence=confidence)


def test_a_confidence_raster_must_lie_on_the_grid(tmp_path: Path, raster: Path) -> None:
    moved = Affine(10, 0, 500010, 0, -10, 5400000)
    path = write_raster(tmp_path / "c.tif", np.zeros(MAP.codes.shape, np.uint8), moved)
    with pytest.raises(
        ClassMapError, match="not lie on the grid of the class map: its affine is 10, 0, 500010, "
    ):
        vectorize(raster, confidence=path)


def test_a_confidence_raster_a_pixel_aside_is_refused_in_degrees_too(tmp_path: Path) -> None:
    """A pixel of a ten-thousandth of a degree is less than any tolerance in units of the CRS."""
    here = Affine(1e-4, 0, 8.5, 0, -1e-4, 47.5)
    raster = write_raster(tmp_path / "map.tif", MAP.codes, here, crs="EPSG:4326")
    share = np.zeros(MAP.codes.shape, np.uint8)
    aside = write_raster(tmp_path / "c.tif", share, here @ Affine.translation(1, 0), crs="EPSG:4326")
    with pytest.raises(ClassMapError, match="not lie on the grid of the class map: its affine is"):
        vectorize(raster, confidence=aside)
    assert (
        "confidence"
        in vectorize(raster, confidence=write_raster(aside, share, here, crs="EPSG:4326")).columns
    )


def test_a_confidence_raster_of_another_crs_is_refused(tmp_path: Path, raster: Path) -> None:
    share = np.zeros(MAP.codes.shape, np.uint8)
    path = write_raster(tmp_path / "confidence.tif", share, crs="EPSG:32633")
    with pytest.raises(ClassMapError, match="CRS is WGS 84 / UTM zone 33N, expected WGS 84 / UTM zone 32N"):
        vectorize(raster, confidence=path)
    assert "confidence" in vectorize(raster, confidence=write_raster(path, share, crs=None)).columns


@pytest.mark.parametrize("name", ["o.shp", "o.kml", "o"])
def test_a_name_that_promises_another_format_is_refused(tmp_path: Path, raster: Path, name: str) -> None:
    with pytest.raises(OptionError, match="expected a name that ends in .gpkg"):
        vectorize(raster, output=tmp_path / name)
    with pytest.raises(OptionError, match="expected a name that ends in .gpkg"):
        write(vectorize(raster), tmp_path / name)
    assert not (tmp_path / name).exists()
    assert vectorize(raster, output=tmp_path / "O.GPKG").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (xr.Dataset({"a": ("x", [1])}), "holds a, expected a variable landcover"),
        (xr.DataArray(np.zeros((2, 2, 2), np.uint8), dims=("band", "y", "x")), "at most one band"),
        (xr.DataArray(np.full((2, 2), 0.5), dims=("y", "x")), "fractions"),
        (np.zeros((2, 2, 2), np.uint8), "shape \\(2, 2, 2\\), expected"),
        (np.array([[1e30, 1]]), "holds 1e\\+30, expected integer codes"),
        (np.zeros(4, np.uint8), "expected \\(row, col\\)"),
        (gpd.GeoDataFrame(), "is a GeoDataFrame, expected a path"),
    ],
)
def test_unusable_arrays_are_refused(source: Any, message: str) -> None:
    with pytest.raises(ClassMapError, match=message):
        vectorize(source)


def test_an_edited_frame_keeps_its_columns(tmp_path: Path, raster: Path) -> None:
    frame = vectorize(raster, legend=LEGEND)
    frame["note"] = "checked"
    merged = frame.dissolve("class_code", as_index=False)
    found = gpd.read_file(write(merged, tmp_path / "a.gpkg"), layer="landcover")
    assert set(found["note"]) == {"checked"}
    assert set(found.geom_type) == {"MultiPolygon"}
    assert found.geometry.geom_equals(merged.geometry).all()
    assert b'label="forest"' in (tmp_path / "a.gpkg").read_bytes()


def test_a_frame_without_classes_is_refused(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 1, 1)])
    with pytest.raises(OptionError, match="columns a, geometry; expected class_code"):
        write(frame, tmp_path / "a.gpkg")


def test_what_is_no_polygon_is_refused(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"class_code": [1]}, geometry=[shapely.Point(0, 0)])
    with pytest.raises(OptionError, match="other than polygons"):
        write(frame, tmp_path / "a.gpkg")


def test_an_empty_frame_is_written(tmp_path: Path, raster: Path) -> None:
    path = write(vectorize(raster).iloc[:0], tmp_path / "a.gpkg")
    assert len(gpd.read_file(path, layer="landcover")) == 0


def test_small_regions_are_merged_on_the_way(tmp_path: Path) -> None:
    random = np.random.default_rng(9)
    codes = np.where(random.random((60, 50)) < 0.2, random.integers(1, 5, (60, 50)), 1).astype(np.uint8)
    codes[:, 25:][codes[:, 25:] == 1] = 2
    path = write_raster(tmp_path / "m.tif", codes, nodata=0)
    expected = vectorize(codes, min_area="6px")
    assert expected["pixels"].min() >= 6
    assert expected["pixels"].sum() == codes.size
    assert shapely.coverage_is_valid(expected.geometry.to_numpy())
    for rows in (1, 7, 60):
        found = vectorize(path, min_area="600m2", rows=rows, workers=2)
        assert found["pixels"].tolist() == expected["pixels"].tolist()
        assert found["class_code"].tolist() == expected["class_code"].tolist()


def test_the_second_class_is_the_most_probable_other_one(tmp_path: Path) -> None:
    codes = np.array([[1, 1, 2, 2], [1, 1, 2, 0]], np.uint8)
    share = np.zeros((3, 2, 4))
    share[:, :, :2] = np.array([0.6, 0.1, 0.3])[:, None, None]
    share[:, :, 2:] = np.array([0.2, 0.7, 0.1])[:, None, None]
    share[:, 0, 3] = np.nan
    path = write_raster(tmp_path / "m.tif", codes, nodata=0)
    legend = Legend.parse("water,forest,town")
    for rows in (1, 2):
        options = {"probabilities": share, "rows": rows, "scene_name": "north"}
        frame = vectorize(path, legend=legend, **options)
        assert list(zip(frame["class_code"], frame["second_code"], frame["second_name"], strict=True)) == [
            (1, 3, "town"),
            (2, 1, "water"),
        ]
        np.testing.assert_allclose(
            frame["second_share"], [np.rint(0.3 * 254) / 254, np.rint(0.2 * 254) / 254]
        )
        assert set(frame["scene"]) == {"north"}
    unknown = vectorize(path, legend=legend, probabilities=np.full((3, 2, 4), np.nan))
    assert unknown[["second_code", "second_name", "second_share"]].isna().all(axis=None)
    with pytest.raises(
        ClassMapError, match="the probabilities has 2 bands, expected one for each of 3 classes"
    ):
        vectorize(path, legend=legend, probabilities=share[:2])
    with pytest.raises(OptionError, match="and this map has none; pass legend="):
        vectorize(path, probabilities=share)


def test_a_class_map_of_stackstac_lies_where_its_pixels_do() -> None:
    """Its coordinates are of corners; taken for those of centres, every polygon would lie half a pixel off."""
    array = xr.DataArray(
        np.where(MAP.valid, MAP.codes, 0).astype(np.uint8)[None],
        dims=("band", "y", "x"),
        coords={
            "band": ["map"],
            "y": UTM.f + UTM.e * np.arange(MAP.codes.shape[0]),
            "x": UTM.c + UTM.a * np.arange(MAP.codes.shape[1]),
        },
        attrs={"crs": "epsg:32632", "transform": UTM, "resolution": 10.0},
    )
    centred = array.assign_coords(y=array.y + UTM.e / 2, x=array.x + UTM.a / 2)
    del centred.attrs["transform"]
    expected = vectorize(centred)
    assert vectorize(array).geometry.geom_equals(expected.geometry).all()
    assert expected.total_bounds[0] == UTM.c
