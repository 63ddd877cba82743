"""torchgeo's datasets as images and labels to train on, with the versions of both interpreters."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.transform import from_origin
from torchgeo.datasets import RasterDataset, VectorDataset

from geoseg.datasets import torchgeo_parts
from geoseg.datasets.dataset import Channels, Chips, Pair
from geoseg.datasets.from_torchgeo import entries_of
from geoseg.datasets.loading import loader
from geoseg.datasets.sampler import RandomSampler
from geoseg.datasets.statistics import measure
from geoseg.errors import DataError, OptionError
from geoseg.grid.window import Window
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.label import UNKNOWN, Meanings
from geoseg.raster.declared import Declared
from geoseg.raster.scene import Scene

# What torchgeo 0.10 itself does that pandas 3 wants otherwise; and what Python
# 3.12 says of forking a process with threads, of which none is at work here.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}:DeprecationWarning")
    for message in (
        "Use geopandas.GeoSeries.sample_points instead",
        "Use torchgeo.samplers.utils.convolution_arithmetic instead",
        "The inplace keyword in GeoDataFrame.drop is deprecated",
        "This process .* is multi-threaded, use of fork",
    )
]

RANDOM = np.random.default_rng(8)
SHAPE = (70, 90)
CHANNELS = Channels(codes=(1, 2, 3))
MEANINGS = Meanings(codes=(1, 2, 3), code_of={1: 1, 2: 2, 3: 3})


class Images(RasterDataset):  # type: ignore[misc]
    filename_glob = "image_*.tif"


class Codes(RasterDataset):  # type: ignore[misc]
    filename_glob = "codes_*.tif"
    is_image = False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images apart from each other with their codes, and polygons over the first."""
    path = tmp_path_factory.mktemp("files")
    for name, at_col in (("a", 0), ("b", 200)):
        profile = {
            "driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "crs": CRS.from_epsg(32652),
            "transform": from_origin(500_000 + 10 * at_col, 4_000_000, 10, 10),
        }  # fmt: skip
        with rasterio.open(path / f"image_{name}.tif", "w", count=3, dtype="uint16", **profile) as file:
            file.write(RANDOM.integers(1, 5000, (3, *SHAPE), dtype=np.uint16))
        with rasterio.open(path / f"codes_{name}.tif", "w", count=1, dtype="uint8", **profile) as file:
            file.write(RANDOM.integers(1, 4, SHAPE, dtype=np.uint8), 1)
    polygons = [shapely.Point(500_000 + x, 4_000_000 - y).buffer(90) for x, y in ((200, 200), (500, 400))]
    frame = gpd.GeoDataFrame({"class": [1, 3]}, geometry=polygons, crs=CRS.from_epsg(32652).to_wkt())
    frame.to_file(path / "labels.gpkg")
    return path


def pairs_of(dataset: Any, channels: Channels, meanings: Meanings | None = None) -> tuple[Pair, ...]:
    """The pairs of a torchgeo dataset; its masks are codes unless `meanings` says otherwise."""
    meanings = meanings or Meanings(codes=channels.codes, code_of={code: code for code in channels.codes})
    return tuple(
        Pair(
            name=entry.key,
            image=entry.image,
            labels=entry.labels.opened(meanings, layered=channels.task == "multilabel"),
            channels=channels,
        )
        for entry in entries_of(dataset)
    )


def stored(folder: Path, name: str) -> npt.NDArray[Any]:
    with rasterio.open(folder / name) as file:
        return np.asarray(file.read())


def opened(folder: Path, name: str) -> Pair:
    """The pair as geoseg opens the files themselves."""
    scene = Scene.open(folder / f"image_{name}.tif")
    labels = CodedLabels.open(folder / f"codes_{name}.tif", scene.grid, MEANINGS)
    return Pair(name=name, image=scene, labels=labels, channels=CHANNELS, gain=(1.0,) * 3, bias=(0.0,) * 3)


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """The pairs as torchgeo has them, and as geoseg does."""
    theirs = pairs_of(Images(folder) & Codes(folder), CHANNELS)
    return theirs, tuple(opened(folder, name) for name in "ab")


WINDOWS = st.builds(
    Window, row=st.integers(-20, 80), col=st.integers(-20, 100), height=st.integers(1, 60), width=st.integers(1, 60)
)  # fmt: skip


@given(WINDOWS, st.integers(0, 1))
def test_law_pixels_and_labels_are_those_of_the_files(
    both: tuple[tuple[Pair, ...], tuple[Pair, ...]], window: Window, number: int
) -> None:
    pair, ours = (pairs[number] for pairs in both)
    chip, expected = pair.image.read(window), ours.image.read(window)
    assert pair.grid.shape == SHAPE
    assert pair.grid.transform.almost_equals(ours.grid.transform)
    assert np.array_equal(chip.pixels, expected.pixels)
    assert np.array_equal(chip.valid, expected.valid)
    assert np.array_equal(pair.mask(window), ours.mask(window))


def test_names_bands_and_parts_are_chosen_as_of_a_scene(folder: Path) -> None:
    class Named(Images):
        all_bands = ("blue", "green", "red")

    first, second = (entry.image for entry in entries_of(Named(folder) & Codes(folder)))
    first = first.declared(Declared(nodata=((float(stored(folder, "image_a.tif")[2, 3, 4]),),)))
    assert (first.path, second.path) == ("image_a", "image_b")
    assert first.names == ("blue", "green", "red")
    chosen = first.select(["red", "blue"], validity_band=2).crop(Window(row=2, col=3, height=20, width=30))
    chip = chosen.read(Window(row=0, col=0, height=20, width=30))
    expected = stored(folder, "image_a.tif")[[2, 0], 2:22, 3:33]
    assert np.array_equal(chip.pixels, expected)
    assert np.array_equal(chip.valid, (expected != expected[0, 1, 1]).any(axis=0)), (
        "no data where all bands are"
    )
    with pytest.raises(OptionError, match="extends beyond"):
        first.crop(Window(row=60, col=0, height=20, width=20))
    with pytest.raises(OptionError, match="as data and as validity"):
        first.select([1, 2], validity_band=2)


def test_polygons_are_labels_and_the_rest_is_unlabelled(folder: Path) -> None:
    dataset = Images(folder) & VectorDataset(folder / "labels.gpkg", label_name="class")
    (pair,) = pairs_of(dataset, CHANNELS)
    frame = gpd.read_file(folder / "labels.gpkg")
    on_image = from_origin(500_000, 4_000_000, 10, 10)
    # Labels are known within the bounds of their file; torchgeo cuts to them, we to whole pixels in them.
    west, south, east, north = frame.total_bounds
    rows = slice(int(np.ceil((4_000_000 - north) / 10)), int((4_000_000 - south) / 10))
    cols = slice(int(np.ceil((west - 500_000) / 10)), int((east - 500_000) / 10))
    truth = rasterize(
        zip(frame.geometry, frame["class"], strict=True), out_shape=SHAPE, transform=on_image, fill=UNKNOWN
    )
    whole = Window(row=0, col=0, height=pair.grid.height, width=pair.grid.width)
    assert np.array_equal(pair.labels.read(whole), truth[rows, cols])
    assert np.array_equal(pair.image.read(whole).pixels, stored(folder, "image_a.tif")[:, rows, cols])
    background = Meanings(codes=(1, 2, 3), code_of={1: 1, 3: 3}, unlabelled=2)
    (other,) = pairs_of(dataset, CHANNELS, background)
    assert np.array_equal(other.labels.read(whole), np.where(truth == UNKNOWN, 2, truth)[rows, cols])
    found = measure([other])
    assert found.pixels == tuple((other.labels.read(whole) == code).sum() for code in (1, 2, 3))


def test_labels_of_another_crs_are_unknown_where_they_do_not_reach(folder: Path, tmp_path: Path) -> None:
    frame = gpd.read_file(folder / "labels.gpkg")
    frame.to_crs(32651).to_file(tmp_path / "labels.gpkg")
    dataset = Images(folder) & VectorDataset(
        tmp_path / "labels.gpkg", label_name="class", task="semantic_segmentation"
    )
    (pair,) = pairs_of(dataset, CHANNELS)
    whole = Window(row=0, col=0, height=pair.grid.height, width=pair.grid.width)
    background = Meanings(codes=(1, 2, 3), code_of={1: 1, 3: 3}, unlabelled=2)
    (other,) = pairs_of(dataset, CHANNELS, background)
    codes = other.labels.read(whole)
    covered = rasterize(
        [dataset.index.geometry.iloc[0]], out_shape=whole.shape, transform=pair.grid.transform
    )
    assert not covered.all(), "the bounds of the labels lie askew on the image"
    assert np.array_equal(codes == UNKNOWN, covered == 0)
    assert {1, 2, 3} == set(np.unique(codes[covered > 0]))


def test_layers_of_several_classes(tmp_path: Path, write_raster: Any) -> None:
    layers = RANDOM.integers(0, 2, (2, *SHAPE), dtype=np.uint8)
    write_raster(tmp_path / "image_a.tif", RANDOM.integers(1, 9, (1, *SHAPE), dtype=np.uint8))
    write_raster(tmp_path / "codes_a.tif", layers)
    channels = Channels(codes=(4, 6), task="multilabel")
    window = Window(row=-3, col=50, height=40, width=60)
    (pair,) = pairs_of(Images(tmp_path) & Codes(tmp_path), channels)
    codes = pair.labels.read(window)
    assert np.array_equal(codes[:, 3:, :40], layers[:, :37, 50:])
    assert (codes[:, :3] == UNKNOWN).all()
    assert (codes[..., 40:] == UNKNOWN).all()
    with pytest.raises(DataError, match="expected 3 of 0, 1"):
        pairs_of(Images(tmp_path) & Codes(tmp_path), Channels(codes=(4, 6, 7), task="multilabel"))
    with pytest.raises(DataError, match="2 layers of labels, expected one"):
        pairs_of(Images(tmp_path) & Codes(tmp_path), CHANNELS)


def test_what_is_no_pair_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="has no mask"):
        pairs_of(Images(folder), CHANNELS)
    with pytest.raises(DataError, match="has no image"):
        entries_of(Codes(folder))
    pair, _ = pairs_of(
        Images(folder) & Codes(folder), CHANNELS, Meanings(codes=(1, 2), code_of={1: 1, 2: 2, 3: 2})
    )
    assert set(np.unique(pair.labels.read(Window(row=0, col=0, height=70, width=90)))) == {1, 2}
    with pytest.raises(DataError, match="holds label values 3, expected 1, 2"):
        pair, _ = pairs_of(Images(folder) & Codes(folder), Channels(codes=(1, 2)))
        pair.labels.read(Window(row=0, col=0, height=70, width=90))

    def halved(sample: dict[str, Any]) -> dict[str, Any]:
        return sample | {"image": sample["image"][..., ::2, ::2]}

    image, _ = (entry.image for entry in entries_of(Images(folder, transforms=halved)))
    with pytest.raises(DataError, match=r"shape \(3, 5, 10\), expected 10 x 20 px"):
        image.read(Window(row=0, col=0, height=10, width=20))


def test_threads_and_forked_processes_have_open_files_of_their_own(folder: Path) -> None:
    """If torchgeo keeps open files in another way, or joined datasets elsewhere than in ``datasets``: threads and
    workers read each other's pixels.
    """
    dataset = Images(folder) & Codes(folder)
    here = torchgeo_parts._own(dataset)
    assert torchgeo_parts._own(dataset) is here
    assert here is not dataset
    assert here.datasets[0] is not dataset.datasets[0]
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: torchgeo_parts._own(dataset) is not here).result()
    receiving, sending = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: sending.send(torchgeo_parts._own(dataset) is not here)
    )
    child.start()
    assert receiving.recv()
    child.join()


def test_forked_workers_open_torchgeos_files_anew(folder: Path) -> None:
    pairs = pairs_of(Images(folder) & Codes(folder), CHANNELS)
    pairs = tuple(
        Pair(name=p.name, image=p.image, labels=p.labels, channels=CHANNELS, gain=(1.0,) * 3, bias=(0.0,) * 3)
        for p in pairs
    )
    sampler = RandomSampler(pairs, 40, 12, seed=1)
    here = list(loader(Chips(pairs), sampler, 3))
    there = list(loader(Chips(pairs), sampler, 3, workers=2, start_method="fork"))
    ours = tuple(opened(folder, name) for name in "ab")
    for one, other, own in zip(here, there, loader(Chips(ours), sampler, 3), strict=True):
        for key in ("image", "mask", "valid", "scene"):
            assert torch.equal(one[key], other[key])
            assert torch.equal(one[key], own[key])
