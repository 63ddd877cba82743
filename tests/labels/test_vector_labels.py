from __future__ import annotations

import json
import logging
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.labels.label import UNKNOWN, FoundClass, Meanings
from geoseg.labels.pixel_shapes import cut_up
from geoseg.labels.vector_labels import VectorLabels, found_classes
from geoseg.raster.scene import Scene
from geoseg.vector.write import write

UTM = gpd.GeoSeries([], crs=32633).crs.to_wkt()
GRID = Grid(height=40, width=50, transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), crs=UTM)
MEANINGS = Meanings(codes=(1, 2, 7), code_of={"water": 1, 1: 1, "forest": 2, 2: 2, 7: 7, "clouds": UNKNOWN})


def on_grid(shape: Any, grid: Grid = GRID) -> Any:
    """A shape in (col, row) of a grid in its world."""
    return shapely.transform(shape, lambda xy: np.column_stack(grid.transform @ (xy[:, 0], xy[:, 1])))


def box(col: float, row: float, col_stop: float, row_stop: float) -> Any:
    return shapely.box(col, row, col_stop, row_stop)


pytestmark = pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")


def drawn(path: Path, shapes: list[Any], classes: list[Any], *, crs: Any = UTM, **options: Any) -> Path:
    """A file of shapes given in (col, row) of `GRID`."""
    frame = gpd.GeoDataFrame({"class": classes}, geometry=[s and on_grid(s) for s in shapes], crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path, **options)
    return path


def whole(labels: VectorLabels, grid: Grid = GRID) -> npt.NDArray[np.uint8]:
    return labels.read(Window(row=0, col=0, height=grid.height, width=grid.width))


@pytest.mark.parametrize("name", ["l.gpkg", "l.geojson", "l.shp", "l.fgb", "l.parquet"])
def test_every_format_gives_the_same_pixels(tmp_path: Path, name: str) -> None:
    path = drawn(tmp_path / name, [box(0, 0, 5, 5), box(10, 3, 12, 9)], ["water", "Forest "])
    expected = np.full(GRID.shape, UNKNOWN)
    expected[0:5, 0:5], expected[3:9, 10:12] = 1, 2
    assert (whole(VectorLabels.open(path, GRID, MEANINGS, class_field="class")) == expected).all()


@pytest.mark.parametrize(
    ("values", "codes"),
    [([1, 2], [1, 2]), ([1.0, 7.0], [1, 7]), (["water", "clouds"], [1, UNKNOWN]), (["2", " WATER"], [2, 1])],
)
def test_values_mean_classes(tmp_path: Path, values: list[Any], codes: list[int]) -> None:
    path = drawn(tmp_path / "l.gpkg", [box(0, 0, 5, 5), box(10, 3, 12, 9)], values)
    read = whole(VectorLabels.open(path, GRID, MEANINGS, class_field="class"))
    assert [read[2, 2], read[5, 11]] == codes


def test_without_an_attribute_the_layer_is_the_class(tmp_path: Path) -> None:
    path = tmp_path / "l.gpkg"
    drawn(path, [box(0, 0, 5, 5)], ["x"], layer="Water")
    drawn(path, [box(10, 3, 12, 9)], ["y"], layer="forest")
    read = whole(VectorLabels.open(path, GRID, MEANINGS))
    assert (read[2, 2], read[5, 11]) == (1, 2)
    assert set(np.unique(whole(VectorLabels.open(path, GRID, MEANINGS, layer="forest")))) == {2, UNKNOWN}
    both = VectorLabels.open(path, GRID, MEANINGS, layer=["forest", "Water"])
    assert (whole(both) == read).all()
    drawn(path, [box(1, 1, 2, 2)], ["z"], layer="roi")
    with pytest.raises(DataError, match="layer roi, whose name means no class, expected water, 1, forest"):
        VectorLabels.open(path, GRID, MEANINGS)


@st.composite
def shapes(draw: st.DrawFn) -> list[Any]:
    """Polygons, holes, lines and points around the grid; some on corners of pixels, some anywhere."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = []
    for _ in range(draw(st.integers(1, 6))):
        part = draw(st.sampled_from([1, 2, 3, 10, 997]))
        corners = random.integers(-20 * part, 70 * part, (draw(st.integers(3, 8)), 2)) / part
        kind = draw(st.sampled_from(["polygon", "polygon", "line", "point", "many"]))
        if kind == "polygon":
            shape = shapely.make_valid(shapely.Polygon(corners), method="structure", keep_collapsed=False)
        elif kind == "line":
            shape = shapely.LineString(corners)
        elif kind == "point":
            shape = shapely.Point(corners[0])
        else:
            shape = shapely.GeometryCollection(
                [shapely.MultiPoint(corners), shapely.box(*corners[:2].ravel())]
            )
        found.append(shape)
    return found


windows = st.builds(
    Window,
    row=st.integers(-9, 45),
    col=st.integers(-9, 55),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
)


@settings(max_examples=30)
@given(
    shapes=shapes(),
    window=windows,
    layered=st.booleans(),
    all_touched=st.booleans(),
    buffer=st.sampled_from([0.0, 12.5]),
    unlabelled=st.sampled_from([0, UNKNOWN]),
)
def test_a_window_is_cut_out_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    shapes: list[Any],
    window: Window,
    unlabelled: int,
    **options: Any,
) -> None:
    path = tmp_path_factory.mktemp("labels") / "l.fgb"
    classes = [(1, 2, 7)[i % 3] for i in range(len(shapes))]
    drawn(path, [*shapes, box(1, 1, 3, 3)], [*classes, 1], SPATIAL_INDEX="NO")
    meanings = Meanings(codes=MEANINGS.codes, code_of=MEANINGS.code_of, unlabelled=unlabelled)
    labels = VectorLabels.open(path, GRID, meanings, class_field="class", **options)
    full = whole(labels)
    padded = np.pad(full, [(0, 0)] * (full.ndim - 2) + [(60, 60)] * 2, constant_values=UNKNOWN)
    expected = padded[..., 60 + window.row : 60 + window.row_stop, 60 + window.col : 60 + window.col_stop]
    assert (labels.read(window) == expected).all()
    assert (pickle.loads(pickle.dumps(labels)).read(window) == expected).all()


@settings(max_examples=30)
@given(shapes=shapes(), all_touched=st.booleans())
def test_pixels_are_those_of_rasterio(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[Any], all_touched: bool
) -> None:
    """Independent: each class burned alone in world coordinates, contradictions counted by hand."""
    path = tmp_path_factory.mktemp("labels") / "l.fgb"
    shapes = [*(s for s in shapes if s.geom_type == "Polygon" and not s.is_empty), box(1.2, 1, 3, 3)]
    drawn(path, shapes, [1 + i % 2 for i in range(len(shapes))], SPATIAL_INDEX="NO")
    options: dict[str, Any] = {"class_field": "class", "all_touched": all_touched}
    read = whole(VectorLabels.open(path, GRID, MEANINGS, overlap="ignore", **options))
    masks = []
    for number in (0, 1):
        mine = [on_grid(s) for s in shapes[number::2]]
        masks.append(
            rasterio.features.rasterize(
                mine, out_shape=GRID.shape, transform=GRID.transform, all_touched=all_touched, dtype="uint8"
            )
            if mine
            else np.zeros(GRID.shape, dtype=np.uint8)
        )
    expected = np.select(
        [(masks[0] & masks[1]) > 0, masks[0] > 0, masks[1] > 0], [UNKNOWN, 1, 2], default=UNKNOWN
    )
    # Corners on pixel borders or centres may fall to either side by the rounding of the world's coordinates.
    boundary = shapely.union_all([s.boundary for s in shapes])
    rows, cols = np.nonzero(read != expected)
    centres = shapely.points(cols + 0.5, rows + 0.5)
    near = shapely.distance(centres, boundary) < 1e-3
    if all_touched:
        cells = shapely.box(cols, rows, cols + 1, rows + 1)
        near |= ~shapely.intersects(shapely.buffer(cells, -1e-3), boundary)
    assert near.all()


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ("POLYGON ((44 -2, 0 8, 0 32, 44 -2))", (10, 20, 9, 5)),
        ("POLYGON ((7 16, 17 30, -8 28, 7 16))", (26, 11, 5, 8)),
        ("LINESTRING (1 20, 43 29)", (26, 27, 3, 7)),
    ],
)
def test_edges_through_corners_of_pixels(
    tmp_path: Path, shape: str, window: tuple[int, int, int, int]
) -> None:
    """What is touched is told differently by rasters that begin elsewhere."""
    path = drawn(tmp_path / "l.gpkg", [shapely.from_wkt(shape)], [1])
    labels = VectorLabels.open(path, GRID, MEANINGS, class_field="class", all_touched=True)
    row, col, height, width = window
    cut = whole(labels)[row : row + height, col : col + width]
    assert (labels.read(Window(row=row, col=col, height=height, width=width)) == cut).all()


@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize("all_touched", [False, True])
def test_blocks_of_a_large_image_fit_together(tmp_path: Path, layered: bool, all_touched: bool) -> None:
    """Polygons, lines and points across several blocks against rasterio in one go; corners on whole pixels too."""
    grid = Grid(height=530, width=600, transform=Affine.identity())
    random = np.random.default_rng(1)
    shapes = [
        shapely.Polygon(
            shapely.get_coordinates(shapely.Point(*at).buffer(60, quad_segs=2)) + random.normal(0, 9, (9, 2))
        )
        for at in random.uniform(0, 560, (40, 2))
    ]
    shapes = [shapely.convex_hull(s) for s in shapes] + [shapely.box(250, 250, 520, 262)]
    shapes += [shapely.LineString(random.uniform(-20, 620, (3, 2))) for _ in range(5)]
    frame = gpd.GeoDataFrame({"class": [1] * len(shapes)}, geometry=shapes)
    frame.to_file(tmp_path / "l.gpkg")
    labels = VectorLabels.open(
        tmp_path / "l.gpkg", grid, MEANINGS, class_field="class", layered=layered, all_touched=all_touched
    )
    read = whole(labels, grid)
    one = read[0] if layered else read
    parts = [(s, all_touched or s.geom_type == "LineString") for s in shapes]
    expected = np.zeros(grid.shape, dtype=bool)
    for touched in (False, True):
        mine = [s for s, each in parts if each == touched]
        if mine:
            expected |= rasterio.features.rasterize(mine, out_shape=grid.shape, all_touched=touched) > 0
    assert ((one == 1) != expected).sum() <= 3  # of 9000 px at borders: corners are rounded to 1/4096 px
    for row, col in ((200, 200), (255, 256), (-3, 511), (500, 580)):
        window = Window(row=row, col=col, height=90, width=70)
        padding = [(0, 0)] * (read.ndim - 2) + [(100, 100)] * 2
        cut = np.pad(read, padding, constant_values=UNKNOWN)[..., row + 100 :, col + 100 :][..., :90, :70]
        assert (labels.read(window) == cut).all()


def test_lines_and_points_cover_what_they_touch_or_their_buffer(tmp_path: Path) -> None:
    path = drawn(
        tmp_path / "l.gpkg", [shapely.Point(3.7, 4.2), shapely.LineString([(10, 5.5), (14.5, 5.5)])], [1, 2]
    )
    read = whole(VectorLabels.open(path, GRID, MEANINGS, class_field="class"))
    assert np.argwhere(read == 1).tolist() == [[4, 3]]
    assert np.argwhere(read == 2).tolist() == [[5, col] for col in range(10, 15)]
    wide = whole(VectorLabels.open(path, GRID, MEANINGS, class_field="class", buffer=15.0))
    rows, cols = np.indices(GRID.shape) + 0.5
    assert ((wide == 1) == (np.hypot(cols - 3.7, rows - 4.2) < 1.5)).all()
    beside = drawn(tmp_path / "beside.gpkg", [shapely.Point(-3, 5), shapely.Point(20, 20)], [1, 2])
    reaching = whole(VectorLabels.open(beside, GRID, MEANINGS, class_field="class", buffer=40.0))
    assert ((reaching == 1) == (np.hypot(cols + 3, rows - 5) < 4)).all()
    line = np.hypot(np.maximum(np.maximum(10 - cols, cols - 14.5), 0), rows - 5.5) < 1.5
    assert ((wide == 2) == line).all()


def painted(shapes: list[Any], codes: list[int], overlap: str) -> npt.NDArray[np.uint8]:
    """Oracle: shapes painted one over the other, each burned alone by GDAL."""
    size = [shape.area for shape in shapes]
    order = range(len(shapes)) if overlap == "last" else sorted(range(len(shapes)), key=lambda i: -size[i])
    read = np.full(GRID.shape, UNKNOWN, dtype=np.uint8)
    for i in order:
        touched = shapely.get_dimensions(shapes[i]) < 2
        inside = rasterio.features.rasterize([shapes[i]], out_shape=GRID.shape, all_touched=touched)
        read[inside == 1] = codes[i]
    return read


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), overlap=st.sampled_from(["last", "smallest"]))
def test_shapes_over_each_other_are_painted_in_order(
    tmp_path_factory: pytest.TempPathFactory, seed: int, overlap: Any
) -> None:
    """Rectangles of whole pixels and lines, in whatever order of size and class."""
    random = np.random.default_rng(seed)
    corner = random.integers(-5, 45, (8, 2))
    shapes = list(shapely.box(*corner.T, *(corner + random.integers(1, 30, (8, 2))).T))
    shapes.insert(int(random.integers(9)), shapely.LineString([(3.5, 3.5), (40.5, 3.5), (40.5, 30.5)]))
    codes = random.choice([1, 2, 7], 9).tolist()
    path = drawn(tmp_path_factory.mktemp("labels") / "l.fgb", shapes, codes, SPATIAL_INDEX="NO")
    read = whole(VectorLabels.open(path, GRID, MEANINGS, class_field="class", overlap=overlap))
    np.testing.assert_array_equal(read, painted(shapes, codes, overlap))


@pytest.mark.parametrize("pond_first", [True, False])
def test_a_pond_in_a_forest_stays_a_pond(tmp_path: Path, pond_first: bool) -> None:
    """How people draw; a large forest is cut up, and each of its pieces is as large as it is."""
    angle = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    forest = shapely.Polygon(np.column_stack([250 + 240 * np.cos(angle), 250 + 240 * np.sin(angle)]))
    rows = [(shapely.box(120, 100, 380, 390), 1), (forest, 2)]
    grid = replace(GRID, height=500, width=500)
    path = drawn(tmp_path / "l.gpkg", *zip(*(rows if pond_first else rows[::-1]), strict=True))
    read = whole(VectorLabels.open(path, grid, MEANINGS, class_field="class"), grid)
    assert (read == 1).sum() == 260 * 290
    assert (read == 2).sum() == (
        rasterio.features.rasterize([forest], out_shape=(500, 500)) == 1
    ).sum() - 75400


def test_a_rule_that_is_none(tmp_path: Path) -> None:
    path = drawn(tmp_path / "l.gpkg", [box(0, 0, 10, 10)], [1])
    with pytest.raises(OptionError, match="overlap is 'first', expected one of last, smallest, ignore"):
        VectorLabels.open(path, GRID, MEANINGS, class_field="class", overlap="first")  # type: ignore[arg-type]


def test_contradictions_are_unknown_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="geoseg")
    path = drawn(tmp_path / "l.gpkg", [box(0, 0, 10, 10), box(8, 8, 12, 12), box(49, 39, 60, 60)], [1, 2, 1])
    drawn(tmp_path / "l.gpkg", [box(49, 38, 50, 70)], [2], mode="a")
    labels = VectorLabels.open(path, GRID, MEANINGS, class_field="class", overlap="ignore")
    assert [r.getMessage() for r in caplog.records if r.name.startswith("geoseg")] == [
        f"{path}: 5 px are covered by shapes of several classes; they are left out (overlap: ignore)"
    ]
    assert (whole(labels)[8:10, 8:10] == UNKNOWN).all()
    assert (whole(labels) == 1).sum() == 96
    layers = whole(VectorLabels.open(path, GRID, MEANINGS, class_field="class", layered=True))
    assert layers[:, 9, 9].tolist() == [1, 1, 0]
    assert layers[:, 30, 30].tolist() == [UNKNOWN] * 3
    drawn(path, [box(0, 0, 2, 2), box(0, 30, 2, 32)], ["clouds", None], layer="more")
    with_clouds = VectorLabels.open(path, GRID, MEANINGS, class_field="class", layered=True)
    assert whole(with_clouds)[:, 0, 0].tolist() == [UNKNOWN] * 3
    absent = replace(MEANINGS, unlabelled=0)
    layers = whole(VectorLabels.open(path, GRID, absent, class_field="class", layered=True))
    assert [layers[:, row, 0].tolist() for row in (0, 5, 25, 31)] == [
        [UNKNOWN] * 3,
        [1, 0, 0],
        [0] * 3,
        [UNKNOWN] * 3,
    ]


def test_what_is_unlabelled_and_what_is_without_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="geoseg")
    path = drawn(
        tmp_path / "l.gpkg", [box(0, 0, 5, 5), box(10, 0, 12, 2), None, box(5, 5, 5, 9)], [1, None, 1, 1]
    )
    meanings = Meanings(codes=(1, 2), code_of={1: 1}, unlabelled=2)
    read = whole(VectorLabels.open(path, GRID, meanings, class_field="class"))
    assert (read[0, 0], read[1, 11], read[30, 30]) == (1, UNKNOWN, 2)
    assert f"{path}: 1 features have no class; their pixels are unknown" in caplog.messages
    outside = VectorLabels.open(path, GRID, meanings, class_field="class").read(
        Window(row=-2, col=0, height=4, width=1)
    )
    assert outside[:, 0].tolist() == [UNKNOWN, UNKNOWN, 1, 1]


def test_invalid_shapes_are_made_valid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="geoseg")
    bow_tie = shapely.Polygon([(0, 0), (8, 8), (8, 0), (0, 8)])
    read = whole(
        VectorLabels.open(drawn(tmp_path / "l.gpkg", [bow_tie], [1]), GRID, MEANINGS, class_field="class")
    )
    assert (read[4, 0], read[0, 4], read[4, 7]) == (1, UNKNOWN, 1)
    assert f"{tmp_path / 'l.gpkg'}: 1 invalid geometries were made valid" in caplog.messages


def test_heights_do_no_harm(tmp_path: Path) -> None:
    path = drawn(tmp_path / "l.gpkg", [shapely.force_3d(box(0, 0, 5, 5), 7.0)], [1])
    assert (whole(VectorLabels.open(path, GRID, MEANINGS, class_field="class")) == 1).sum() == 25


def test_other_ways_to_write_a_crs_change_nothing(tmp_path: Path) -> None:
    import pyproj

    shapes = [shapely.Polygon([(1.5, 1.5), (20.25, 3.5), (11.5, 30.5)]), box(30, 5, 40.5, 20.5)]
    expected = None
    for crs in (
        UTM,
        "EPSG:32633",
        pyproj.CRS(32633).to_wkt("WKT1_ESRI"),
        pyproj.CRS(32633).to_wkt("WKT1_GDAL"),
    ):
        path = tmp_path / "l.shp"
        drawn(path, shapes, [1, 2], crs=crs)
        read = whole(VectorLabels.open(path, GRID, MEANINGS, class_field="class"))
        expected = read if expected is None else expected
        assert (read == expected).all()


@pytest.mark.parametrize("epsg", [4326, 3857, 3035, 32632])
def test_another_crs_moves_borders_by_less_than_a_pixel(tmp_path: Path, epsg: int) -> None:
    """Long edges too: a rectangle of the image's CRS is bent in the file's."""
    grid = Grid(height=400, width=400, transform=Affine(100, 0, 480_000, 0, -100, 5_000_000), crs=UTM)
    shape = shapely.box(20.3, 30.3, 380.3, 390.3)
    dense = gpd.GeoSeries([shapely.segmentize(on_grid(shape, grid), 500)], crs=UTM).to_crs(epsg)
    path = tmp_path / "l.gpkg"
    gpd.GeoDataFrame({"class": [1]}, geometry=dense, crs=epsg).to_file(path)
    read = whole(VectorLabels.open(path, grid, MEANINGS, class_field="class"), grid)
    expected = rasterio.features.rasterize([shape], out_shape=grid.shape)
    assert ((read == 1) == (expected == 1)).all()
    # The other way round: edges that are straight in the file's CRS.
    corners = gpd.GeoSeries([on_grid(shape, grid)], crs=UTM).to_crs(epsg)
    gpd.GeoDataFrame({"class": [1]}, geometry=corners, crs=epsg).to_file(path)
    read = whole(VectorLabels.open(path, grid, MEANINGS, class_field="class"), grid)
    bent = corners.segmentize(corners[0].length / 10_000).to_crs(UTM)
    expected = rasterio.features.rasterize(bent, out_shape=grid.shape, transform=grid.transform)
    wrong = np.argwhere((read == 1) != (expected == 1))
    assert len(wrong) <= 10


def test_an_image_without_georeference_takes_pixels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="geoseg")
    plain = Grid(height=40, width=50, transform=Affine.identity())
    for sign, crs in ((1, None), (-1, None), (1, 4326)):
        frame = gpd.GeoDataFrame({"class": [1]}, geometry=[shapely.box(3, sign * 4, 10, sign * 12)], crs=crs)
        frame.to_file(tmp_path / "l.geojson")
        read = whole(VectorLabels.open(tmp_path / "l.geojson", plain, MEANINGS, class_field="class"), plain)
        assert np.argwhere(read == 1).min(0).tolist() == [4, 3]
        assert (read == 1).sum() == 56
    (note,) = [message for message in caplog.messages if str(tmp_path) in message]
    assert "count down from 0" in note


def test_cutting_up_keeps_every_pixel() -> None:
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    radius = 100 + 20 * np.sin(37 * angle)
    star = shapely.Polygon(np.column_stack([150 + radius * np.cos(angle), 150 + radius * np.sin(angle)]))
    pieces = cut_up(star)
    assert len(pieces) > 4
    for touched in (False, True):
        one, many = (
            rasterio.features.rasterize(shapes, out_shape=(300, 300), all_touched=touched)
            for shapes in ([star], pieces)
        )
        assert (one == many).all()


def test_an_image_without_any_shape(tmp_path: Path) -> None:
    beside = Grid(height=40, width=50, transform=Affine(10, 0, 500_300, 0, -10, 4_999_800), crs=UTM)
    far = Grid(height=40, width=50, transform=Affine(10, 0, 700_000, 0, -10, 5_000_000), crs=UTM)
    rest = Meanings(codes=(0, 1), code_of={1: 1}, unlabelled=0)
    path = drawn(tmp_path / "l.gpkg", [box(0, 0, 5, 5), box(90, 90, 95, 95)], [1, 1])
    assert (whole(VectorLabels.open(path, beside, rest, class_field="class")) == 0).all()
    for grid, meanings in ((beside, MEANINGS), (far, rest)):
        with pytest.raises(
            DataError, match=r"none of its features lies on the image.* spans 500000, 4999050 to"
        ):
            VectorLabels.open(path, grid, meanings, class_field="class")
    empty = tmp_path / "empty.gpkg"
    gpd.GeoDataFrame({"class": np.array([], int)}, geometry=[], crs=UTM).to_file(
        empty, geometry_type="Polygon"
    )
    assert (whole(VectorLabels.open(empty, GRID, rest, class_field="class")) == 0).all()
    with pytest.raises(DataError, match="holds no feature"):
        VectorLabels.open(empty, GRID, MEANINGS, class_field="class")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_field": "klass"}, "layer l has no attribute klass, expected one of class"),
        ({"class_field": "class", "layer": "m"}, "has no layer m, expected one of l"),
        ({"class_field": "class"}, "attribute class of layer l holds 2.5, town, expected water, 1"),
    ],
)
def test_bad_values_are_one_line(tmp_path: Path, options: Any, message: str) -> None:
    path = drawn(tmp_path / "l.gpkg", [box(0, 0, 5, 5)] * 2, ["town", "2.5"])
    with pytest.raises(DataError, match=message) as caught:
        VectorLabels.open(path, GRID, MEANINGS, **options)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_say_its_crs(tmp_path: Path) -> None:
    path = drawn(tmp_path / "l.gpkg", [box(0, 0, 5, 5)], [1], crs=None)
    with pytest.raises(DataError, match="declares no CRS, but its image has one; declare it in a copy with"):
        VectorLabels.open(path, GRID, MEANINGS, class_field="class")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "l.gpkg",
            b'<OGRVRTDataSource><OGRVRTLayer name="x"/></OGRVRTDataSource>',
            "only points at other data",
        ),
        ("l.kml", b"<!-- <kml --><OGRVRTDataSource/>", "only points at other data"),
        ("l.geojson", b'{"type": "gdal_streamed_alg", "command_line": "x"}', "only points at other data"),
        ("l.gpkg", b"SQLite format 3\0 and nothing more", "cannot be read as vectors"),
        ("l.geojson", b'{"type": "FeatureCollection", "features": [', "cannot be read as vectors"),
        ("l.parquet", b"PAR1 and nothing more", "cannot be read as vectors"),
        ("l.gpkg", b"", "is empty, expected .gpkg, .geojson"),
        ("l!1.geojson", b"{}", "rename it"),
    ],
)
def test_what_is_no_vector_file_is_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        VectorLabels.open(path, GRID, MEANINGS, class_field="class")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_layer_of_a_format_without_layers(tmp_path: Path) -> None:
    path = drawn(tmp_path / "l.parquet", [box(0, 0, 5, 5)], [1])
    assert found_classes(path, layer="l") == (FoundClass(value="l", name="l", color=None),)
    with pytest.raises(DataError, match="has no layer m, expected one of l"):
        found_classes(path, layer="m")


def test_placemarks(tmp_path: Path) -> None:
    """KML as Google Earth writes it: WGS 84, heights, a name each."""
    ring = " ".join(
        f"{x},{y},0" for x, y in [(15, 45), (15.001, 45), (15.001, 45.001), (15, 45.001), (15, 45)]
    )
    placemark = f"<name>Water</name><Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates>"
    text = f"<Document><Placemark>{placemark}</LinearRing></outerBoundaryIs></Polygon></Placemark></Document>"
    (tmp_path / "l.kml").write_text(
        f'<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2">{text}</kml>'
    )
    grid = Grid(height=40, width=50, transform=Affine(1e-4, 0, 14.9995, 0, -1e-4, 45.0015), crs="EPSG:4326")
    read = whole(VectorLabels.open(tmp_path / "l.kml", grid, MEANINGS, class_field="Name"), grid)
    assert np.argwhere(read == 1).min(0).tolist() == [5, 5]
    assert (read == 1).sum() == 100


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        VectorLabels.open(tmp_path, GRID, MEANINGS)
    with pytest.raises(DataError, match="No such file"):
        VectorLabels.open(tmp_path / "x.gpkg", GRID, MEANINGS)


def test_a_file_that_changed_is_noticed_where_it_is_read_again(tmp_path: Path) -> None:
    path = drawn(tmp_path / "l.fgb", [box(0, 0, 5, 5)], [1])
    labels = VectorLabels.open(path, GRID, MEANINGS, class_field="class")
    pickled = pickle.dumps(labels)
    drawn(path, [box(0, 0, 5, 5), box(1, 1, 2, 2)], [1, 1])
    with pytest.raises(DataError, match="changed while it was in use"):
        whole(pickle.loads(pickled))
    assert (whole(labels) == 1).sum() == 25
    path.unlink()
    with pytest.raises(DataError, match="cannot be opened"):
        whole(pickle.loads(pickled))


def test_classes_are_found_with_the_names_and_colours_of_the_style(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"class_code": [2, 1, 1]}, geometry=[on_grid(box(0, 0, 1, 1))] * 3, crs=UTM)
    legend = Legend.parse("open <water>,forest=#228b22")
    write(frame, tmp_path / "l.gpkg", legend=legend)
    expected = tuple(FoundClass(value=c.code, name=c.name, color=c.color) for c in legend.classes)
    assert found_classes(tmp_path / "l.gpkg", class_field="class_code") == expected
    plain = drawn(tmp_path / "p.geojson", [box(0, 0, 1, 1)] * 4, ["b", "a", None, "b"])
    without = tuple(FoundClass(value=v, name=v, color=None) for v in ("a", "b"))
    assert found_classes(plain, class_field="class") == without
    assert found_classes(plain) == (FoundClass(value="p", name="p", color=None),)


QML = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.40.0"><renderer-v2 type="categorizedSymbol" attr="&quot;class&quot;"><categories>
<category symbol="0" value="a" label="Apples" type="string"/>
<category symbol="1" type="List" label="Others"><val value="b"/><val value="c"/></category>
<category symbol="2" value="" label="rest"/></categories><symbols>
<symbol name="0" type="fill"><layer class="SimpleFill" enabled="0"><prop k="color" v="9,9,9,255"/></layer>
<layer class="SimpleFill"><Option type="Map"><Option name="color" value="255,0,10,255,rgb:1,0,0.04,1"/></Option></layer>
</symbol>
<symbol name="1" type="line"><layer class="SimpleLine"><prop k="line_color" v="1,2,3,255"/></layer></symbol>
</symbols></renderer-v2></qgis>"""


def test_a_style_beside_is_read_and_bad_ones_are_not(tmp_path: Path) -> None:
    path = drawn(tmp_path / "l.geojson", [box(0, 0, 1, 1)] * 3, ["a", "b", "c"])
    style = tmp_path / "l.qml"
    style.write_text(QML)
    assert [(c.value, c.name, c.color) for c in found_classes(path, class_field="class")] == [
        ("a", "Apples", "#ff000a"),
        ("b", "b", "#010203"),
        ("c", "c", "#010203"),
    ]
    bomb = QML.replace("'SYSTEM'>", "'SYSTEM' [<!ENTITY a \"aaaaaaaaaa\">]>")
    for bad in (
        bomb,
        QML[:200],
        QML.replace("categorizedSymbol", "RuleRenderer"),
        "",
        QML.replace("255,0", "256,0"),
    ):
        style.write_text(bad)
        assert found_classes(path, class_field="class")[0].color is None


def test_an_attribute_that_is_no_class(tmp_path: Path) -> None:
    path = drawn(tmp_path / "l.fgb", [box(0, 0, 1, 1)] * 300, list(range(300)))
    with pytest.raises(DataError, match="class has 300 different values, expected at most 255"):
        found_classes(path, class_field="class")


REAL = [
    (
        "aberystwyth_sentinel2/scene.tif",
        "aberystwyth_sentinel2/samples.gpkg",
        None,
        {1: 1326, 2: 3014, 3: 606, 4: 1634},
    ),
    ("kampala_drone/scene.tif", "kampala_drone/buildings.geojson", None, None),
    ("concise_sentinel2/concise.tif", "concise_sentinel2/training.gpkg", "land_cover_desc", None),
]


@pytest.mark.parametrize(("image", "file", "field", "pixels"), REAL)
def test_real_labels(
    shared: Path, image: str, file: str, field: str | None, pixels: dict[int, int] | None
) -> None:
    grid = Scene.open(shared / image).grid
    found = found_classes(shared / file, class_field=field)
    meanings = Meanings(
        codes=tuple(range(1, len(found) + 1)), code_of={str(c.value): i for i, c in enumerate(found, 1)}
    )
    labels = VectorLabels.open(shared / file, grid, meanings, class_field=field)
    read = whole(labels, grid)
    codes, counts = np.unique(read[read != UNKNOWN], return_counts=True)
    assert len(codes) == len(found)
    if pixels is not None:
        assert dict(zip(codes.tolist(), counts.tolist(), strict=True)) == pixels


def test_empty_parts_of_multipolygons_are_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ring = [list(corner) for corner in on_grid(box(3, 4, 9, 8)).exterior.coords]
    geometry = {"type": "MultiPolygon", "coordinates": [[], [ring]]}
    feature = {"type": "Feature", "properties": {"class": "water"}, "geometry": geometry}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    words = {"type": "FeatureCollection", "crs": crs, "features": [feature]}
    (tmp_path / "l.geojson").write_text(json.dumps(words))
    labels = VectorLabels.open(tmp_path / "l.geojson", GRID, MEANINGS, class_field="class")
    assert (whole(labels) == 1).sum() == 24
    assert "cannot be reprojected" not in caplog.text
