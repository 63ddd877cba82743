from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import DataError, OptionError, OutputExistsError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import BUILT_IN, Legend
from geoseg.labels.conversion import Conversion, convert
from geoseg.labels.rle import decode
from geoseg.raster.classmap import class_map_sidecars, write_cog
from tests.marks import few
from tests.strategies import Map, affines, maps

LEGEND = Legend.parse("water=#0000ff,forest=#228b22,town,old_field,rock,snow,moor,ice")
UTM = gpd.GeoSeries([], crs=32633).crs.to_wkt()
GRID = Grid(height=12, width=15, transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), crs=UTM)


pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write_codes(path: Path, codes: npt.NDArray[np.uint8], grid: Grid = GRID, legend: Legend = LEGEND) -> Path:
    names = legend.names if codes.ndim == 3 else "labels"
    write_cog(path, [codes], grid, legend=legend, description=names, tags={})
    return path


def read(path: Path) -> npt.NDArray[np.uint8]:
    with rasterio.open(path) as file:
        return file.read()


def turn(source: Path, target: Path, *, lossy: bool = False, **options: Any) -> Path:
    done = convert(Conversion(source=source, target=target, **options), lossy=lossy)
    assert lossy or not done.losses
    assert done.path == target
    return target


@settings(max_examples=6)
@given(drawn=maps(20), transform=affines(), rest=st.sampled_from([None, "town"]))
def test_there_and_back_is_the_same_raster(
    tmp_path_factory: pytest.TempPathFactory, drawn: Map, transform: Affine, rest: str | None
) -> None:
    """Law: raster, polygons, run lengths and colours hold the same truth; so does every step between them."""
    folder = tmp_path_factory.mktemp("forms")
    grid = Grid(height=drawn.codes.shape[0], width=drawn.codes.shape[1], transform=transform, crs=UTM)
    valid = drawn.valid.copy()
    valid[0, 0] = True
    codes = np.where(valid, drawn.codes + 1, 3 if rest else 255).astype(np.uint8)
    start = write_codes(folder / "a.tif", codes, grid)
    options: dict[str, Any] = {"like": start, "legend": LEGEND, "unlabelled": rest}
    here = start
    for name in ("b.gpkg", "c.csv", "d.png", "e.tif"):
        field = {"class_field": "class_code"} if here.suffix == ".gpkg" else {}
        here = turn(here, folder / name, **options, **field)
    assert (read(here)[0] == codes).all()
    with rasterio.open(start) as first, rasterio.open(here) as last:
        assert (first.transform, first.crs, first.tags()["GEOSEG_LEGEND"]) == (
            last.transform,
            last.crs,
            last.tags()["GEOSEG_LEGEND"],
        )


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_layers_there_and_back(tmp_path_factory: pytest.TempPathFactory, seed: int, share: float) -> None:
    folder = tmp_path_factory.mktemp("forms")
    random = np.random.default_rng(seed)
    legend = Legend(classes=LEGEND.classes[:3])
    layers = (random.random((3, *GRID.shape)) < share).astype(np.uint8)
    start = here = write_codes(folder / "a.tif", layers, legend=legend)
    for name in ("b.gpkg", "c.csv", "d.gpkg", "e.tif"):
        field = {"class_field": "class_code"} if here.suffix == ".gpkg" else {}
        if not layers.any() and here.suffix == ".gpkg":
            field = {}  # no feature, no attribute's value: the layers are named as the classes
        here = turn(here, folder / name, like=start, legend=legend, layered=True, **field)
    assert (read(here) == layers).all()


def test_classes_are_found_in_every_form(tmp_path: Path) -> None:
    codes = np.full(GRID.shape, 255, dtype=np.uint8)
    codes[:4], codes[4:8, :7] = 1, 4
    legend = Legend(classes=(LEGEND[1], LEGEND[4]))
    start = write_codes(tmp_path / "a.tif", codes, legend=legend)
    vectors = turn(start, tmp_path / "b.gpkg")
    again = turn(vectors, tmp_path / "c.tif", like=start, class_field="class_code")
    assert (read(again)[0] == codes).all()
    with rasterio.open(again) as file:
        assert '"code":4,"name":"old_field"' in file.tags()["GEOSEG_LEGEND"]
    table = turn(start, tmp_path / "d.csv")
    assert table.read_text().splitlines()[0] == "Image_Label,EncodedPixels"
    from_table = read(turn(table, tmp_path / "e.tif", like=start))[0]
    assert (from_table == np.select([codes == 1, codes == 4], [1, 2], 255)).all()
    picture = turn(start, tmp_path / "f.png")
    assert read(picture)[:, 0, 0].tolist() == [0, 0, 255, 255]
    assert read(picture)[3, 11, 11] == 0
    done = convert(Conversion(source=picture, target=tmp_path / "g.tif", like=start))
    assert done.pixels == (("#0000ff", 60), (LEGEND[4].color, 28))


def test_a_mask_and_its_background(tmp_path: Path) -> None:
    mask = np.zeros(GRID.shape, dtype=np.uint8)
    mask[2:5, 3:9] = 1
    legend = Legend.parse("building")
    polygons = tmp_path / "b.gpkg"
    shape = shapely.box(500_030, 4_999_950, 500_090, 4_999_980)
    gpd.GeoDataFrame({"height": [3]}, geometry=[shape], crs=UTM).to_file(polygons, layer="building")
    like = write_codes(tmp_path / "image.tif", mask)
    raster = turn(polygons, tmp_path / "c.tif", like=like, unlabelled="background")
    assert (read(raster)[0] == mask).all()
    table = turn(raster, tmp_path / "d.csv", unlabelled="background")
    head, row = table.read_text().splitlines()
    image, runs = row.split(",")
    assert (head, image) == ("ImageId,EncodedPixels", "c.tif")
    assert (decode(runs, GRID.shape) == (mask == 1)).all()
    again = turn(table, tmp_path / "e.tif", like=raster, legend=legend, unlabelled="background")
    assert (read(again)[0] == mask).all()


def test_another_image_of_the_same_place(tmp_path: Path) -> None:
    """The labels' own grid is the image's, whatever the labels say of it: plain pictures, other WKT."""
    codes = np.ones(GRID.shape, dtype=np.uint8)
    image = write_codes(tmp_path / "image.tif", codes)
    picture = turn(image, tmp_path / "p.png")
    raster = turn(picture, tmp_path / "r.tif", like=image, legend=LEGEND)
    with rasterio.open(raster) as file:
        assert file.transform == GRID.transform
    plain = turn(picture, tmp_path / "plain.csv", legend=LEGEND)
    assert plain.read_text().splitlines()[1] == "p.png_water,1 180"


def drawn(path: Path, shapes: list[Any], classes: list[Any]) -> Path:
    def to_world(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(GRID.transform @ (xy[:, 0], xy[:, 1]))

    geometry = [shapely.transform(shape, to_world) for shape in shapes]
    gpd.GeoDataFrame({"class": classes}, geometry=geometry, crs=UTM).to_file(path)
    return path


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (
            [shapely.box(0, 0, 4.5, 5)],
            "1 of 1 polygon not made of whole pixels; they became those whose centre",
        ),
        ([shapely.Polygon([(0, 0), (4, 0), (4, 4)])], "1 of 1 polygon not made of whole pixels"),
        ([shapely.box(0, 0, 9, 9).difference(shapely.box(2.2, 2, 3, 3))], "1 of 1 polygon not"),
        ([shapely.box(0, 0, 2, 2), shapely.box(-2, 3, 2, 5)], "1 of 2 shapes reaching beyond the image"),
        ([shapely.box(0, 0, 2, 2), shapely.box(90, 3, 92, 5)], "1 of 2 shapes reaching beyond the image"),
        (
            [shapely.Point(3.5, 3.5), shapely.LineString([(5, 5), (9, 5)])],
            r"2 shapes without an area (lines, points) became the pixels",
        ),
    ],
)
def test_drawn_shapes_become_pixels_and_a_line_says_how(
    tmp_path: Path, shapes: list[Any], words: str
) -> None:
    like = write_codes(tmp_path / "image.tif", np.ones(GRID.shape, dtype=np.uint8))
    source = drawn(tmp_path / "l.gpkg", shapes, ["a", "b"][: len(shapes)])
    done = convert(Conversion(source=source, target=tmp_path / "o.tif", like=like, class_field="class"))
    assert words in done.notes[0]
    assert not done.losses
    counts = np.bincount(read(done.path).ravel(), minlength=256)
    assert [pixels for _, pixels in done.pixels] == counts[1 : len(set(shapes)) + 1].tolist()


@pytest.mark.parametrize("rows", [["pond", "forest"], ["forest", "pond"]])
@pytest.mark.parametrize(("overlap", "pond"), [(None, 6), ("smallest", 6), ("last", None), ("ignore", 0)])
def test_a_pond_in_a_forest(tmp_path: Path, rows: list[str], overlap: Any, pond: int | None) -> None:
    """How people draw: whichever came first, nothing of the small one is lost, and what is counted was written."""
    like = write_codes(tmp_path / "image.tif", np.ones(GRID.shape, dtype=np.uint8))
    shapes = {"pond": shapely.box(2, 2, 5, 4), "forest": shapely.box(0, 0, 9, 9)}
    source = drawn(tmp_path / "l.gpkg", [shapes[name] for name in rows], rows)
    plan = Conversion(
        source=source, target=tmp_path / "o.tif", like=like, class_field="class", overlap=overlap
    )
    done = convert(plan)
    pond = (6 if rows[-1] == "pond" else 0) if pond is None else pond
    forest = 81 if overlap == "last" and not pond else 75
    assert dict(done.pixels) == {"pond": pond, "forest": forest}
    counts = np.bincount(read(plan.target).ravel(), minlength=256)
    assert (counts[1], counts[2]) == (forest, pond)
    assert counts[255] == GRID.height * GRID.width - forest - pond


def test_polygons_are_made_exclusive_where_that_is_asked_for(tmp_path: Path) -> None:
    like = write_codes(tmp_path / "image.tif", np.ones(GRID.shape, dtype=np.uint8))
    source = drawn(
        tmp_path / "l.gpkg", [shapely.box(2, 2, 5, 4), shapely.box(0, 0, 9, 9)], ["pond", "forest"]
    )
    options: dict[str, Any] = {"like": like, "class_field": "class"}
    kept = convert(Conversion(source=source, target=tmp_path / "o.gpkg", **options))
    assert dict(kept.pixels) == {"forest": 81, "pond": 6}
    made = convert(Conversion(source=source, target=tmp_path / "p.gpkg", overlap="smallest", **options))
    assert dict(made.pixels) == {"forest": 75, "pond": 6}
    areas = gpd.read_file(made.path, layer="labels").dissolve("class_name").area / 100
    assert areas.to_dict() == {"forest": 75, "pond": 6}
    with pytest.raises(OptionError, match="leave overlap= out"):
        convert(Conversion(source=source, target=tmp_path / "q.tif", layered=True, overlap="last", **options))


def test_a_forgotten_class_field_lists_the_attributes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    like = write_codes(tmp_path / "image.tif", np.ones(GRID.shape, dtype=np.uint8))
    source = drawn(
        tmp_path / "l.gpkg", [shapely.box(2, 2, 5, 4), shapely.box(0, 0, 9, 9)], ["pond", "forest"]
    )
    words = r"one class, l; its attributes are class \(forest, pond\)"
    with pytest.raises(OptionError, match=f"{words}; name the one that holds the class with class_field=$"):
        turn(source, tmp_path / "o.tif", like=like)
    turn(source, tmp_path / "o.tif", like=like, unlabelled="background")
    assert "its attributes are class (forest, pond)" in caplog.text
    codes = turn(write_codes(tmp_path / "c.tif", np.full(GRID.shape, 4, np.uint8)), tmp_path / "c.gpkg")
    done = convert(Conversion(source=codes, target=tmp_path / "d.tif", like=like))
    assert done.pixels == (("old_field", 180),)


def test_any_raster_gives_its_grid(tmp_path: Path) -> None:
    """A paletted one, our own class maps among them; complex numbers, many bands."""
    source = drawn(tmp_path / "l.gpkg", [shapely.box(2, 2, 5, 4)], ["pond"])
    for name, dtype, count in (("p", "uint8", 1), ("q", "uint8", 2), ("c", "complex64", 1), ("i", "int8", 3)):
        profile = {"dtype": dtype, "count": count, "crs": UTM, "transform": GRID.transform}
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", height=12, width=15, **profile
        ) as file:
            if dtype == "uint8":
                file.write_colormap(1, {1: (9, 9, 9, 255)})
        made = turn(source, tmp_path / f"{name}_o.tif", like=tmp_path / f"{name}.tif", class_field="class")
        assert (read(made) == 1).sum() == 6


def test_messages_name_options(tmp_path: Path) -> None:
    like = write_codes(tmp_path / "image.tif", np.ones(GRID.shape, dtype=np.uint8))
    source = drawn(tmp_path / "l.gpkg", [shapely.box(2, 2, 5, 4)], ["pond"])
    options: dict[str, Any] = {"like": like, "legend": Legend.parse("forest,town")}
    table = turn(like, tmp_path / "t.csv")
    picture = turn(like, tmp_path / "t.png")
    for path, more in ((source, {"class_field": "class"}), (table, {}), (picture, {}), (source, {})):
        with pytest.raises(DataError, match="classes=|class_field=") as caught:
            turn(path, tmp_path / "o.tif", **options, **more)
        assert not {"data.classes", "data.ignore", "labels.tolerance"} & set(str(caught.value).split())


def test_whole_pixels_in_any_order_of_corners_are_exact(tmp_path: Path) -> None:
    """Holes, corners in the middle of edges, overlaps within a class, parts."""
    ring = shapely.Polygon(
        [(0, 0), (0, 5), (2, 5), (4, 5), (4, 0), (1, 0)], [[(1, 1), (2, 1), (2, 3), (1, 3)]]
    )
    shapes = [
        ring,
        shapely.box(3, 4, 8, 9),
        shapely.MultiPolygon([shapely.box(9, 0, 10, 1), shapely.box(12, 0, 15, 12)]),
    ]
    like = write_codes(tmp_path / "image.tif", np.ones(GRID.shape, dtype=np.uint8))
    source = drawn(tmp_path / "l.gpkg", shapes, ["a", "a", "b"])
    made = read(turn(source, tmp_path / "o.tif", like=like, class_field="class"))[0]
    assert ((made == 1).sum(), (made == 2).sum()) == (20 - 2 + 25 - 1, 1 + 36)


def test_overlaps_are_held_by_polygons_run_lengths_and_layers(tmp_path: Path) -> None:
    like = write_codes(tmp_path / "image.tif", np.ones(GRID.shape, dtype=np.uint8))
    source = drawn(tmp_path / "l.gpkg", [shapely.box(0, 0, 4, 4), shapely.box(2, 2, 6, 6)], ["a", "b"])
    table = turn(source, tmp_path / "o.csv", like=like, class_field="class")
    polygons = turn(table, tmp_path / "o.gpkg", like=like)
    layers = read(turn(polygons, tmp_path / "o.tif", like=like, layered=True))
    assert [(layers == n).sum() for n in (0, 1)] == [2 * 180 - 32, 32]
    with pytest.raises(DataError, match=r"4 px of several classes would have no class; pass lossy=True"):
        turn(table, tmp_path / "o.png", like=like)
    flat = read(turn(table, tmp_path / "p.tif", like=like, lossy=True))[0]
    assert (flat[2:4, 2:4] == 255).all()


def test_what_is_unknown_needs_a_raster(tmp_path: Path) -> None:
    codes = np.ones(GRID.shape, dtype=np.uint8)
    codes[:, :5], codes[0, :] = 2, 255
    start = write_codes(tmp_path / "a.tif", codes, legend=Legend.parse("rest,wood"))
    table = drawn(tmp_path / "l.gpkg", [shapely.box(0, 0, 4, 4), shapely.box(5, 5, 6, 7)], ["wood", None])
    made = turn(table, tmp_path / "b.tif", like=start, class_field="class", unlabelled="background")
    assert read(made)[0, 5:7, 5].tolist() == [255, 255]
    for name in ("c.csv", "c.gpkg", "c.png"):
        with pytest.raises(DataError, match="2 px that are unknown would be background"):
            turn(table, tmp_path / name, like=start, class_field="class", unlabelled="background")
    turn(table, tmp_path / "d.csv", like=start, class_field="class")


def test_rasters_on_other_grids(tmp_path: Path) -> None:
    def moved(cols: float, height: int = 12) -> Path:
        transform = GRID.transform @ Affine.translation(cols, 0)
        grid = Grid(height=height, width=15, transform=transform, crs=UTM)
        return write_codes(tmp_path / "m.tif", np.ones(grid.shape, dtype=np.uint8), grid)

    image = write_codes(tmp_path / "image.tif", np.ones(GRID.shape, dtype=np.uint8))
    for cols, words in (
        (0.3, "its pixels are not those of the image"),
        (2, "it reaches beyond the image"),
        (-2, "it reaches"),
    ):
        source = moved(cols)
        with pytest.raises(DataError, match=words):
            turn(source, tmp_path / "o.tif", like=image)
        source.unlink()
    smaller = read(turn(moved(0, 5), tmp_path / "o.tif", like=image))[0]
    assert (smaller[:5] == 1).all()
    assert (smaller[5:] == 255).all()


def test_masks_of_another_size(tmp_path: Path) -> None:
    image = write_codes(tmp_path / "image.tif", np.ones(GRID.shape, dtype=np.uint8))
    (tmp_path / "t.csv").write_text("Image_Label,EncodedPixels\nimage.tif_a,1 12\nimage.tif_b,\n")
    options: dict[str, Any] = {"like": image, "size": (6, 10), "content": (2, 0, 6, 15)}
    with pytest.raises(DataError, match="masks of 6 x 10 px lie on 6 x 15 px of the image"):
        turn(tmp_path / "t.csv", tmp_path / "o.tif", **options)
    made = read(turn(tmp_path / "t.csv", tmp_path / "o.tif", lossy=True, **options))[0]
    assert np.argwhere(made == 1).min(0).tolist() == [2, 0]
    assert np.argwhere(made == 1).max(0).tolist() == [7, 2]
    exact = turn(tmp_path / "t.csv", tmp_path / "p.tif", like=image, content=(2, 0, 6, 15), size=(6, 15))
    assert (read(exact)[0] == 1).sum() == 12


def test_a_style_and_names_go_with_a_raster(tmp_path: Path) -> None:
    source = write_codes(tmp_path / "a.tif", np.ones(GRID.shape, dtype=np.uint8))
    made = turn(source, tmp_path / "b.tif")
    for suffix, text in class_map_sidecars(LEGEND).items():
        beside = made.with_suffix(suffix) if suffix == ".qml" else Path(f"{made}{suffix}")
        assert beside.read_text() == text


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("o.shp", {}, "a Shapefile cuts .*; expected a name that ends in .gpkg"),
        ("o.tif", {"unlabelled": "sea"}, "'sea' is not a class for unlabelled pixels, expected one of water"),
        ("o.tif", {"layered": True, "unlabelled": "town"}, "leave unlabelled= out"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, target: str, options: Any, message: str) -> None:
    source = write_codes(tmp_path / "a.tif", np.ones(GRID.shape, dtype=np.uint8))
    with pytest.raises(OptionError, match=message):
        turn(source, tmp_path / target, **options)
    table = turn(source, tmp_path / "t.csv")
    with pytest.raises(OptionError, match="pass the image with like="):
        turn(table, tmp_path / "u.tif")
    with pytest.raises(OptionError, match="'a' means two of the classes"):
        turn(table, tmp_path / "u.tif", like=source, legend=Legend.parse("a,A"))


def test_pictures_in_the_colours_of_a_built_in_legend(tmp_path: Path) -> None:
    colors = np.array([c.rgb for c in BUILT_IN["deepglobe"].classes], dtype=np.uint8)
    with rasterio.open(
        tmp_path / "m.png", "w", driver="PNG", dtype="uint8", count=3, height=1, width=7
    ) as file:
        file.write(colors.T[:, None])
    made = turn(tmp_path / "m.png", tmp_path / "o.tif", legend=BUILT_IN["deepglobe"])
    assert read(made).ravel().tolist() == list(range(7))


def test_two_classes_of_one_colour_are_no_picture(tmp_path: Path) -> None:
    source = write_codes(tmp_path / "a.tif", np.ones(GRID.shape, dtype=np.uint8))
    with pytest.raises(DataError, match="1 class of the colour of another"):
        turn(source, tmp_path / "o.png", legend=Legend.parse("a=#010203,b=#010203"))


def test_an_output_is_not_replaced(tmp_path: Path) -> None:
    source = write_codes(tmp_path / "a.tif", np.ones(GRID.shape, dtype=np.uint8))
    turn(source, tmp_path / "b.gpkg")
    before = (tmp_path / "b.gpkg").read_bytes()
    with pytest.raises(OutputExistsError):
        turn(source, tmp_path / "b.gpkg")
    convert(Conversion(source=source, target=tmp_path / "b.gpkg"), overwrite=True)
    assert (tmp_path / "b.gpkg").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "b.gpkg"}


@pytest.mark.parametrize("form", few(["gpkg", "csv", "png"]))
def test_real_polygons_there_and_back(shared: Path, tmp_path: Path, form: str) -> None:
    folder = shared / "aberystwyth_sentinel2"
    like = folder / "scene.tif"
    start = turn(folder / "samples.gpkg", tmp_path / "a.tif", like=like, lossy=True)
    legend = Legend.parse("cls_forest_smpls,cls_grass_smpls,cls_urban_smpls,cls_water_smpls")
    field = {"class_field": "class_code"} if form == "gpkg" else {}
    there = turn(start, tmp_path / f"b.{form}", like=like, legend=legend)
    back = turn(there, tmp_path / "c.tif", like=like, legend=legend, **field)
    assert (read(back) == read(start)).all()
