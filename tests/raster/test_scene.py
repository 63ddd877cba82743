import pickle
from itertools import product

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import assume, given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp as Color
from rasterio.rpc import RPC

from geoseg.errors import OptionError, SceneError
from geoseg.grid.window import Window
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.handles import open_quietly
from geoseg.raster.scene import Scene

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


def _whole(scene):
    return scene.read(Window(row=0, col=0, height=scene.grid.height, width=scene.grid.width))


def _pixels(count, height, width, dtype="uint8", seed=0):
    values = np.random.default_rng(seed).integers(0, 100, (count, height, width))
    return values.astype(dtype)


def _padded(array, axis, before, after):
    """Pad one axis with numpy, each side on its own: reflected where one reflection is long enough."""
    array = np.moveaxis(array, axis, 0)
    rest = [(0, 0)] * (array.ndim - 1)
    mode = {n: "reflect" if n < len(array) else "edge" for n in (before, after)}
    lead = np.pad(array, [(before, 0), *rest], mode=mode[before])[:before]
    tail = np.pad(array, [(0, after), *rest], mode=mode[after])[len(array) :]
    return np.moveaxis(np.concatenate([lead, array, tail]), 0, axis)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    before=st.tuples(st.integers(-8, 12), st.integers(-8, 12)),
    after=st.tuples(st.integers(-8, 12), st.integers(-8, 12)),
)
def test_read_is_the_padded_array(write, shape, before, after):
    """Negative amounts leave out instead of padding."""
    pixels = _pixels(2, *shape)
    mask = pixels[0] > 50
    sizes = [n + b + a for n, b, a in zip(shape, before, after, strict=True)]
    assume(all(size > 0 for size in sizes))
    window = Window(row=-before[0], col=-before[1], height=sizes[0], width=sizes[1])
    chip = Scene.open(write("a.tif", pixels, mask=mask)).read(window)
    for found, array in ((chip.pixels, pixels), (chip.valid, mask)):
        for axis, b, a in ((-2, before[0], after[0]), (-1, before[1], after[1])):
            array = _padded(array, axis, max(0, b), max(0, a))
            array = np.take(array, range(max(0, -b), array.shape[axis] - max(0, -a)), axis)
        assert np.array_equal(found, array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_real_dtype_is_returned_as_stored(write, dtype):
    limits = np.finfo(dtype) if dtype.startswith("f") else np.iinfo(dtype)
    pixels = _pixels(2, 5, 7, dtype)
    pixels[0, 0, :2] = limits.min, limits.max
    chip = _whole(scene := Scene.open(write("a.tif", pixels)))
    assert scene.dtype == chip.pixels.dtype == np.dtype(dtype)
    assert np.array_equal(chip.pixels, pixels)
    assert chip.valid.all()


@pytest.mark.parametrize("bits", [1, 12])
def test_few_bits_are_widened(write, bits):
    dtype = "uint8" if bits == 1 else "uint16"
    pixels = (_pixels(1, 9, 9).astype(dtype) * 41) % 2**bits
    assert np.array_equal(_whole(Scene.open(write("a.tif", pixels.astype(dtype), nbits=bits))).pixels, pixels)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_are_refused_with_the_reason(write, dtype):
    with pytest.raises(SceneError, match=rf"band 1 is {dtype}, and networks take real numbers"):
        Scene.open(write("a.tif", _pixels(1, 3, 3, dtype)))


@pytest.mark.parametrize(
    ("driver", "name"), [("PNG", "a.png"), ("JP2OpenJPEG", "a.jp2"), ("JPEG", "a.jpg"), ("COG", "a.tif")]
)
def test_every_format_is_read_by_its_first_bytes_whatever_its_name(write, driver, name):
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    path = write(name, _pixels(3, 40, 50), driver=driver, **options)
    renamed = path.rename(path.with_suffix(".image"))
    scene = Scene.open(renamed)
    with open_quietly(renamed, driver=scene.driver) as dataset:
        assert np.array_equal(_whole(scene).pixels, dataset.read())
    assert scene.driver == ("GTiff" if driver == "COG" else driver)


def test_a_plain_image_has_a_grid_without_crs_and_no_warning(write):
    path = write("a.png", _pixels(3, 4, 5), driver="PNG", crs=None, transform=None)
    scene = Scene.open(path)
    assert scene.grid.transform == Affine.identity()
    assert scene.grid.crs is None
    assert "WGS 84" in (Scene.open(path, assume_crs="EPSG:4326").grid.crs or "")
    with pytest.raises(OptionError, match="CRS 'nonsense' is not known"):
        Scene.open(path, assume_crs="nonsense")


def test_assume_crs_leaves_a_crs_alone(write):
    path = write("a.tif", _pixels(1, 3, 3))
    assert Scene.open(path, assume_crs="EPSG:4326").grid == Scene.open(path).grid


def test_all_eight_orientations_and_shear_keep_their_affine(write):
    pixels = _pixels(1, 4, 6)
    turns = [Affine(a, 0, 1 / 3, 0, e, 4e6 + 0.1) for a, e in product((0.1, -0.1), repeat=2)]
    turns += [Affine(0, b, 1 / 3, d, 0, 4e6 + 0.1) for b, d in product((0.1, -0.1), repeat=2)]
    turns.append(Affine(0.1, 0.03, 5e5, -0.02, 0.7, 9.9e6))
    for transform in turns:
        scene = Scene.open(write("a.tif", pixels, transform=transform))
        assert scene.grid.transform == transform
        assert np.array_equal(_whole(scene).pixels, pixels)


def test_ground_control_points_are_refused_with_the_line_that_mends_them(write):
    points = [GroundControlPoint(r, c, 13 + c / 10, 52 - r / 10) for r, c in product((0, 3), repeat=2)]
    path = write(
        "a b.tif",
        _pixels(1, 4, 4),
        transform=None,
        crs=None,
        setup=lambda d: setattr(d, "gcps", (points, "EPSG:4326")),
    )
    with pytest.raises(SceneError, match=r"ground control points .* gdalwarp '.*a b.tif' 'a b_warped.tif'"):
        Scene.open(path)


def test_rpcs_are_refused_with_the_line_that_mends_them(write):
    one = [1.0] + [0.0] * 19
    rpc = RPC(
        height_off=0, height_scale=1, lat_off=52, lat_scale=1, line_off=2, line_scale=2, long_off=13,
        long_scale=1, samp_off=2, samp_scale=2, line_num_coeff=one, line_den_coeff=one, samp_num_coeff=one,
        samp_den_coeff=one, err_bias=None, err_rand=None,
    )  # fmt: skip
    path = write("a.tif", _pixels(1, 4, 4), transform=None, crs=None, setup=lambda d: setattr(d, "rpcs", rpc))
    with pytest.raises(SceneError, match="RPCs instead of a grid; fix it with: gdalwarp -rpc"):
        Scene.open(path)


def test_scale_and_offset_are_told_and_not_applied(write):
    def tag(dataset):
        dataset.scales, dataset.offsets = (1e-4, 2e-4, 1.0), (0.0, -0.1, 0.0)

    pixels = _pixels(3, 4, 4, "uint16")
    scene = Scene.open(write("a.tif", pixels, setup=tag)).select([2, 1], validity_band=None)
    assert (scene.scale, scene.offset) == ((2e-4, 1e-4), (-0.1, 0.0))
    assert np.array_equal(_whole(scene).pixels, pixels[[1, 0]])
    untagged = Scene.open(write("b.tif", pixels))
    assert (untagged.scale, untagged.offset) == (None, None)


def test_bands_by_number_and_name(write):
    def name(dataset):
        dataset.descriptions = ("Blue", "green", "GREEN")

    pixels = _pixels(3, 4, 4)
    scene = Scene.open(write("a.tif", pixels, setup=name))
    chosen = scene.select(["blue", 3, "2", "green"], validity_band=None)
    assert chosen.bands == (1, 3, 2, 2)
    assert chosen.names == ("Blue", "GREEN", "green", "green")
    assert chosen.count == 4
    assert np.array_equal(_whole(chosen).pixels, pixels[[0, 2, 1, 1]])
    for bad, reason in [
        (["nir"], "no band named 'nir'"),
        ([4], "no band 4"),
        ([0], "no band 0"),
        ([], "no band was"),
        (["Green"], "bands 2, 3 are all"),
    ]:
        with pytest.raises(OptionError, match=reason):
            scene.select(bad, validity_band=None)
    with pytest.raises(OptionError, match="band 1 is requested both as data and as validity"):
        scene.select([1], validity_band=1)


def test_bands_of_several_dtypes_share_the_one_that_holds_them_all(write, tmp_path):
    write("a.tif", np.full((1, 3, 3), 7, "uint8"), nodata=7)
    write("b.tif", np.full((1, 3, 3), -7.5, "float32"))
    band = (
        '<VRTRasterBand dataType="{0}" band="{1}">{3}<SimpleSource>'
        '<SourceFilename relativeToVRT="1">{2}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
    )
    vrt = tmp_path / "mixed.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="3" rasterYSize="3"><GeoTransform>0,1,0,9,0,-1</GeoTransform>'
        + band.format("Byte", 1, "a.tif", "")
        + band.format("Float32", 2, "b.tif", "<NoDataValue>3</NoDataValue>")
        + "</VRTDataset>"
    )  # fmt: skip
    scene = Scene.open(vrt)
    chip = _whole(scene)
    assert scene.dtype == chip.pixels.dtype == np.float32
    assert np.array_equal(chip.pixels[:, 0, 0], [7, -7.5])
    assert chip.valid.all()
    assert scene.select([1], validity_band=None).dtype == np.uint8


def test_a_crop_is_a_scene_of_its_own(write):
    pixels = _pixels(2, 20, 30)
    scene = Scene.open(write("a.tif", pixels))
    window = Window(row=3, col=5, height=9, width=11)
    part = scene.crop(window).crop(Window(row=1, col=2, height=4, width=5))
    alone = ArraySource.of(pixels[:, 4:8, 7:12])
    sticking_out = Window(row=-2, col=-3, height=8, width=20)
    assert np.array_equal(part.read(sticking_out).pixels, alone.read(sticking_out).pixels)
    assert part.grid == scene.grid.cropped(Window(row=4, col=7, height=4, width=5))
    with pytest.raises(OptionError, match="extends beyond"):
        scene.crop(Window(row=15, col=0, height=6, width=1))


def test_a_palette_is_an_image_only_when_asked(write):
    codes = np.array([[[1, 2, 3, 9]]], dtype="uint8")
    colors = {1: (255, 0, 0, 255), 2: (0, 255, 0, 0), 3: (1, 2, 3, 255), 9: (9, 9, 9, 255)}
    path = write("a.tif", codes, nodata=9, setup=lambda d: d.write_colormap(1, colors))
    with pytest.raises(SceneError, match="expand_palette=True"):
        Scene.open(path)
    scene = Scene.open(path, expand_palette=True)
    chip = _whole(scene)
    assert (scene.names, scene.dtype, scene.count) == (("red", "green", "blue"), np.dtype("uint8"), 3)
    assert chip.pixels[:, 0, [0, 2]].T.tolist() == [[255, 0, 0], [1, 2, 3]]
    assert np.array_equal(_whole(scene.select(["blue"], validity_band=None)).pixels, chip.pixels[2:])
    assert np.array_equal(_whole(Scene.open(path, palette_as_codes=True)).pixels, codes)


def test_transparent_palette_entries_are_not_valid(write):
    codes = np.array([[[0, 1, 2]]], dtype="uint8")
    colors = {0: (1, 1, 1, 255), 1: (2, 2, 2, 0), 2: (3, 3, 3, 128)}
    path = write("a.png", codes, driver="PNG", setup=lambda d: d.write_colormap(1, colors))
    chip = _whole(Scene.open(path, expand_palette=True))
    assert chip.valid.tolist() == [[True, False, True]]


def test_a_scene_is_a_value(write):
    scene = Scene.open(write("a.tif", _pixels(3, 8, 8)))
    copy = pickle.loads(pickle.dumps(scene))
    assert copy == scene
    assert hash(copy) == hash(scene)
    assert len(pickle.dumps(scene)) < 4000
    assert np.array_equal(_whole(copy).pixels, _whole(scene).pixels)


@pytest.mark.parametrize("compress", ["none", "deflate", "lzw", "zstd", "packbits", "jpeg"])
def test_a_truncated_file_never_reads_as_something_else(write, compress):
    path = write("a.tif", _pixels(1, 64, 64), compress=compress, tiled=True, blockxsize=16, blockysize=16)
    whole, pixels = path.read_bytes(), _whole(Scene.open(path)).pixels
    refused = []
    for length in np.linspace(1, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:length])
        try:
            assert np.array_equal(_whole(Scene.open(path)).pixels, pixels)
        except SceneError as error:
            refused.append(str(error))
    assert len(refused) > 15
    assert all(str(path) in line for line in refused)


@pytest.mark.parametrize(("driver", "name"), [("PNG", "a.png"), ("JP2OpenJPEG", "a.jp2"), ("JPEG", "a.jpg")])
def test_a_truncated_image_never_reads_as_something_else(write, driver, name):
    path = write(name, _pixels(3, 200, 200), driver=driver)
    whole, pixels = path.read_bytes(), _whole(Scene.open(path)).pixels
    for length in np.linspace(1, len(whole) - 20, 12).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(SceneError, match=name):
            assert np.array_equal(_whole(Scene.open(path)).pixels, pixels)


def test_a_damaged_block_is_named_by_its_window(write):
    path = write("a.tif", _pixels(1, 64, 64), compress="deflate", tiled=True, blockxsize=32, blockysize=32)
    raw = bytearray(path.read_bytes())
    with rasterio.open(path) as dataset:
        offset = (
            int(dataset.tags(1, ns="TIFF")["BLOCK_OFFSET_1_1"])
            if dataset.tags(1, ns="TIFF")
            else len(raw) - 400
        )
    raw[offset + 5 : offset + 300] = b"\xff" * 295
    path.write_bytes(raw)
    scene = Scene.open(path)
    with pytest.raises(SceneError, match=r"a.tif: damaged or incomplete at rows 32 to 63, cols 32 to 63"):
        scene.read(Window(row=32, col=32, height=32, width=32))
    assert scene.read(Window(row=0, col=0, height=32, width=32)).valid.all()


def test_the_shared_alpha_is_validity_and_the_bands_are_the_rest(write):
    pixels = _pixels(4, 6, 6)
    pixels[3] = np.arange(36).reshape(6, 6) % 3
    colors = [Color.red, Color.green, Color.blue, Color.alpha]
    path = write("a.tif", pixels, setup=lambda d: setattr(d, "colorinterp", colors))
    scene = Scene.open(path)
    assert (scene.bands, scene.alpha_band, scene.validity_band) == ((1, 2, 3), 4, 4)
    assert np.array_equal(_whole(scene).valid, pixels[3] > 0)
    as_data = scene.select([4, 1], validity_band=None)
    assert _whole(as_data).valid.all()
    assert np.array_equal(_whole(as_data).pixels, pixels[[3, 0]])


@pytest.mark.parametrize("bands", [1, 3])
def test_what_a_picture_lacks_is_an_error_every_time(tmp_path, bands):
    """The driver says so once, and shows grey from then on."""
    generator = np.random.default_rng(0)
    path = tmp_path / "cut.jpg"
    pixels = generator.integers(0, 256, (bands, 256, 64), dtype=np.uint8)
    with open_quietly(path, "w", driver="JPEG", count=bands, height=256, width=64, dtype="uint8") as file:
        file.write(pixels)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    scene = Scene.open(path)
    for _ in range(2):
        with pytest.raises(SceneError, match="damaged or incomplete at rows 0 to 255"):
            scene.read(Window(row=0, col=0, height=256, width=64))
        with pytest.raises(SceneError, match="damaged or incomplete at rows 247 to 255"):
            scene.read(Window(row=247, col=0, height=9, width=9))
    assert scene.read(Window(row=0, col=0, height=8, width=64)).pixels.std() > 10
