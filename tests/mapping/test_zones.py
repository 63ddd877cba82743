"""A known truth in two UTM zones: ground once, areas right, one coverage across the border."""

from __future__ import annotations

import csv
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from geoseg.mapping.map import map as make_map
from tests.mapping.truths import NODATA, UTM32, UTM33, reading_model, write_scene

CENTRE = 12.0, 50.0
GEOD = Geod(ellps="WGS84")


def true_class(lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Classes of a smooth field over longitude and latitude."""
    x, y = (lon - CENTRE[0]) * 71_700, (lat - CENTRE[1]) * 111_000  # about metres
    field = np.sin(x / 310) + np.sin(y / 270) + np.sin((x + y) / 530)
    return np.digitize(field, [-0.6, 0.7]).astype(np.uint8)


def scene(
    path: Path,
    crs: CRS,
    corner: tuple[float, float],
    shape: tuple[int, int],
    clouds: npt.NDArray[np.bool_] | None = None,
) -> Path:
    """Write what the truth is on some pixels of a zone; the corner is given in whole pixels of 10 m."""
    east, north = (10 * round(value / 10) for value in corner)
    cols, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    lon, lat = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(
        east + 10 * cols, north - 10 * rows
    )
    codes = true_class(lon, lat)
    if clouds is not None:
        codes[clouds] = NODATA
    return write_scene(path, codes, origin=(east, north), crs=crs)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve overlapping scenes of two zones with clouds; six clear ones lie below them."""
    folder = tmp_path_factory.mktemp("zones")
    generator = np.random.default_rng(0)
    found = []
    clear = []
    for crs, west, east in ((UTM32, 11.972, 12.004), (UTM33, 11.996, 12.028)):
        forward = Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
        for number, (lon, lat) in enumerate(
            (x, y) for x in (west, (west + east) / 2) for y in (50.02, 50.008, 49.996)
        ):
            corner = forward.transform(lon, lat)
            shape = (170, 150)
            clouds = (generator.random((17, 15)) < 0.3).repeat(10, 0).repeat(10, 1)
            name = f"{crs.to_epsg()}_{number}_2024{number + 1:02d}01.tif"
            found.append(scene(folder / f"cloudy_{name}", crs, corner, shape, clouds))
            clear.append(scene(folder / f"clear_{name}", crs, corner, shape))
    return found + clear


def truth_areas(ground: shapely.Geometry) -> dict[int, float]:
    """Ground area of each class in m², by counting small squares of longitude and latitude."""
    west, south, east, north = shapely.bounds(ground)
    step = 2e-5
    lon, lat = np.meshgrid(np.arange(west, east, step) + step / 2, np.arange(south, north, step) + step / 2)
    shapely.prepare(ground)
    inside = shapely.contains_xy(ground, lon, lat)
    weight = np.cos(np.radians(lat))
    counts = np.bincount(true_class(lon, lat)[inside], weight[inside])
    whole = abs(GEOD.geometry_area_perimeter(ground)[0])
    return dict(enumerate((counts / counts.sum() * whole).tolist(), start=1))


@pytest.mark.long
@pytest.mark.parametrize("cell", ["100px", "1km"])
def test_areas_are_those_of_the_truth_and_all_ground_counts_once(
    tmp_path: Path, scenes: list[Path], cell: str
) -> None:
    made = make_map(scenes, reading_model(), output=tmp_path / "map.gpkg", cell=cell, precision="fp32")

    frame = gpd.read_file(made, layer="landcover")
    assert frame.crs.to_authority() == ("OGC", "CRS84") or frame.crs.to_epsg() == 4326
    assert shapely.coverage_is_valid(frame.geometry.to_numpy())
    assert frame.geometry.is_valid.all()
    ground = shapely.union_all([_outline(path) for path in scenes])
    together = shapely.union_all(frame.geometry.to_numpy())
    assert shapely.area(shapely.symmetric_difference(together, ground)) / shapely.area(ground) < 5e-3
    expected = truth_areas(together)
    found = frame.groupby("class_code").area_m2.sum().to_dict()
    assert found == pytest.approx(expected, rel=5e-3)
    assert sum(found.values()) == pytest.approx(abs(GEOD.geometry_area_perimeter(together)[0]), rel=1e-6)
    rows = list(csv.DictReader((tmp_path / "map.areas.csv").read_text().splitlines()))
    table = {int(row["class_code"]): float(row["area_m2"]) for row in rows if row["zone"] == "all"}
    assert table == pytest.approx(found, rel=2e-3)
    assert {row["zone"] for row in rows} == {"EPSG_32632", "EPSG_32633", "all"}
    # The border is no border of polygons: some hold pixels of both zones, in one piece.
    held = []
    for epsg in (32632, 32633):
        with rasterio.open(tmp_path / f"map.EPSG_{epsg}.vrt") as mosaic:
            rows_of, cols_of = np.nonzero(mosaic.read(1) != NODATA)
            x, y = mosaic.transform @ (cols_of + 0.5, rows_of + 0.5)
        centres = shapely.points(*Transformer.from_crs(epsg, "OGC:CRS84", always_xy=True).transform(x, y))
        held.append(
            set(shapely.STRtree(frame.geometry.to_numpy()).query(centres, predicate="within")[1].tolist())
        )
    assert held[0] & held[1]


def test_every_pixel_of_the_mosaics_belongs_to_one_zone(tmp_path: Path, scenes: list[Path]) -> None:
    make_map(scenes, reading_model(), output=tmp_path / "map.gpkg", cell="1km", precision="fp32")

    centres = []
    for epsg in (32632, 32633):
        with rasterio.open(tmp_path / f"map.EPSG_{epsg}.vrt") as mosaic:
            rows, cols = np.nonzero(mosaic.read(1) != NODATA)
            x, y = mosaic.transform @ (cols + 0.5, rows + 0.5)
            codes = mosaic.read(1)[rows, cols]
        lon, lat = Transformer.from_crs(epsg, "OGC:CRS84", always_xy=True).transform(x, y)
        # Nearest pixels of the other zone stand for few of them.
        assert (codes != true_class(lon, lat) + 1).mean() < 0.01
        centres.append(shapely.box(np.min(lon), np.min(lat), np.max(lon), np.max(lat)))
    assert shapely.intersects(*centres)


@pytest.mark.parametrize("cell", [None, "700m"])
@pytest.mark.parametrize("other", [UTM32, UTM33])
def test_ground_that_only_the_smaller_zone_covers_is_not_lost(
    tmp_path: Path, other: CRS, cell: str | None
) -> None:
    """A cell of ground belongs to one zone, whose own scenes may end in its midst."""
    forward = Transformer.from_crs("OGC:CRS84", UTM32, always_xy=True)
    first = scene(tmp_path / "first.tif", UTM32, forward.transform(11.99, 50.0), (150, 170))
    over = Transformer.from_crs("OGC:CRS84", other, always_xy=True)
    x, y = over.transform(12.008, 49.995)
    second = scene(tmp_path / "second.tif", other, (x, y), (140, 130))
    if other is UTM32:  # the pixels of another lattice
        with rasterio.open(second, "r+") as file:
            file.transform = file.transform @ Affine.translation(0.3, 0.4)
    options = {} if cell is None else {"cell": cell}
    made = make_map([first, second], reading_model(), output=tmp_path / "m.gpkg", precision="fp32", **options)
    frame = gpd.read_file(made, layer="landcover").to_crs("OGC:CRS84")
    ground = shapely.union_all([_outline(first), _outline(second)])
    lost = shapely.area(ground.difference(shapely.union_all(frame.geometry.to_numpy())))
    assert lost < 0.01 * shapely.area(ground)
    assert frame.area_m2.sum() == pytest.approx(abs(GEOD.geometry_area_perimeter(ground)[0]), rel=0.01)
    assert set(frame.scene) == {"first.tif", "second.tif"}


def _outline(path: Path) -> shapely.Geometry:
    with rasterio.open(path) as file:
        box = shapely.segmentize(shapely.box(*file.bounds), 100)
        forward = Transformer.from_crs(file.crs, "OGC:CRS84", always_xy=True)
    return shapely.transform(box, lambda points: np.column_stack(forward.transform(*points.T)))
