"""Every format holds the polygons that a GeoPackage holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize

from geoseg.errors import ClassMapError, GeosegError, OptionError, OutputError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.polygons import features
from geoseg.polygons.polygonize import polygonize
from geoseg.polygons.proof import proof_lines
from geoseg.raster.classmap import ClassMap
from geoseg.vector.options import VectorizeOptions
from geoseg.vector.vectorize import Target, vectorize, vectorize_file
from geoseg.vectorfiles.formats import _areas_on_a_sphere, write_polygons
from tests.strategies import Map, drawn
from tests.vector.test_vectorize import LEGEND, UTM, write_raster

SUFFIXES = (".gpkg", ".parquet", ".geoparquet", ".fgb", ".geojson")


def noise(seed: int = 2) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 5, (30, 40)).astype(np.uint8)


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return write_raster(tmp_path / "in" / "m.tif", noise(), nodata=0)


def read(path: Path) -> gpd.GeoDataFrame:
    return gpd.read_parquet(path) if "parquet" in path.suffix else gpd.read_file(path, layer=0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_polygons_are_the_map(raster: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    share = np.full((30, 40), 200, np.uint8)
    options = {"rows": 7, "workers": 2, "scene_name": "north"}
    vectorize(raster, legend=LEGEND, confidence=share, **options, output=path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, "in"]
    expected = vectorize(raster, legend=LEGEND, confidence=share, **options)
    found = read(path).to_crs(expected.crs)
    assert len(found) == len(expected)
    assert set(expected.columns) <= {*found.columns}
    assert sorted(found["area_m2"]) == pytest.approx(sorted(expected["area_m2"]))
    assert set(found["class_name"]) == set(expected["class_name"])
    burnt = rasterize(
        zip(found.geometry, found["class_code"], strict=True), out_shape=(30, 40), transform=UTM
    )
    np.testing.assert_array_equal(burnt, noise())
    assert shapely.is_ccw(found.geometry.exterior.to_numpy()).all()
    if suffix != ".geojson":  # whose coordinates are rounded
        assert shapely.coverage_is_valid(found.geometry.to_numpy())


def test_equal_maps_give_equal_bytes(raster: Path, tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        one = vectorize(raster, output=tmp_path / f"one{suffix}", rows=3)
        two = vectorize(raster, output=tmp_path / f"two{suffix}", workers=2)
        assert one.read_bytes() == two.read_bytes(), suffix


def test_geoparquet_says_what_the_specification_asks(
    raster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_BATCH", 50)
    path = vectorize(raster, output=tmp_path / "a.parquet")
    file = pq.ParquetFile(path)
    about = json.loads(file.metadata.metadata[b"geo"])
    assert (about["version"], about["primary_column"]) == ("1.1.0", "geometry")
    column = about["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32632}
    assert column["orientation"] == "counterclockwise"
    expected = vectorize(raster)
    assert column["bbox"] == expected.total_bounds.tolist()
    boxes = file.read(["bbox"])["bbox"].combine_chunks().flatten()
    np.testing.assert_array_equal(
        np.column_stack([box.to_numpy() for box in boxes]), expected.bounds.to_numpy()
    )
    assert file.num_row_groups == -(-len(expected) // 50)
    near = gpd.read_parquet(path, bbox=(500000, 5399950, 500050, 5400000))
    assert 0 < len(near) < len(expected)
    assert near.geometry.intersects(shapely.box(500000, 5399950, 500050, 5400000)).all()


def test_geojson_is_in_longitude_and_latitude(raster: Path, tmp_path: Path) -> None:
    path = vectorize(raster, output=tmp_path / "a.geojson")
    west, south, east, north = pyogrio.read_info(path)["total_bounds"]
    assert 8.99 < west < east < 9.01
    assert 48.7 < south < north < 48.8
    assert json.loads(path.read_text())["features"][0]["geometry"]["type"] == "Polygon"
    nowhere = write_raster(tmp_path / "nowhere.tif", noise(), crs=None)
    with pytest.raises(OptionError, match="GeoJSON is in longitude and latitude, and the map has no CRS"):
        vectorize(nowhere, output=tmp_path / "b.geojson")
    assert not (tmp_path / "b.geojson").exists()
    assert (
        json.loads(pq.read_metadata(vectorize(nowhere, output=tmp_path / "b.parquet")).metadata[b"geo"])[
            "columns"
        ]["geometry"]["crs"]
        is None
    )


@pytest.mark.parametrize("size", [0.01, 0.03, 1.0, 10.0])
@pytest.mark.parametrize("drawn", [{}, {"smooth": True, "simplify": "1px"}])
def test_geojson_keeps_the_corners_of_small_pixels_apart(
    tmp_path: Path, size: float, drawn: dict[str, Any]
) -> None:
    """Seven decimals are a centimetre: polygons of drone maps became lines."""
    codes = np.random.default_rng(0).integers(1, 3, (40, 40), dtype=np.uint8)
    raster = write_raster(tmp_path / "m.tif", codes, Affine(size, 0, 5e5, 0, -size, 5.3e6))
    path = vectorize(raster, output=tmp_path / "a.geojson", **drawn)
    found = gpd.read_file(path)
    assert found.is_valid.all()
    assert shapely.coverage_is_valid(found.geometry.to_numpy())
    area = found.to_crs(32632).area
    if not drawn:
        np.testing.assert_allclose(area, found["pixels"] * size**2, rtol=0.01)
    decimals = max(
        len(each.partition(".")[2]) for each in re.findall(r"[\d.]+(?=[,\s]+[\d.]+ ?\])", path.read_text())
    )
    assert (decimals == 7) == (size == 10.0)


def test_geojson_says_what_is_known_of_the_written_polygons(tmp_path: Path, raster: Path) -> None:
    """Not of the map's own CRS: a region over a pole has another shape in longitude and latitude."""
    totals = vectorize_file(raster, Target(path=tmp_path / "a.geojson"))
    (line,) = proof_lines(totals.proofs, totals.distorted)
    assert line.endswith("as written in longitude and latitude, each is valid and has its area")
    polar = write_raster(
        tmp_path / "pole.tif", noise() % 2 + 1, Affine(1e4, 0, -2e5, 0, -1e4, 2e5), crs="EPSG:3413"
    )
    totals = vectorize_file(polar, Target(path=tmp_path / "pole.geojson"))
    distorted, coverage = proof_lines(totals.proofs, totals.distorted)
    assert re.match(r"[1-9]\d* of \d+ polygons invalid or of another area in longitude", distorted)
    assert coverage.startswith("valid coverage in the map's own CRS: 1,200 px")
    totals = vectorize_file(polar, Target(path=tmp_path / "pole.gpkg"))
    (line,) = proof_lines(totals.proofs, totals.distorted)
    assert line.startswith("valid coverage: 1,200 px of area for 1,200 valid px; ")


def test_areas_in_longitude_and_latitude_are_those_of_the_ellipsoid() -> None:
    """Holes, parts, and pixels of a centimetre, beside geodesic areas."""
    square = shapely.box(9, 48, 9.5, 48.5)
    hole = square.difference(shapely.box(9.1, 48.1, 9.2, 48.4))
    shapes = [
        square,
        hole,
        shapely.union(hole, shapely.box(-3, -10, -2, -9)),
        shapely.box(9, 48, 9 + 1e-7, 48 + 1e-7),
    ]
    geod = pyproj.Geod(ellps="WGS84")
    expected = [
        abs(geod.geometry_area_perimeter(shapely.geometry.polygon.orient(shapes[i]))[0]) for i in (0, 1, 3)
    ]
    found = _areas_on_a_sphere(np.array(shapes))
    np.testing.assert_allclose(found[[0, 1, 3]], expected, rtol=0.01)
    assert found[2] == pytest.approx(
        found[1] + _areas_on_a_sphere(np.array([shapely.box(-3, -10, -2, -9)]))[0]
    )


def test_geojson_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    codes = np.ones((2, 4), np.uint8)
    path = write_raster(tmp_path / "m.tif", codes, Affine(0.1, 0, 179.8, 0, -0.1, 10), crs="EPSG:4326")
    found = json.loads(vectorize(path, output=tmp_path / "a.geojson").read_text())
    (feature,) = found["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    lon = shapely.get_coordinates(shapely.geometry.shape(feature["geometry"]))[:, 0]
    assert lon.min() >= -180
    assert lon.max() <= 180


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_data_only_gives_a_file_without_features(tmp_path: Path, suffix: str) -> None:
    path = write_raster(tmp_path / "m.tif", np.zeros((3, 3), np.uint8), nodata=0)
    assert len(read(vectorize(path, output=tmp_path / f"a{suffix}"))) == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_half_way_comes_through(tmp_path: Path, suffix: str) -> None:
    codes = np.ones((1100, 8), np.float32)
    codes[-1, -1] = 0.5
    path = write_raster(tmp_path / "m.tif", codes)
    with pytest.raises(ClassMapError, match="holds 0.5"):
        vectorize(path, output=tmp_path / f"a{suffix}", rows=9)
    assert [p.name for p in tmp_path.iterdir()] == ["m.tif"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path, suffix: str) -> None:
    m: Map = drawn(("12",))
    from geoseg.vectorfiles.arrow_writer import Layer
    from tests.vectorfiles.test_layers import WKT, grid_of

    found: Any = polygonize(m.codes, m.valid, grid_of(m.codes.shape))
    layer = Layer(name="a", crs=WKT, legend=lambda: Legend.made_up((1, 2)))
    with pytest.raises(OutputError, match="could not be written"):
        write_polygons(tmp_path / "missing" / f"a{suffix}", [(layer, [found])])


def test_a_multilabel_map_is_one_layer_elsewhere(tmp_path: Path) -> None:
    import xarray as xr

    from tests.vectorfiles.test_layers import FEATURES, LAYERS
    from tests.vectorfiles.test_layers import LEGEND as CLASSES
    from tests.vectorfiles.test_layers import UTM as TRANSFORM

    array = xr.DataArray(
        LAYERS,
        dims=("class", "y", "x"),
        coords={"class": list(CLASSES.names), "class_code": ("class", list(CLASSES.codes))},
        attrs={"_FillValue": np.uint8(255)},
    ).rio.write_crs("EPSG:32632")
    path = vectorize(array.rio.write_transform(TRANSFORM), output=tmp_path / "a.parquet")
    assert gpd.read_parquet(path)["class_code"].tolist() == FEATURES.class_code.tolist()


def test_a_shapefile_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"a Shapefile cuts .* at ten letters .* ogr2ogr .* ends in \.gpkg"):
        vectorize(np.ones((2, 2), np.uint8), output=tmp_path / "a.shp")


@pytest.mark.parametrize(
    "crs",
    [
        'LOCAL_CS["site",UNIT["metre",1]]',
        'GEOGCS["Moon 2000",DATUM["D_Moon_2000",SPHEROID["Moon_2000_IAU_IAG",1737400,0]],PRIMEM["Greenwich",0],'
        'UNIT["degree",0.0174532925199433]]',
    ],
)
def test_a_crs_without_a_way_to_longitudes_is_no_geojson(tmp_path: Path, crs: str) -> None:
    """Not the disk's fault; a GeoPackage holds it."""
    grid = Grid(height=2, width=2, transform=Affine(1, 0, 0, 0, -1, 2), crs=crs)
    ones = np.ones((2, 2), np.uint8)
    m = ClassMap(codes=ones, valid=ones == 1, grid=grid, legend=None)
    with pytest.raises(
        OptionError, match=r"the map's CRS, (site|Moon 2000), cannot be transformed to these; write another"
    ):
        vectorize(m, output=tmp_path / "a.geojson")
    assert list(tmp_path.iterdir()) == []
    assert vectorize(m, output=tmp_path / "a.gpkg").exists()


def test_a_band_of_several_holds_the_codes(tmp_path: Path) -> None:
    codes = np.random.default_rng(2).integers(1, 4, (20, 30)).astype(np.uint8)
    path = tmp_path / "m.tif"
    profile: dict[str, Any] = {"count": 4, "dtype": "uint8", "photometric": "RGB", "alpha": "YES"}
    profile |= {"height": 20, "width": 30, "crs": "EPSG:32652", "transform": Affine(10, 0, 0, 0, -10, 0)}
    with rasterio.open(path, "w", driver="GTiff", **profile) as f:
        f.write(np.stack([codes * 0, codes, codes * 60, codes * 0 + 255]))
    found = vectorize(path, band=2)
    pd.testing.assert_series_equal(found["class_code"], vectorize(codes)["class_code"])
    with pytest.raises(GeosegError, match="has 3 bands, expected one .*; band= says which one"):
        vectorize(path)
    with pytest.raises(GeosegError, match="has no band 7, expected 1 to 4"):
        vectorize(path, band=7)
    with pytest.raises(OptionError, match="band is 0, expected 1 to 65535"):
        VectorizeOptions(band=0)
    with pytest.raises(OptionError, match="a band can be chosen in files only"):
        vectorize(codes, band=2)
