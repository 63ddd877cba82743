"""What leaves is what came in: pixels, affine, codes; or an error, and nothing left behind."""

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rio_cogeo import cog_validate

from geoseg.errors import OutputError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster import verified_cog
from geoseg.raster.handles import open_quietly
from geoseg.raster.verified_cog import write_cog

LEGEND = Legend.parse("water,forest=#228B22,bare soil")
UTM = CRS.from_epsg(32633).to_wkt()


def _grid(height, width, transform=None, crs=UTM):
    transform = transform or Affine(10.0, 0.0, 399960.0, 0.0, -10.0, 5700000.0)
    return Grid(height=height, width=width, transform=transform, crs=crs)


def _codes(height, width, seed=0):
    codes = np.random.default_rng(seed).choice([1, 2, 3, 255], (height, width)).astype("uint8")
    return np.where(codes == 2, 3, codes)  # so that a mean of codes would be a class that is not there


def _write(path, codes, grid=None, legend=LEGEND, cuts=(7, 600), **tags):
    grid = grid or _grid(*codes.shape)
    write_cog(path, np.split(codes, cuts), grid, legend=legend, description="land cover", tags=tags)
    return path


def test_the_file_is_a_valid_cog_with_all_that_was_said(tmp_path):
    codes = _codes(1300, 1100)
    path = _write(tmp_path / "a.tif", codes, GEOSEG_VERSION="1", NOTE='<é&">')
    assert cog_validate(str(path), strict=True) == (True, [], [])
    with rasterio.open(path) as dataset:
        assert np.array_equal(dataset.read(1), codes)
        assert (dataset.nodata, dataset.compression.name, dataset.block_shapes) == (
            255,
            "deflate",
            [(512, 512)],
        )
        assert dataset.descriptions == ("land cover",)
        assert dataset.colormap(1)[2] == (0x22, 0x8B, 0x22, 255)
        assert (dataset.tags()["GEOSEG_VERSION"], dataset.tags()["NOTE"]) == ("1", '<é&">')
        assert '"name":"bare soil"' in dataset.tags()["GEOSEG_LEGEND"]
        assert dataset.crs == CRS.from_epsg(32633)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_overviews_hold_no_class_that_the_map_does_not(tmp_path):
    path = _write(tmp_path / "a.tif", _codes(1300, 1100))
    with rasterio.open(path) as dataset:
        levels = len(dataset.overviews(1))
    assert levels >= 2
    for level in range(levels):
        with rasterio.open(path, overview_level=level) as overview:
            assert set(np.unique(overview.read(1))) <= {1, 3, 255}


def test_averages_of_numbers_leave_no_data_out(tmp_path):
    confidence = np.full((1024, 1024), 255, "uint8")
    confidence[::2] = 100
    path = _write(tmp_path / "a.tif", confidence, legend=None, cuts=())
    with rasterio.open(path, overview_level=0) as overview:
        assert (overview.read(1) == 100).all()


@given(st.lists(st.integers(0, 90), max_size=6), st.integers(1, 90), st.integers(1, 20))
def test_any_cut_into_strips_gives_the_same_bytes(tmp_path, cuts, height, width):
    codes = _codes(height, width)
    one = _write(tmp_path / "one.tif", codes, cuts=()).read_bytes()
    assert _write(tmp_path / "two.tif", codes, cuts=sorted(cuts)).read_bytes() == one


_edges = st.floats(-1e3, 1e3).filter(lambda v: abs(v) > 1e-6)
_origins = st.floats(-1e7, 1e7)


@given(a=_edges, b=st.just(0.0) | _edges, c=_origins, d=st.just(0.0) | _edges, e=_edges, f=_origins,
       crs=st.sampled_from([UTM, None]), turned=st.booleans())  # fmt: skip
def test_the_affine_leaves_as_it_came_bit_for_bit(tmp_path, a, b, c, d, e, f, crs, turned):
    transform = Affine(b, a, c, e, d, f) if turned else Affine(a, b, c, d, e, f)
    grid = _grid(3, 2, transform, crs)
    path = _write(tmp_path / "a.tif", np.ones((3, 2), "uint8"), grid, cuts=())
    with open_quietly(path) as dataset:
        assert [v.hex() for v in dataset.transform] == [float(v).hex() for v in transform]
        assert (dataset.crs is None) == (crs is None)


def test_a_plain_grid_stays_plain(tmp_path):
    path = _write(tmp_path / "a.tif", np.ones((3, 2), "uint8"), _grid(3, 2, Affine.identity(), None), cuts=())
    with open_quietly(path) as dataset:
        assert (dataset.transform, dataset.crs) == (Affine.identity(), None)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((3, 3), "uint8"), ((3, 2), "int16"), ((2, 2), "uint8"), ((4, 2), "uint8")]
)
def test_strips_that_do_not_fill_the_grid_are_a_bug_of_the_caller(tmp_path, shape, dtype):
    with pytest.raises(ValueError, match="strip"):
        write_cog(
            tmp_path / "a.tif", [np.ones(shape, dtype)], _grid(3, 2), legend=LEGEND, description="", tags={}
        )
    assert not list(tmp_path.iterdir())


def test_what_breaks_in_the_strips_is_passed_on_and_nothing_is_left(tmp_path):
    def strips():
        yield np.ones((2, 2), "uint8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cog(tmp_path / "a.tif", strips(), _grid(3, 2), legend=LEGEND, description="", tags={})
    assert not list(tmp_path.iterdir())


def test_an_unwritable_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"none/a.tif: could not be written whole \(needs up to 14 bytes"):
        _write(tmp_path / "none" / "a.tif", np.ones((3, 2), "uint8"), cuts=())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("edge", [900, 1000, 1100, 1200, 1300, 1400, 1900, 2048, 2500])
def test_a_full_disk_is_an_error_or_the_file_is_whole(small_disk, edge):
    """GTiff alone raises nothing at several of these sizes and leaves files that cannot be read."""
    noise = np.random.default_rng(0).integers(0, 255, (edge, edge)).astype("uint8")
    path = small_disk / "a.tif"
    try:
        _write(path, noise, legend=None, cuts=())
    except OutputError as error:
        assert edge > 1000
        line = str(error)
    else:
        assert edge < 1400
        with rasterio.open(path) as dataset:
            assert np.array_equal(dataset.read(1), noise)
        return
    assert f"{path}: could not be written whole (needs up to {edge * edge * 7 // 3:,} bytes" in line
    assert not list(small_disk.iterdir())


def test_a_file_that_reads_back_differently_is_an_error(tmp_path):
    codes = _codes(30, 20)
    path = _write(tmp_path / "a.tif", codes, cuts=())
    target = verified_cog._Target(path=path, grid=_grid(30, 20), legend=LEGEND)
    target.verify(path, zlib.crc32(codes))
    codes[29, 19] ^= 1
    with pytest.raises(OutputError, match="reads back differently"):
        target.verify(path, zlib.crc32(codes))
    target.grid = _grid(30, 20, Affine.translation(1, 0))
    with pytest.raises(OutputError, match="cannot hold the affine"):
        target.verify(path, zlib.crc32(_codes(30, 20)))


PEAK = """
import sys
import numpy as np
from affine import Affine
from pathlib import Path
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.raster.cache import limited_cache
from geoseg.raster.scene import Scene
from geoseg.raster import verified_cog
verified_cog._CACHE = 4
path, height, width = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
strip = np.random.default_rng(0).integers(1, 4, (64, width)).astype("uint8").repeat(8, 0)
grid = Grid(height=height, width=width, transform=Affine(1, 0, 0, 0, -1, 0))
strips = (strip for _ in range(height // 512))
verified_cog.write_cog(path, strips, grid, legend=Legend.parse("a,b,c"), description="", tags={})
scene = Scene.open(path, palette_as_codes=True)
with limited_cache(4):
    for row in range(0, height, 512):
        scene.read(Window(row=row, col=0, height=512, width=width))
# Not ru_maxrss, which a process inherits from the one that started it.
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.long
def test_peak_memory_does_not_grow_with_the_height(tmp_path):
    """The cache is made so small that both rasters, of 24 and 80 MiB, overflow it."""
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")

    def peak(height):
        command = [sys.executable, "-c", PEAK, tmp_path / "a.tif", str(height), "2048"]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert peak(40960) - peak(12288) < 64 * 1024  # KiB; 107 MiB without the limit
