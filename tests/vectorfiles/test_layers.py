"""Classes that may overlap: a coverage for each, in a layer of its own."""

from __future__ import annotations

import re
import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

from geoseg.errors import ClassMapError, OptionError, OutputError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend, LegendClass
from geoseg.polygons.features import Features
from geoseg.polygons.polygonize import polygonize
from geoseg.raster.classmap import LayeredMap, write_cog
from geoseg.vector.vectorize import vectorize
from geoseg.vectorfiles import geopackage
from geoseg.vectorfiles.arrow_writer import TIMESTAMP, Layer, check_layer_name
from geoseg.vectorfiles.geopackage import write_geopackage
from geoseg.vectorfiles.layers import layer_names, polygonize_layers

LEGEND = Legend(
    classes=(
        LegendClass(code=0, name="cloud & fog", color="#f0f0f0"),
        LegendClass(code=7, name="water", color="#0000ff"),
        LegendClass(code=9, name="<roof>", color="#ff0000"),
    )
)
WKT = CRS("EPSG:32632").to_wkt()
UTM = Affine(10, 0, 500000, 0, -10, 5400000)


def grid_of(shape: tuple[int, int], transform: Affine = UTM) -> Grid:
    return Grid(height=shape[0], width=shape[1], transform=transform, crs=WKT)


@st.composite
def layered_maps(draw: st.DrawFn) -> npt.NDArray[np.uint8]:
    """(class, row, col): 1, 0, and 255 on the same pixels of every layer; a layer may be empty or full."""
    count = draw(st.integers(1, 3))
    shape = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shares = [draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])) for _ in range(count)]
    layers = np.stack([(random.random(shape) < share).astype(np.uint8) for share in shares])
    layers[:, random.random(shape) < draw(st.sampled_from([0.0, 0.2]))] = 255
    return layers


def polygons_of(layers: npt.NDArray[np.uint8], legend: Legend, transform: Affine = UTM) -> Features:
    return polygonize_layers(lambda i: layers[i] == 1, grid_of(layers.shape[1:], transform), legend)


def burned(frame: gpd.GeoDataFrame, shape: tuple[int, int], transform: Affine) -> npt.NDArray[np.uint8]:
    if frame.empty:
        return np.zeros(shape, dtype=np.uint8)
    found: npt.NDArray[np.uint8] = rasterize(
        frame.geometry, out_shape=shape, transform=transform, dtype=np.uint8
    )
    return found


@given(layered_maps())
def test_law_4_the_polygons_of_a_class_are_its_layer(layers: npt.NDArray[np.uint8]) -> None:
    legend = Legend(classes=LEGEND.classes[: len(layers)])
    frame = polygons_of(layers, legend).to_geodataframe()
    assert frame["class_code"].is_monotonic_increasing
    for c, layer in zip(legend.classes, layers, strict=True):
        own = frame[frame["class_code"] == c.code]
        np.testing.assert_array_equal(burned(own, layer.shape, UTM), layer == 1)
        assert set(own["class_name"]) <= {c.name}
        assert own["pixels"].sum() == (layer == 1).sum()
        assert own.geometry.area.sum() == pytest.approx(100 * (layer == 1).sum())
        assert shapely.coverage_is_valid(own.geometry.to_numpy())
        # The polygons are those of the layer alone, in the same order.
        alone = polygonize((layer == 1).astype(np.uint8), layer == 1, grid_of(layer.shape)).to_geodataframe()
        assert shapely.equals_exact(own.geometry.to_numpy(), alone.geometry.to_numpy()).all()


LAYERS = np.zeros((3, 12, 15), dtype=np.uint8)
LAYERS[0, 2:9, 1:12] = 1
LAYERS[0, 4:6, 4:6] = 0
LAYERS[2, 5:12, 6:15] = 1
LAYERS[2, 0, 0] = 1
LAYERS[:, 11, 0:4] = 255
FEATURES = polygons_of(LAYERS, LEGEND)


def test_a_geopackage_has_a_styled_layer_for_each_class(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write_geopackage(path, FEATURES, layer=layer_names(LEGEND), metadata={"MODEL": "abc"})
    assert [p.name for p in tmp_path.iterdir()] == ["a.gpkg"]
    names = {0: "cloud & fog", 7: "water", 9: "roof>"}
    assert {name for name, kind in pyogrio.list_layers(path) if kind == "Polygon"} == set(names.values())
    whole = FEATURES.to_geodataframe()
    with closing(sqlite3.connect(path)) as database:
        styles = dict(database.execute("SELECT f_table_name, styleQML FROM layer_styles WHERE useAsDefault"))
    for index, (code, name) in enumerate(names.items()):
        info = pyogrio.read_info(path, layer=name)
        assert (info["geometry_type"], info["crs"]) == ("Polygon", "EPSG:32632")
        assert info["layer_metadata"]["MODEL"] == "abc"
        found = gpd.read_file(path, layer=name)
        expected = whole[whole["class_code"] == code].reset_index(drop=True)
        assert len(found) == len(expected) == [1, 0, 2][index]
        assert shapely.equals_exact(found.geometry.to_numpy(), expected.geometry.to_numpy()).all()
        for column in ("class_code", "class_name", "pixels", "area_m2"):
            assert found[column].tolist() == expected[column].tolist()
        (category,) = ET.fromstring(styles[name]).findall("renderer-v2/categories/category")
        assert (category.get("value"), category.get("label")) == (str(code), LEGEND[code].name)


def test_equal_features_give_equal_bytes_without_a_clock(tmp_path: Path) -> None:
    for name in ("one.gpkg", "other.gpkg"):
        write_geopackage(tmp_path / name, FEATURES, layer=layer_names(LEGEND))
    content = (tmp_path / "one.gpkg").read_bytes()
    assert content == (tmp_path / "other.gpkg").read_bytes()
    times = set(re.findall(rb"(?:19|20)\d\d-\d\d-\d\dT[\d:.]+Z", content))
    assert times == {TIMESTAMP.encode()}


@pytest.mark.parametrize("damaged", ["cloud & fog", "roof>"])
def test_verification_looks_into_every_layer(
    tmp_path: Path, damaged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_styles = geopackage._write_tables_beside

    def and_lose_a_feature(path: Path, layers: list[Layer]) -> None:
        write_styles(path, layers)
        with closing(sqlite3.connect(path)) as database:
            database.execute(f'DELETE FROM "rtree_{damaged}_geom_rowid" WHERE rowid = 1')
            database.commit()

    monkeypatch.setattr(geopackage, "_write_tables_beside", and_lose_a_feature)
    with pytest.raises(OutputError, match="entries in the R-tree"):
        write_geopackage(tmp_path / "a.gpkg", FEATURES, layer=layer_names(LEGEND))


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(str.strip)


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_every_class_has_a_usable_layer_name_of_its_own(names: list[str]) -> None:
    legend = Legend(
        classes=tuple(LegendClass(code=i, name=name, color="#000000") for i, name in enumerate(names))
    )
    for prefix in (None, "mine"):
        made = layer_names(legend, prefix)
        assert list(made) == list(legend.codes)
        assert len({name.lower() for name in made.values()}) == len(names)
        for name in made.values():
            check_layer_name(name)
            assert prefix is None or name.startswith("mine")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Water", "water", "water (1)"], ["Water", "water (1)", "water (1) (2)"]),
        (["gpkg_contents", "layer_styles"], ["class 0 gpkg_contents", "class 1 layer_styles"]),
        (["a\nb", "../x", "!!"], ["a b", "x", "class 2"]),
        (["roof", "crops, other"], ["roof", "crops, other"]),
    ],
)
def test_layer_names(names: list[str], expected: list[str]) -> None:
    legend = Legend(
        classes=tuple(LegendClass(code=i, name=name, color="#000000") for i, name in enumerate(names))
    )
    assert list(layer_names(legend).values()) == expected


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A multilabel map and its confidence, as files."""
    grid = grid_of(LAYERS.shape[1:])
    write_cog(tmp_path / "m.tif", [LAYERS], grid, legend=LEGEND, description=LEGEND.names, tags={})
    write_cog(tmp_path / "p.tif", [shares()], grid, legend=None, description=LEGEND.names, tags={})
    return tmp_path / "m.tif"


def shares() -> npt.NDArray[np.uint8]:
    confidence = np.random.default_rng(5).integers(130, 255, LAYERS.shape).astype(np.uint8)
    return np.where(LAYERS == 255, 255, np.minimum(confidence, 254)).astype(np.uint8)


def test_a_file_is_vectorized_as_its_array_is(written: Path) -> None:
    frame = vectorize(written, confidence=written.with_name("p.tif"))
    expected = polygonize_layers(
        lambda i: LAYERS[i] == 1, grid_of(LAYERS.shape[1:]), LEGEND, lambda i: shares()[i]
    ).to_geodataframe()
    assert frame.drop(columns="geometry").equals(expected.drop(columns="geometry"))
    assert shapely.equals_exact(frame.geometry.to_numpy(), expected.geometry.to_numpy()).all()
    assert frame["confidence"].notna().all()
    path = vectorize(written, confidence=written.with_name("p.tif"), output=written.with_name("m.gpkg"))
    assert len(gpd.read_file(path, layer="roof>")) == 2
    first = frame[frame["class_code"] == 0].iloc[0]
    stored = shares()[0][LAYERS[0] == 1]
    assert first["confidence"] == pytest.approx(stored.mean() / 254)


def test_a_dataarray_with_classes_is_vectorized_likewise(written: Path) -> None:
    array = xr.DataArray(
        LAYERS,
        dims=("class", "y", "x"),
        coords={"class": list(LEGEND.names), "class_code": ("class", list(LEGEND.codes))},
        attrs={"_FillValue": np.uint8(255)},
    )
    array = array.rio.write_crs(WKT).rio.write_transform(UTM)
    share = xr.where(shares() == 255, np.nan, shares() / 254)
    dataset = xr.Dataset({"landcover": array, "confidence": (array.dims, share)})
    ours, theirs = vectorize(dataset), vectorize(written, confidence=written.with_name("p.tif"))
    assert ours.drop(columns="geometry").equals(theirs.drop(columns="geometry"))
    assert shapely.equals_exact(ours.geometry.to_numpy(), theirs.geometry.to_numpy()).all()
    unnamed = array.drop_vars(["class", "class_code"])
    with pytest.raises(ClassMapError, match="class without names; pass a legend"):
        vectorize(unnamed)
    with pytest.raises(ClassMapError, match="has 3 classes and the legend 2"):
        vectorize(unnamed, legend=Legend.parse("a,b"))
    assert set(vectorize(unnamed, legend=Legend.parse("a,b,c"))["class_name"]) == {"a", "c"}


def test_a_name_for_the_layer_stands_before_the_classes(written: Path, tmp_path: Path) -> None:
    path = vectorize(written, output=tmp_path / "m.gpkg", layer="north")
    assert sorted(pyogrio.list_layers(path)[:, 0]) == [
        "layer_styles",
        "north <roof>",
        "north cloud & fog",
        "north water",
    ]
    with pytest.raises(OptionError, match="layer name 'gpkg_x' cannot be used"):
        vectorize(written, output=tmp_path / "n.gpkg", layer="gpkg_x")


def test_what_does_not_fit_is_one_line(written: Path, tmp_path: Path) -> None:
    grid = grid_of(LAYERS.shape[1:])
    write_cog(tmp_path / "one.tif", [shares()[0]], grid, legend=None, description="", tags={})
    with pytest.raises(ClassMapError, match=r"one\.tif: has 1 band, expected one for each of 3 classes"):
        vectorize(written, confidence=tmp_path / "one.tif")
    with pytest.raises(ClassMapError, match="the confidence has 2 bands, expected one for each of 3 classes"):
        vectorize(written, confidence=shares()[:2])
    odd = LayeredMap(legend=LEGEND, grid=grid, strips=lambda i: [(LAYERS[i] * 2, LAYERS[i] != 255)])
    with pytest.raises(ClassMapError, match="the layer of class 'cloud & fog' holds other numbers than 0"):
        vectorize(odd)


def test_the_file_may_be_styled_by_a_legend_of_ones_own(written: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("code,name,color\n0,haze,#010101\n9,house,#030303\n")
    path = vectorize(written, legend=tmp_path / "l.csv", output=tmp_path / "m.gpkg")
    assert gpd.read_file(path, layer="house")["class_code"].tolist() == [9, 9]


def test_no_class_anywhere_gives_empty_layers(tmp_path: Path) -> None:
    features = polygons_of(np.zeros((3, 4, 5), dtype=np.uint8), LEGEND)
    write_geopackage(tmp_path / "a.gpkg", features, layer=layer_names(LEGEND))
    for name in layer_names(LEGEND).values():
        info = pyogrio.read_info(tmp_path / "a.gpkg", layer=name)
        assert (info["features"], info["geometry_type"]) == (0, "Polygon")


def test_rasterio_reads_every_band_of_the_file(written: Path) -> None:
    with rasterio.open(written) as dataset:
        np.testing.assert_array_equal(dataset.read(), LAYERS)


def test_small_regions_of_a_class_go_and_small_holes_are_filled(written: Path) -> None:
    frame = vectorize(written, min_area="5px")
    assert frame["class_code"].tolist() == [0, 9], "the single pixel of class 9 is gone"
    assert frame["pixels"].tolist() == [int((LAYERS[0] == 1).sum()) + 4, int((LAYERS[2] == 1).sum()) - 1]


def test_lines_of_a_class_are_redrawn_where_it_ends(tmp_path: Path) -> None:
    """Its border is no border of no data; what the lines give to the class they take from where it is not."""
    random = np.random.default_rng(2)
    layers = np.stack([gaussian_filter(random.standard_normal((90, 70)), 4) > 0.02 for _ in range(3)])
    layers = layers.astype(np.uint8)
    layers[:, :20, :30] = 255
    grid = grid_of(layers.shape[1:])
    write_cog(tmp_path / "m.tif", [layers], grid, legend=LEGEND, description=LEGEND.names, tags={})
    plain = vectorize(tmp_path / "m.tif")
    drawn = vectorize(tmp_path / "m.tif", simplify="1px", smooth=True)
    assert drawn["pixels"].tolist() == plain["pixels"].tolist()
    for index, code in enumerate(LEGEND.codes):
        before, after = (f.geometry[f["class_code"] == code].to_numpy() for f in (plain, drawn))
        assert shapely.is_valid(after).all()
        assert shapely.coverage_is_valid(after)
        assert shapely.get_num_coordinates(after).sum() < shapely.get_num_coordinates(before).sum() / 2
        assert shapely.area(after).sum() == pytest.approx((layers[index] == 1).sum() * 100, rel=0.02)
        missing = polygonize(layers[index], layers[index] == 255, grid).to_geodataframe()
        assert shapely.intersection(shapely.union_all(after), missing.union_all()).area == pytest.approx(0)
