"""Whatever makes an array, its pixels lie where they do and its no data stays none, in every verb."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine

import geoseg
from geoseg.errors import ClassMapError, SceneError
from geoseg.raster.xarray_bridge import grid_of_array
from tests.oracle import pointwise_model

HEIGHT, WIDTH, NODATA = 20, 30, 7
METRES, DEGREES = Affine(10, 0, 4e5, 0, -10, 5e6), Affine(1e-3, 0, 12.0, 0, -1e-3, 47.5)
FP32 = {"precision": "fp32", "batch_size": 2}
NAMES = ("blue", "green", "red")
MAY = np.array(["2024-05-01"], "datetime64[ns]")
Pixels = npt.NDArray[np.uint8]
Maker = Callable[[Path], Any]


def scene() -> Pixels:
    """Three bands, with no data in a corner that the middle of no side has."""
    pixels = np.random.default_rng(0).integers(10, 250, (3, HEIGHT, WIDTH)).astype(np.uint8)
    pixels[:, :4, :11] = NODATA
    return pixels


def codes() -> Pixels:
    """A class map in one band."""
    classes = (np.arange(HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH) // 7 % 3 + 1).astype(np.uint8)
    classes[:, :4, :11] = NODATA
    return classes


def centres(transform: Affine, names: tuple[str, str] = ("y", "x")) -> dict[str, Any]:
    return {
        names[0]: transform.f + transform.e * (np.arange(HEIGHT) + 0.5),
        names[1]: transform.c + transform.a * (np.arange(WIDTH) + 0.5),
    }


def corners(transform: Affine) -> dict[str, Any]:
    return {
        "y": transform.f + transform.e * np.arange(HEIGHT),
        "x": transform.c + transform.a * np.arange(WIDTH),
    }


def write(path: Path, pixels: Pixels) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", count=len(pixels), height=HEIGHT, width=WIDTH, dtype="uint8", nodata=NODATA,
        crs="EPSG:32633", transform=METRES,
    ) as file:  # fmt: skip
        file.write(pixels)
        file.descriptions = names_of(pixels)
    return path


def names_of(pixels: Pixels) -> tuple[str, ...]:
    return NAMES if len(pixels) == 3 else ("classes",)


def opened(pixels: Pixels, path: Path, **options: Any) -> Any:
    return rioxarray.open_rasterio(write(path / "file.tif", pixels), **options)


def stackstac(pixels: Pixels) -> xr.DataArray:
    """As its `stack(..., dtype="uint8", fill_value=7, rescale=False)`: places of corners, as it names them."""
    return xr.DataArray(
        pixels[None],
        dims=("time", "band", "y", "x"),
        coords={
            "time": MAY,
            "id": ("time", ["S2B_33TVN"]),
            "band": list(names_of(pixels)),
            **corners(METRES),
            "title": ("band", [f"{name} band" for name in names_of(pixels)]),
            "epsg": 32633,
        },
        attrs={"crs": "epsg:32633", "transform": METRES, "resolution": 10.0},
    ).rio.write_nodata(NODATA)


def odc(pixels: Pixels, transform: Affine = METRES, epsg: int = 32633) -> xr.Dataset:
    """As odc-stac loads: a variable a band, coordinates with units and resolution, the CRS in ``spatial_ref``."""
    rows, cols = ("latitude", "longitude") if epsg == 4326 else ("y", "x")
    wkt = pyproj.CRS.from_epsg(epsg).to_wkt()
    told = {"units": "metre", "crs": f"EPSG:{epsg}"}
    places = centres(transform, (rows, cols))
    coords = {
        rows: (rows, places[rows], {"resolution": transform.e, **told}),
        cols: (cols, places[cols], {"resolution": transform.a, **told}),
        "spatial_ref": ((), np.int32(epsg), {"spatial_ref": wkt, "crs_wkt": wkt}),
        "time": MAY,
    }
    bands = {
        name: (("time", rows, cols), plane[None], {"nodata": NODATA})
        for name, plane in zip(names_of(pixels), pixels, strict=True)
    }
    dataset = xr.Dataset(bands, coords)
    for name in bands:
        dataset[name].encoding["grid_mapping"] = "spatial_ref"
    return dataset


def plain(pixels: Pixels) -> xr.DataArray:
    """As anybody writes it down."""
    return xr.DataArray(
        pixels,
        dims=("band", "lat", "lon"),
        coords={"band": list(names_of(pixels)), **centres(DEGREES, ("lat", "lon"))},
        attrs={"_FillValue": NODATA},
    )


PRODUCERS: dict[str, Callable[[Pixels, Path], Any]] = {
    "rioxarray": opened,
    "rioxarray, masked": lambda pixels, path: opened(pixels, path, masked=True),
    "rioxarray, chunked": lambda pixels, path: opened(pixels, path, chunks={"x": 16, "y": 8}),
    "band_as_variable": lambda pixels, path: opened(pixels, path, band_as_variable=True),
    "band_as_variable, masked": lambda pixels, path: opened(pixels, path, band_as_variable=True, masked=True),
    "engine rasterio": lambda pixels, path: xr.open_dataset(write(path / "file.tif", pixels), engine="rasterio"),
    "stackstac": lambda pixels, _: stackstac(pixels),
    "stackstac, one time": lambda pixels, _: stackstac(pixels).isel(time=0),
    "odc": lambda pixels, _: odc(pixels).isel(time=0),
    "odc, degrees": lambda pixels, _: odc(pixels, DEGREES, 4326),
    "lat and lon": lambda pixels, _: plain(pixels),
    "lat and lon, Dataset": lambda pixels, _: xr.Dataset(
        {name: plain(pixels).isel(band=i, drop=True) for i, name in enumerate(names_of(pixels))}
    ),
    "Dataset with time": lambda pixels, _: odc(pixels),
}  # fmt: skip


def place(form: str) -> tuple[Affine, int]:
    return (DEGREES, 4326) if "lat" in form or "degrees" in form else (METRES, 32633)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Codes of the file."""
    path = write(tmp_path_factory.mktemp("file") / "scene.tif", scene())
    return geoseg.predict(path, pointwise_model(3, value_range=(0, 255)), **FP32)["landcover"].to_numpy()


@pytest.mark.parametrize("lazy", [False, True], ids=["loaded", "lazy"])
@pytest.mark.parametrize("form", PRODUCERS)
def test_predict(form: str, lazy: bool, tmp_path: Path, expected: Pixels) -> None:
    array = PRODUCERS[form](scene(), tmp_path)
    array = array.chunk() if lazy else array.load()
    model = pointwise_model(3, value_range=(0, 255))
    result = geoseg.predict(array, model, **FP32)
    assert isinstance(result, xr.Dataset)
    transform, epsg = place(form)
    np.testing.assert_array_equal(np.squeeze(result["landcover"]), expected)
    np.testing.assert_array_equal(expected == 255, scene()[0] == NODATA)
    grid = grid_of_array(result)
    assert grid.transform.almost_equals(transform, 1e-9 * transform.a)
    assert pyproj.CRS(grid.crs).to_epsg() == epsg
    # What geoseg returns, other libraries place as it does.
    one = result["landcover"].isel(time=0) if "time" in result["landcover"].dims else result["landcover"]
    assert one.rio.crs.to_epsg() == epsg
    assert one.rio.transform(recalc=True).almost_equals(transform, 1e-9 * transform.a)


@pytest.mark.parametrize("lazy", [False, True], ids=["loaded", "lazy"])
@pytest.mark.parametrize("form", PRODUCERS)
def test_vectorize_and_back(form: str, lazy: bool, tmp_path: Path) -> None:
    array = PRODUCERS[form](codes(), tmp_path)
    frame = geoseg.vectorize(array.chunk() if lazy else array.load())
    transform, epsg = place(form)
    assert frame.crs.to_epsg() == epsg
    assert int(frame["pixels"].sum()) == int((codes() != NODATA).sum())
    left, top = transform @ (0, 0)
    right, bottom = transform @ (WIDTH, HEIGHT)
    np.testing.assert_allclose(
        frame.total_bounds, (left, bottom, right, top), rtol=0, atol=1e-9 * transform.a
    )
    again = geoseg.rasterize(frame, like=array)
    np.testing.assert_array_equal(again, np.where(codes()[0] == NODATA, 255, codes()[0]))


def test_results_of_geoseg_go_into_every_verb(tmp_path: Path) -> None:
    path = write(tmp_path / "scene.tif", scene())
    result = geoseg.predict(path, pointwise_model(3, value_range=(0, 255)), **FP32)
    assert isinstance(result, xr.Dataset)
    for form in (result, result.chunk(x=8), result.expand_dims("time")):
        frame = geoseg.vectorize(form)
        assert (frame.crs.to_epsg(), int(frame["pixels"].sum())) == (32633, HEIGHT * WIDTH - 44)
        assert frame.total_bounds.tolist() == [4e5, 5e6 - 200, 4e5 + 300, 5e6]
        np.testing.assert_array_equal(geoseg.rasterize(frame, like=form), result["landcover"])
    options = {"precision": "fp32", "batch_size": 2, "bands": (1,)}
    again = geoseg.predict(result["landcover"], pointwise_model(1, value_range=(0, 255)), **options)
    assert isinstance(again, xr.Dataset)
    assert again.rio.transform() == METRES
    np.testing.assert_array_equal(again["landcover"] == 255, result["landcover"] == 255)
    frame = geoseg.vectorize(result["landcover"], confidence=result)
    assert frame.equals(geoseg.vectorize(result))


def rotated() -> xr.DataArray:
    """As odc-geo has a grid that is not along the axes: pixels counted, and the affine beside the CRS."""
    counted = {"units": "pixel"}
    return xr.DataArray(
        codes()[0],
        dims=("y", "x"),
        coords={
            "y": ("y", np.arange(0.5, HEIGHT, dtype=np.float32), counted),
            "x": ("x", np.arange(0.5, WIDTH, dtype=np.float32), counted),
            "spatial_ref": ((), 0, {"GeoTransform": "400000 8 6 5000000 6 -8"}),
        },
    )


FORMS_OF_A_GRID: dict[str, tuple[Callable[[], Any], Affine]] = {
    "stackstac, without attributes": (
        lambda: stackstac(codes()).drop_attrs(deep=False),
        METRES,
    ),
    "stackstac, of centres, without attributes": (
        lambda: stackstac(codes()).drop_attrs(deep=False).assign_coords(centres(METRES)),
        METRES,
    ),
    "stackstac, sliced": (
        lambda: stackstac(codes())[..., 3:9, 5:],
        METRES @ Affine.translation(5, 3),
    ),
    "stackstac, whose affine rioxarray wrote anew": (
        lambda: stackstac(codes()).isel(time=0).rio.write_transform(),
        METRES,
    ),
    "odc, rotated": (
        lambda: rotated()[2:, 3:],
        Affine(8, 6, 4e5, 6, -8, 5e6) @ Affine.translation(3, 2),
    ),
    "odc, rotated and turned over": (
        lambda: rotated()[::-1],
        Affine(8, 6, 4e5, 6, -8, 5e6) @ Affine.translation(0, HEIGHT) @ Affine.scale(1, -1),
    ),
    "an affine that is none": (
        lambda: plain(codes()).assign_attrs(transform="north").assign_coords(
            spatial_ref=((), 0, {"GeoTransform": "1 2 3"})
        ),
        DEGREES,
    ),
    "odc, one row": (lambda: odc(codes()).isel(y=[4]), METRES @ Affine.translation(0, 4)),
    "coordinates of float32": (
        lambda: xr.DataArray(
            codes()[0], dims=("y", "x"), coords={k: v.astype(np.float32) for k, v in centres(METRES).items()}
        ),
        METRES,
    ),
    "south-up": (
        lambda: stackstac(codes()).isel(y=slice(None, None, -1)),
        METRES @ Affine.translation(0, HEIGHT) @ Affine.scale(1, -1),
    ),
    "no coordinates": (lambda: xr.DataArray(codes()[0], dims=("y", "x")), Affine.identity()),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS_OF_A_GRID)
def test_where_pixels_lie(form: str) -> None:
    make, transform = FORMS_OF_A_GRID[form]
    found = grid_of_array(make()).transform
    assert found.almost_equals(transform, 1e-6), found


def test_a_crs_stands_in_many_places() -> None:
    bare = xr.DataArray(codes()[0], dims=("y", "x"), coords=centres(METRES))
    wkt = pyproj.CRS.from_epsg(32633).to_wkt()
    forms = [
        bare.rio.write_crs(32633),
        bare.assign_attrs(crs="EPSG:32633"),
        bare.assign_coords(crs=((), 0, {"crs_wkt": wkt})),
        bare.assign_coords(epsg=32633),
        bare.assign_coords(x=bare.x.assign_attrs(crs="EPSG:32633")),
        bare.to_dataset(name="map").assign_attrs(crs="EPSG:32633"),
    ]
    assert [pyproj.CRS(grid_of_array(form).crs).to_epsg() for form in forms] == [32633] * len(forms)
    assert grid_of_array(bare).crs is None
    # Degrees are no metres, whatever a dim is called.
    assert grid_of_array(bare.rename(y="lat", x="lon")).crs is None


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "uneven": (
        lambda: plain(codes()).assign_coords(lat=np.cumsum(np.arange(HEIGHT) + 1) / 100),
        "coordinates along lat are not evenly spaced",
    ),
    "all the same": (lambda: plain(codes()).assign_coords(lat=np.zeros(HEIGHT)), "lat are not evenly spaced"),
    "one row": (
        lambda: plain(codes()).isel(lat=[4]),
        r"one pixel long along lat, .* size of a pixel; write the affine into it with .rio.write_transform\(\)",
    ),
    "along one axis": (
        lambda: plain(codes()).drop_vars("lat"),
        "coordinates along lon and none along lat",
    ),
    "text": (
        lambda: plain(codes()).assign_coords(lon=[str(i) for i in range(WIDTH)]),
        "coordinates along lon are <U2, expected numbers",
    ),
    "no CRS": (lambda: plain(codes()).assign_attrs(crs="mars"), "the array's CRS cannot be read .*rio.write_crs"),
    "other dims": (
        lambda: plain(codes()).rename(lat="row", lon="col"),
        r"dims \(band, row, col\), expected \(band, y, x\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", REFUSED)
def test_what_no_grid_has_is_one_line(form: str) -> None:
    make, message = REFUSED[form]
    verbs: list[Callable[[], Any]] = [
        lambda: geoseg.predict(make(), pointwise_model(1, value_range=(0, 255)), **FP32),
        lambda: geoseg.predict(make().chunk(), pointwise_model(1, value_range=(0, 255)), **FP32),
        lambda: geoseg.vectorize(make()),
        lambda: grid_of_array(make()),
    ]
    for verb in verbs:
        with pytest.raises((SceneError, ClassMapError), match=message) as caught:
            verb()
        assert "\n" not in str(caught.value)


def test_what_is_no_single_map_is_refused() -> None:
    two = odc(codes()).isel(time=[0, 0])
    with pytest.raises(ClassMapError, match=r"expected \(y, x\) .* choose one, such as .isel\(time=0\)"):
        geoseg.vectorize(two)
    assert len(geoseg.vectorize(two.isel(time=0))) > 1
    bands = odc(scene()).isel(time=0)
    with pytest.raises(ClassMapError, match=r"holds blue, green, red, expected .* such as dataset\['blue'\]"):
        geoseg.vectorize(bands)
    assert len(geoseg.vectorize(bands["blue"])) > 1


def test_confidence_is_read_as_arrays_are(tmp_path: Path) -> None:
    """Whatever made it: its numbers, its no data, its order of dims and its place."""
    stored = np.random.default_rng(1).integers(0, 255, (1, HEIGHT, WIDTH)).astype(np.uint8)
    stored[:, :6, :6] = NODATA  # declared as no data in these files
    path = write(tmp_path / "confidence.tif", stored)
    source = PRODUCERS["rioxarray"](codes(), tmp_path)
    expected = geoseg.vectorize(source, confidence=path)
    assert expected["confidence"].notna().any()
    array = rioxarray.open_rasterio(path)
    forms = {
        "array": array,
        "transposed": array.transpose("x", "y", "band"),
        "masked": rioxarray.open_rasterio(path, masked=True),
        "lazy": rioxarray.open_rasterio(path, masked=True, chunks={"x": 8}),
        "band_as_variable": rioxarray.open_rasterio(path, band_as_variable=True),
        "stackstac": stackstac(stored),
    }
    for form, confidence in forms.items():
        assert geoseg.vectorize(source, confidence=confidence).equals(expected), form
    aside = array.assign_coords(x=array.x + 10)
    with pytest.raises(
        ClassMapError, match="not lie on the grid of the class map: its affine is 10, 0, 400010"
    ):
        geoseg.vectorize(source, confidence=aside)
    with pytest.raises(ClassMapError, match="its CRS is WGS 84 / UTM zone 32N, expected"):
        geoseg.vectorize(source, confidence=array.rio.write_crs(32632))


def test_what_xarray_decoded_is_what_the_file_stores(tmp_path: Path, expected: Pixels) -> None:
    """NetCDF: xarray makes floats with NaN of whole numbers, and leaves what they were in the encoding."""
    dataset = plain(scene().astype(np.int16)).drop_attrs().to_dataset("band")
    dataset.to_netcdf(
        tmp_path / "scene.nc", engine="scipy", encoding={name: {"_FillValue": NODATA} for name in NAMES}
    )
    model = pointwise_model(3, dtype="int16", value_range=(0, 255))
    with xr.open_dataset(tmp_path / "scene.nc", engine="scipy") as decoded:
        assert decoded["red"].dtype.kind == "f"
        for scene_ in (decoded, decoded.chunk(lat=8), decoded.load()):
            result = geoseg.predict(scene_, model, **FP32)
            np.testing.assert_array_equal(result["landcover"], expected)
    encoded = plain(codes()).drop_attrs().rio.write_nodata(NODATA, encoded=True)
    assert int(geoseg.vectorize(encoded)["pixels"].sum()) == HEIGHT * WIDTH - 44
