"""Maps with a band a class: what is written comes back, band by band, whatever the number of bands."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rio_cogeo import cog_validate

from geoseg.errors import ClassMapError, LegendError, OutputError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster import verified_cog
from geoseg.raster.classmap import LayeredMap, class_map_sidecars, read_class_map, read_map, write_cog
from geoseg.raster.scene import Scene

GRID = Grid(height=1300, width=700, transform=Affine(10.0, 0.0, 399960.0, 0.0, -10.0, 5700000.0))


def _layers(count, height=GRID.height, width=GRID.width, seed=0):
    """0 and 1 in coarse blocks, a different pattern for each class, no data where all have none."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 2, (count, -(-height // 7), -(-width // 7)), dtype="uint8")
    layers = coarse.repeat(7, 1).repeat(7, 2)[:, :height, :width].copy()
    layers[:, :20, :30] = 255
    return layers


def _write(path, layers, legend, cuts=(7, 600), grid=GRID, **tags):
    strips = np.split(layers, cuts, axis=1)
    write_cog(path, strips, grid, legend=legend, description=legend.names, tags=tags)
    return path


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_map_with_a_band_a_class_comes_back_band_by_band(tmp_path, count):
    legend = Legend.made_up(range(3, 3 + count))
    layers = _layers(count)
    path = _write(tmp_path / "a.tif", layers, legend, NOTE="x")
    assert cog_validate(str(path), strict=True) == (True, [], [])
    with rasterio.open(path) as dataset:
        assert np.array_equal(dataset.read(), layers)
        assert dataset.descriptions == legend.names
        assert dataset.nodata == 255
        names = [interpretation.name for interpretation in dataset.colorinterp]
        assert not {"alpha", "red", "palette"} & set(names)
        assert dataset.tags()["GEOSEG_TASK"] == "multilabel"
        levels = len(dataset.overviews(1))
    for level in range(levels):
        with rasterio.open(path, overview_level=level) as overview:
            assert set(np.unique(overview.read())) <= {0, 1, 255}
    scene = Scene.open(path)
    assert (scene.count, scene.alpha_band) == (count, None)
    found = read_map(path)
    assert isinstance(found, LayeredMap)
    assert (found.legend, found.grid) == (legend, GRID)
    for index in range(count):
        values, valid = found.layer(index)
        np.testing.assert_array_equal(valid, layers[index] != 255)
        np.testing.assert_array_equal(values[valid], layers[index][valid])


def test_any_cut_into_strips_gives_the_same_bytes(tmp_path):
    layers, legend = _layers(3, 90, 40), Legend.made_up([1, 2, 3])
    grid = Grid(height=90, width=40, transform=Affine.identity())
    one = _write(tmp_path / "one.tif", layers, legend, (), grid).read_bytes()
    assert _write(tmp_path / "two.tif", layers, legend, (1, 5, 80), grid).read_bytes() == one


def test_averages_of_each_bands_numbers_leave_no_data_out(tmp_path):
    confidence = np.full((2, 1024, 1024), 255, "uint8")
    confidence[0, ::2], confidence[1, 1::2] = 100, 30
    grid = Grid(height=1024, width=1024, transform=Affine.identity())
    write_cog(tmp_path / "a.tif", [confidence], grid, legend=None, description=["a", "b"], tags={})
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as overview:
        assert (overview.read() == np.array([100, 30])[:, None, None]).all()
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert "GEOSEG_TASK" not in dataset.tags()


def test_strips_of_other_bands_are_a_bug_of_the_caller(tmp_path):
    grid = Grid(height=3, width=2, transform=Affine.identity())
    for shape in ((3, 2), (1, 3, 2), (2, 3, 3)):
        with pytest.raises(ValueError, match=r"expected \(2, rows, 2\) uint8"):
            write_cog(
                tmp_path / "a.tif",
                [np.ones(shape, "uint8")],
                grid,
                legend=Legend.made_up([1, 2]),
                description=["a", "b"],
                tags={},
            )
    assert not list(tmp_path.iterdir())


def test_a_pixel_of_any_band_that_reads_back_differently_is_an_error(tmp_path):
    layers, legend = _layers(3, 30, 20), Legend.made_up([1, 2, 3])
    grid = Grid(height=30, width=20, transform=Affine.identity())
    path = _write(tmp_path / "a.tif", layers, legend, (), grid)
    target = verified_cog._Target(path=path, grid=grid, legend=legend, names=legend.names, layered=True)
    target.verify(path, verified_cog._checksum(layers, 0))
    for band in range(3):
        other = layers.copy()
        other[band, 29, 19] ^= 1
        with pytest.raises(OutputError, match="reads back differently"):
            target.verify(path, verified_cog._checksum(other, 0))


def test_it_is_no_class_map_and_says_so(tmp_path):
    path = _write(tmp_path / "a.tif", _layers(1), Legend.made_up([5]))
    with pytest.raises(ClassMapError, match="is a multilabel map with a band for each of 1 class"):
        read_class_map(path)


def test_a_legend_of_ones_own_names_layers_by_their_codes(tmp_path):
    known = Legend.made_up([5, 7])
    path = _write(tmp_path / "a.tif", _layers(2), known)
    own = Legend.of([(7, "snow", "#ffffff"), (9, "ice", None)])
    assert read_map(path, legend=own).legend == known.relabelled(own)
    assert read_map(path, legend=own).legend.names == ("class 5", "snow")
    with pytest.raises(LegendError, match="names codes 1, 2, expected some of 5, 7"):
        read_map(path, legend=Legend.parse("a,b"))


@pytest.mark.parametrize(("task", "bands"), [("multilabel", 3), ("binary", 2)])
def test_a_tag_that_does_not_fit_the_file_is_one_line(write, task, bands):
    path = write(
        "a.tif",
        np.zeros((bands, 4, 4), "uint8"),
        setup=lambda d: d.update_tags(GEOSEG_TASK=task, GEOSEG_LEGEND=_two()),
    )
    with pytest.raises(
        ClassMapError, match=rf"is tagged GEOSEG_TASK {task} with {bands} bands and 2 classes"
    ):
        read_map(path)


def _two():
    from geoseg.raster.legend_file import legend_to_json

    return legend_to_json(Legend.parse("a,b"))


def test_gdal_reads_the_names_of_every_band_beside_the_map(tmp_path):
    legend = Legend.parse("cloud & fog,snow")
    path = _write(tmp_path / "a.tif", _layers(2), legend)
    (tmp_path / "a.tif.aux.xml").write_text(class_map_sidecars(legend, layered=True)[".aux.xml"])
    rasterio.shutil.copy(path, tmp_path / "a.vrt", driver="VRT")
    text = (tmp_path / "a.vrt").read_text()
    assert "<Category>not snow</Category>" in text
    assert text.count("<Category>") == 4
    assert isinstance(read_map(path), LayeredMap)


PEAK = """
import sys
import numpy as np
from affine import Affine
from pathlib import Path
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster import verified_cog
verified_cog._CACHE = 4
path, height, width, count = Path(sys.argv[1]), int(sys.argv[2]), 512, 3
legend = Legend.made_up(range(count))
strip = np.random.default_rng(0).integers(0, 2, (count, 64, width)).astype("uint8").repeat(8, 1)
grid = Grid(height=height, width=width, transform=Affine(1, 0, 0, 0, -1, 0))
strips = (strip for _ in range(height // 512))
verified_cog.write_cog(path, strips, grid, legend=legend, description=legend.names, tags={})
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.long
def test_peak_memory_does_not_grow_with_the_height(tmp_path):
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")

    def peak(height):
        command = [sys.executable, "-c", PEAK, tmp_path / "a.tif", str(height)]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert peak(24576) - peak(8192) < 32 * 1024  # KiB; 57 MiB and more without the limit
