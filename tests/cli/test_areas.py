"""The areas that `predict` sums up are those of the polygons that `vectorize` makes of its map, and true ones."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from geoseg_cli.main import group

import geoseg
from tests.toys import SMALL

EARTH, MOON = pyproj.Geod(ellps="WGS84"), pyproj.Geod(a=1_737_400, b=1_737_400)
HEIGHT, WIDTH = 40, 60
MODEL = {**SMALL, "bands": ["red", "nir"], "classes": geoseg.Legend.parse("water,forest,field")}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    geoseg.Model.new(**MODEL).save(path)
    return path


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(group, list(map(str, arguments)))
    assert result.exit_code == 0, result.stderr
    return result.stderr


def ground(crs: str, transform: Affine, geod: pyproj.Geod) -> float:
    """Area of the valid part, the whole but its 8 x 8 px in the corner, by geodesics between points on its edge."""
    (h, w), cut, steps = (HEIGHT, WIDTH), 8, 400
    corners = [(cut, 0), (w, 0), (w, h), (0, h), (0, cut), (cut, cut), (cut, 0)]
    points = [
        transform @ (a[0] + (b[0] - a[0]) * t / steps, a[1] + (b[1] - a[1]) * t / steps)
        for a, b in itertools.pairwise(corners)
        for t in range(steps)
    ]
    there = pyproj.CRS.from_user_input(crs)
    to_degrees = pyproj.Transformer.from_crs(there, there.geodetic_crs, always_xy=True)
    lon, lat = to_degrees.transform(*np.transpose(points))
    return abs(geod.polygon_area_perimeter(lon, lat)[0])


NORTH_60 = 8_399_737.89  # m in EPSG:3857


@pytest.mark.parametrize(
    ("crs", "transform", "geod"),
    [
        ("EPSG:3857", Affine(20, 0, 2e6, 0, -20, NORTH_60), EARTH),
        ("EPSG:4326", Affine(1e-3, 0, 18, 0, -1e-3, 60), EARTH),
        ("EPSG:32633", Affine(30, 10, 5e5, 10, -30, 6.6e6), EARTH),
        ("IAU_2015:30100", Affine(0.01, 0, 18, 0, -0.01, 60), MOON),
        ("IAU_2015:30110", Affine(100, 0, 5e5, 0, -100, 1.8e6), MOON),
        ("IAU_2015:30130", Affine(100, 0, -3e3, 0, -100, 2e3), MOON),
    ],
)
def test_predict_sums_up_the_areas_of_the_polygons_of_its_map(
    model: Path, tmp_path: Path, crs: str, transform: Affine, geod: pyproj.Geod
) -> None:
    profile = {"driver": "GTiff", "count": 2, "height": HEIGHT, "width": WIDTH, "dtype": "uint8", "nodata": 0}
    scene = tmp_path / "scene.tif"
    coarse = np.random.default_rng(5).integers(1, 256, (2, HEIGHT // 4, WIDTH // 4)).astype(np.uint8)
    coarse[:, :2, :2] = 0
    with rasterio.open(scene, "w", crs=crs, transform=transform, **profile) as file:
        file.write(coarse.repeat(4, axis=1).repeat(4, axis=2))
        file.descriptions = ("red", "nir")
    with rasterio.open(scene) as file:
        assert pyproj.CRS(file.crs).ellipsoid.semi_major_metre == geod.a, (
            "the file says on which body it lies"
        )
    run("info", scene)
    run("predict", scene, "-m", model, "-o", tmp_path / "map.tif", "--device", "cpu")
    said = run("vectorize", tmp_path / "map.tif", "-o", tmp_path / "map.gpkg")
    assert "m²" in said or "ha" in said or "km²" in said

    table = json.loads((tmp_path / "map.tif.run.json").read_text())["classes"]
    frame = pyogrio.read_dataframe(tmp_path / "map.gpkg", layer="landcover")
    sums = frame.groupby("class_code")[["area_m2", "pixels"]].sum()
    assert len(table) >= 2
    assert {row["code"] for row in table} == set(sums.index)
    for row in table:
        assert row["area_m2"] == pytest.approx(sums.area_m2[row["code"]], rel=1e-9)
        assert row["pixels"] == sums.pixels[row["code"]]
    assert sums.area_m2.sum() == pytest.approx(ground(crs, transform, geod), rel=1e-5)
