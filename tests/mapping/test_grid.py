"""Maps on a grid that was asked for: classes are brought onto it once, at the end."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Geod
from rasterio.warp import Resampling, reproject, transform_bounds

import geoseg
from geoseg.mapping.map import map as make_map
from tests.mapping.truths import NODATA, UTM32, UTM33, reading_model, truth, write_scene

MODEL = reading_model()


def test_scenes_of_two_zones_come_onto_one_grid(tmp_path: Path) -> None:
    codes = truth((150, 200), step=20)
    west, south, *_ = transform_bounds(UTM33, UTM32, 290_000, 4_998_500, 292_000, 5_000_000)
    first = write_scene(tmp_path / "first.tif", codes, origin=(290_000, 5_000_000), crs=UTM33)
    second = write_scene(tmp_path / "second.tif", codes, origin=(west + 1500, south + 1500), crs=UTM32)

    make_map(
        [first, second],
        MODEL,
        output=tmp_path / "map.gpkg",
        grid="EPSG:3035,10",
        precision="fp32",
        cell="100px",
    )

    notes = json.loads((tmp_path / "map.gpkg.run.json").read_text())["notes"]
    assert notes == [
        "100.0% of the pixels were brought onto another pixel grid, as classes of the nearest pixels"
    ]
    with rasterio.open(tmp_path / "map.vrt") as mosaic:
        found, shape, transform = mosaic.read(1), mosaic.shape, mosaic.transform
        assert mosaic.crs.to_epsg() == 3035
        assert (transform.a, transform.e) == (10, -10)
        assert (transform.c % 10, transform.f % 10) == (0, 0)
    expected = np.full(shape, NODATA, np.uint8)
    for path in (first, second):
        with rasterio.open(path) as file:
            warped = np.full(shape, NODATA, np.uint8)
            reproject(
                file.read(1),
                warped,
                src_transform=file.transform,
                src_crs=file.crs,
                dst_transform=transform,
                dst_crs="EPSG:3035",
                resampling=Resampling.nearest,
                src_nodata=NODATA,
                dst_nodata=NODATA,
                tolerance=0,
            )
        expected = np.where((expected == NODATA) & (warped != NODATA), warped + 1, expected)
    assert (found != expected).mean() < 1e-3  # pixels whose centre lies on an edge
    assert (found != NODATA).sum() == pytest.approx(300 * 200 * 0.9, rel=0.1)


def test_like_takes_grid_and_extent_of_a_raster(tmp_path: Path) -> None:
    codes = truth((100, 100))
    scene = write_scene(tmp_path / "scene.tif", codes)
    like = write_scene(tmp_path / "like.tif", np.zeros((30, 40), np.uint8), (20, 30))

    make_map([scene], MODEL, output=tmp_path / "map.gpkg", like=like, precision="fp32")

    with rasterio.open(tmp_path / "map.vrt") as mosaic, rasterio.open(like) as asked:
        assert mosaic.transform == asked.transform
        np.testing.assert_array_equal(mosaic.read(1), codes[20:50, 30:70] + 1)


def test_interpolated_probabilities_are_smoother_than_the_nearest_pixel(tmp_path: Path) -> None:
    codes = np.zeros((20, 20), np.uint8)
    codes[:, 10:] = 2
    scene = write_scene(tmp_path / "scene.tif", codes)
    like = tmp_path / "like.tif"
    with rasterio.open(scene) as file:
        place = file.transform @ Affine.translation(0.25, 0.25) @ Affine.scale(0.5)
    with rasterio.open(
        like, "w", driver="GTiff", count=1, dtype="uint8", height=38, width=38, crs=UTM33, transform=place
    ) as file:
        file.write(np.zeros((38, 38), np.uint8), 1)

    shares = {}
    for resample in ("nearest", "bilinear"):
        make_map(
            [scene],
            MODEL,
            output=tmp_path / f"{resample}.gpkg",
            like=like,
            resample=resample,
            precision="fp32",
        )
        with rasterio.open(tmp_path / f"{resample}.vrt") as mosaic:
            found = mosaic.read(1)
        assert set(np.unique(found)) == {1, 3}
        shares[resample] = (found == 1).mean()
    assert shares["bilinear"] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"grid": "EPSG:3035"}, "grid of the map is 'EPSG:3035', expected a CRS and the edge of a pixel"),
        ({"grid": "EPSG:3035,0"}, "expected a CRS and the edge"),
        ({"grid": "EPSG:0,10"}, "expected a CRS and the edge"),
        ({"grid": "EPSG:4326,10"}, "is in degrees"),
        ({"grid": "EPSG:3035,10", "like": "x.tif"}, "give one of them"),
        ({"like": "x.tif"}, "x.tif: cannot be opened"),
        ({"prefer": "best"}, "prefer is 'best', expected one of order"),
        ({"cell": "10"}, "edge of a cell is '10', expected a length with its unit"),
        ({"cell": "3px"}, "from 16 to"),
        ({"resample": "cubic"}, "resample is 'cubic', expected one of nearest"),
        ({"workers": 0}, "workers is 0, expected 1 to 256"),
        ({"workers": 2, "scheduler": "tcp://x:1"}, "give one of them"),
        ({"output": "map.shp"}, "Shapefile"),
    ],
)
def test_what_cannot_be_wished(tmp_path: Path, keywords: dict[str, str], said: str) -> None:
    scene = write_scene(tmp_path / "scene.tif", truth((20, 20)))
    output = tmp_path / keywords.pop("output", "map.gpkg")

    with pytest.raises(geoseg.OptionError, match=said):
        make_map([scene], MODEL, output=output, **keywords)

    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


@pytest.mark.parametrize("resample", ["nearest", "bilinear"])
def test_a_scene_in_degrees_across_the_antimeridian_is_seen_on_both_sides(
    tmp_path: Path, resample: str
) -> None:
    codes = np.ones((80, 160), np.uint8)
    codes[:, 80:] = 2
    path = write_scene(
        tmp_path / "fiji.tif", codes, origin=(179.92, -17.0), pixel=0.001, crs="EPSG:4326"
    )  # fmt: skip
    made = make_map(
        [path], reading_model(), output=tmp_path / "m.gpkg", grid="EPSG:3832,100", resample=resample, precision="fp32"
    )  # fmt: skip
    areas = gpd.read_file(made, layer="landcover").groupby("class_code").area_m2.sum()
    half = abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.box(179.92, -17.08, 180, -17))[0])
    assert areas.tolist() == pytest.approx([half, half], rel=0.03)
