"""The same truth in every form of labels is the same mask."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.colored_labels import ColoredLabels
from geoseg.labels.grey_labels import GreyLabels
from geoseg.labels.label import UNKNOWN, Labels, Meanings
from geoseg.labels.run_lengths import RunLengthLabels
from geoseg.labels.vector_labels import VectorLabels
from geoseg.polygons.polygonize import polygonize
from geoseg.vectorfiles.geopackage import write_geopackage
from geoseg.vectorfiles.layers import layer_names, polygonize_layers
from tests.strategies import Map, affines, maps

UTM = str(CRS.from_epsg(32633).to_wkt())
LEGEND = Legend.parse("water=#0000ff,forest=#228b22,town,field,rock,snow,moor,ice")
FEW = Legend(classes=LEGEND.classes[:3])
COLOR = {c.color: c.code for c in LEGEND.classes}
NAME = {c.name: c.code for c in LEGEND.classes}
CODE = {c.code: c.code for c in LEGEND.classes}
Masks = npt.NDArray[np.uint8]


def meanings(values: Any, unlabelled: int = UNKNOWN, codes: tuple[int, ...] = LEGEND.codes) -> Meanings:
    return Meanings(codes=codes, code_of=values, unlabelled=unlabelled)


def write_tiff(path: Path, bands: Masks, grid: Grid, **options: Any) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), dtype="uint8", height=grid.height, width=grid.width,
        transform=grid.transform, crs=grid.crs, **options,
    ) as file:  # fmt: skip
        file.write(bands)
    return path


def naive_runs(mask: npt.NDArray[np.bool_]) -> str:
    """Run lengths by a loop over pixels, column by column, counted from 1."""
    runs: list[list[int]] = []
    before = False
    for number, inside in enumerate(mask.T.ravel().tolist(), start=1):
        if inside and before:
            runs[-1][1] += 1
        elif inside:
            runs.append([number, 1])
        before = inside
    return " ".join(f"{start} {length}" for start, length in runs)


def write_table(path: Path, masks: dict[str, npt.NDArray[np.bool_]], head: str) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([head, "EncodedPixels"])
        rows.writerows([name, naive_runs(mask)] for name, mask in masks.items())
    return path


def exclusive_forms(folder: Path, codes: Masks, grid: Grid, unlabelled: int) -> Iterator[Labels]:
    """Codes (row, col) with UNKNOWN for "no label", in each form."""
    known = codes != UNKNOWN
    path = write_tiff(folder / "codes.tif", codes[None], grid, nodata=UNKNOWN)
    yield CodedLabels.open(path, grid, meanings(CODE, unlabelled))
    write_geopackage(folder / "polygons.gpkg", polygonize(codes, known, grid, legend=LEGEND))
    yield VectorLabels.open(
        folder / "polygons.gpkg", grid, meanings(CODE, unlabelled), class_field="class_code"
    )
    yield VectorLabels.open(
        folder / "polygons.gpkg", grid, meanings(NAME, unlabelled), class_field="class_name"
    )
    table = {f"i.tif_{c.name}": codes == c.code for c in LEGEND.classes}
    write_table(folder / "runs.csv", table, "Image_Label")
    yield RunLengthLabels.open(folder / "runs.csv", "i.tif", grid, meanings(NAME, unlabelled))
    colors = np.zeros((4, *codes.shape), dtype=np.uint8)
    for c in LEGEND.classes:
        colors[:, codes == c.code] = np.array([*c.rgb, 255])[:, None]
    path = write_tiff(folder / "colors.tif", colors, grid, photometric="RGB", alpha="YES")
    yield ColoredLabels.open(path, grid, meanings(COLOR, unlabelled))


def layered_forms(folder: Path, layers: Masks, grid: Grid) -> Iterator[Labels]:
    """Layers (class, row, col) of 0 and 1 in each form."""
    yield CodedLabels.open(
        write_tiff(folder / "layers.tif", layers, grid, photometric="MINISBLACK"),
        grid, meanings(CODE, 0, FEW.codes), layered=True,
    )  # fmt: skip
    features = polygonize_layers(lambda index: layers[index] == 1, grid, FEW)
    names = layer_names(FEW)
    write_geopackage(folder / "layers.gpkg", features, layer=names)
    for options in ({"class_field": "class_code"}, {}):
        yield VectorLabels.open(
            folder / "layers.gpkg", grid, meanings({**CODE, **NAME}, 0, FEW.codes), layered=True, **options
        )
    table = {f"i.tif_{c.name}": layer == 1 for c, layer in zip(FEW.classes, layers, strict=True)}
    write_table(folder / "layers.csv", table, "Image_Label")
    yield RunLengthLabels.open(
        folder / "layers.csv", "i.tif", grid, meanings(NAME, 0, FEW.codes), layered=True
    )


def binary_forms(folder: Path, mask: npt.NDArray[np.bool_], grid: Grid) -> Iterator[Labels]:
    """A mask in each form: 0 and 1."""
    both = {"left": 0, "right": 1}
    ones = mask.astype(np.uint8)
    path = write_tiff(folder / "mask.tif", ones[None], grid)
    yield CodedLabels.open(path, grid, meanings({0: 0, 1: 1}, UNKNOWN, (1,)))
    path = write_tiff(folder / "ones.tif", ones[None], grid, nodata=0)
    yield CodedLabels.open(path, grid, meanings({1: 1}, 0, (1,)))
    write_geopackage(folder / "mask.gpkg", polygonize(ones, mask, grid), layer="right")
    yield VectorLabels.open(folder / "mask.gpkg", grid, meanings(both, 0, (1,)))
    write_table(folder / "mask.csv", {"i.tif": mask}, "ImageId")
    yield RunLengthLabels.open(folder / "mask.csv", "i.tif", grid, meanings({"right": 1}, UNKNOWN, (1,)))
    grey = write_tiff(folder / "grey.tif", (ones * 255)[None], grid)
    yield GreyLabels.open(grey, grid, meanings({0: 0, 1: 1}, UNKNOWN, (1,)))
    colors = np.where(ones[None], 255, np.zeros((3, 1, 1), np.uint8)).astype(np.uint8)
    path = write_tiff(folder / "black.tif", colors, grid, photometric="RGB")
    yield ColoredLabels.open(path, grid, meanings({"#000000": 0, "#ffffff": 1}, UNKNOWN, (1,)))


def padded(masks: Masks, window: Window) -> Masks:
    """Cut a window out of masks, by hand; UNKNOWN beyond."""
    cut = np.full((*masks.shape[:-2], *window.shape), UNKNOWN, dtype=np.uint8)
    for row in range(max(window.row, 0), min(window.row_stop, masks.shape[-2])):
        for col in range(max(window.col, 0), min(window.col_stop, masks.shape[-1])):
            cut[..., row - window.row, col - window.col] = masks[..., row, col]
    return cut


windows = st.builds(
    Window,
    row=st.integers(-6, 20),
    col=st.integers(-6, 20),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
)


def grid_of(shape: tuple[int, int], transform: Affine) -> Grid:
    return Grid(height=shape[0], width=shape[1], transform=transform, crs=UTM)


def check(labels: Labels, expected: Masks, window: Window) -> None:
    whole = Window(row=0, col=0, height=expected.shape[-2], width=expected.shape[-1])
    name = f"{type(labels).__name__} {Path(labels.path).name}"
    np.testing.assert_array_equal(labels.read(whole), expected, err_msg=name)
    again = pickle.loads(pickle.dumps(labels))
    np.testing.assert_array_equal(again.read(window), padded(expected, window), err_msg=name)


@settings(max_examples=20)
@given(drawn=maps(24), transform=affines(), window=windows, unlabelled=st.sampled_from([UNKNOWN, 3]))
def test_classes_of_every_form(
    tmp_path_factory: pytest.TempPathFactory, drawn: Map, transform: Affine, window: Window, unlabelled: int
) -> None:
    grid = grid_of(drawn.codes.shape, transform)
    valid = drawn.valid.copy()
    valid[0, 0] = True  # labels that say nothing at all are another test
    codes = np.where(valid, drawn.codes + 1, UNKNOWN).astype(np.uint8)
    expected = np.where(codes == UNKNOWN, unlabelled, codes).astype(np.uint8)
    folder = tmp_path_factory.mktemp("forms")
    for labels in exclusive_forms(folder, codes, grid, unlabelled):
        check(labels, expected, window)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    transform=affines(),
    window=windows,
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_overlapping_classes_of_every_form(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    shape: tuple[int, int],
    transform: Affine,
    window: Window,
    share: float,
) -> None:
    random = np.random.default_rng(seed)
    layers = (random.random((len(FEW.classes), *shape)) < share).astype(np.uint8)
    folder = tmp_path_factory.mktemp("forms")
    for labels in layered_forms(folder, layers, grid_of(shape, transform)):
        check(labels, layers, window)


@settings(max_examples=20)
@given(drawn=maps(24), transform=affines(), window=windows)
def test_masks_of_every_form(
    tmp_path_factory: pytest.TempPathFactory, drawn: Map, transform: Affine, window: Window
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    for labels in binary_forms(folder, drawn.valid, grid_of(drawn.valid.shape, transform)):
        check(labels, drawn.valid.astype(np.uint8), window)


def blobs(shape: tuple[int, int], classes: int) -> Masks:
    """Smooth regions, as landscapes have them."""
    rows, cols = np.indices(shape)
    wave = np.sin(rows / 11) + np.cos(cols / 17 + rows / 31) + np.sin((rows + 2 * cols) / 23)
    ranks = np.digitize(wave, np.quantile(wave, np.linspace(0, 1, classes + 1)[1:-1]))
    return (ranks + 1).astype(np.uint8)


def borders(codes: Masks) -> npt.NDArray[np.bool_]:
    """Pixels that have a neighbour of another class, or lie at the edge."""
    wide = np.pad(codes, 1, constant_values=0)
    height, width = codes.shape
    shifts = [wide[1 + i : 1 + i + height, 1 + j : 1 + j + width] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return np.any([shift != codes for shift in shifts], axis=0)


@pytest.mark.parametrize("epsg", [4326, 3857, 32632])
def test_forms_in_another_crs_agree_but_for_borders(tmp_path: Path, epsg: int) -> None:
    """The image's grid is turned and stretched in the labels' CRS: no more than a pixel at borders."""
    import geopandas as gpd
    from rasterio.warp import Resampling, reproject

    grid = Grid(height=150, width=170, transform=Affine(10, 0, 480_000, 0, -10, 5_000_000), crs=UTM)
    codes = blobs(grid.shape, 4)
    write_geopackage(tmp_path / "l.gpkg", polygonize(codes, codes > 0, grid, legend=LEGEND))
    gpd.read_file(tmp_path / "l.gpkg", layer="landcover").to_crs(epsg).to_file(tmp_path / "other.gpkg")
    polygons = VectorLabels.open(tmp_path / "other.gpkg", grid, meanings(CODE), class_field="class_code")
    whole = Window(row=0, col=0, height=grid.height, width=grid.width)
    from_polygons = polygons.read(whole)
    assert (from_polygons[~borders(codes)] == codes[~borders(codes)]).all()
    assert (from_polygons != codes).mean() < 0.001

    transform, width, height = rasterio.warp.calculate_default_transform(
        UTM, epsg, grid.width, grid.height, *grid.bounds
    )
    warped = np.full((1, height * 4, width * 4), UNKNOWN, dtype=np.uint8)
    fine = transform @ Affine.scale(0.25)
    reproject(
        codes[None], warped, src_transform=grid.transform, src_crs=UTM, dst_transform=fine, dst_crs=epsg,
        resampling=Resampling.nearest, init_dest_nodata=False,
    )  # fmt: skip
    there = Grid(height=height * 4, width=width * 4, transform=fine, crs=str(CRS.from_epsg(epsg).to_wkt()))
    raster = CodedLabels.open(
        write_tiff(tmp_path / "w.tif", warped, there, nodata=UNKNOWN), grid, meanings(CODE)
    )
    from_raster = raster.read(whole)
    assert (from_raster[~borders(codes)] == codes[~borders(codes)]).all()


def test_a_raster_a_part_of_a_pixel_off_takes_the_nearest(tmp_path: Path) -> None:
    """0.3 px off: the nearest label pixel is the same one; polygons of the same raster agree."""
    grid = Grid(height=60, width=70, transform=Affine(10, 0, 480_000, 0, -10, 5_000_000), crs=UTM)
    moved = Grid(height=60, width=70, transform=Affine(10, 0, 480_003, 0, -10, 5_000_003), crs=UTM)
    codes = blobs(grid.shape, 4)
    path = write_tiff(tmp_path / "l.tif", codes[None], moved, nodata=UNKNOWN)
    whole = Window(row=0, col=0, height=60, width=70)
    np.testing.assert_array_equal(CodedLabels.open(path, grid, meanings(CODE)).read(whole), codes)
    write_geopackage(tmp_path / "l.gpkg", polygonize(codes, codes > 0, moved, legend=LEGEND))
    polygons = VectorLabels.open(tmp_path / "l.gpkg", grid, meanings(CODE), class_field="class_code")
    np.testing.assert_array_equal(polygons.read(whole), codes)
