"""Law 10: a scene that does not fit the card is refused before the run, with the remedy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoseg.errors import MismatchError, ModelError, OptionError, SceneError
from geoseg.grid.window import Window
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import prepare_job
from geoseg.models.model import Model
from tests.oracle import pointwise_model


def write_scene(
    path: Path,
    pixels: np.ndarray,
    *,
    names: tuple[str, ...] = (),
    alpha: bool = False,
    scales: tuple[float, ...] = (),
    step: float = 10.0,
) -> Path:
    profile = {
        "driver": "GTiff", "count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2],
        "dtype": pixels.dtype, "crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, step, step),
    }  # fmt: skip
    if alpha:
        profile["ALPHA"] = "YES"
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
        for number, name in enumerate(names, start=1):
            dataset.set_band_description(number, name)
        if scales:
            dataset.scales = scales
    return path


def noise(bands: int, high: int = 255, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, (bands, 20, 30)).astype(dtype)


MODEL = pointwise_model(3)


def named(*names: str) -> Model:
    """Return a model of bands of these names."""
    model = pointwise_model(len(names))
    model.card = model.card.changed(bands=[{"name": name} for name in names])
    return model


def test_bands_are_found_by_name_whatever_their_order(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(4), names=("Red", "NIR", "green", "Blue"))
    job = prepare_job(path, MODEL, PredictOptions())
    assert job.source.bands == (1, 3, 4)
    assert job.match.notes == ()


def test_bands_without_names_are_taken_in_order_and_that_is_said(tmp_path: Path) -> None:
    job = prepare_job(write_scene(tmp_path / "s.tif", noise(3)), MODEL, PredictOptions())
    assert job.source.bands == (1, 2, 3)
    assert job.match.notes == ("its bands have no names: 1, 2, 3 are used as red, green, blue",)


def test_colour_tags_that_contradict_the_assumed_order_are_asked_about(tmp_path: Path) -> None:
    """GDAL tags every RGB picture: a model of blue, green, red must not take its bands as they stand."""
    model = named("blue", "green", "red")
    path = write_scene(tmp_path / "s.tif", noise(3))
    with pytest.raises(
        MismatchError, match="colour tags say red, green, blue, and the model would use"
    ) as got:
        prepare_job(path, model, PredictOptions())
    assert "bands=, by name or number, in this order" in str(got.value)
    assert not re.search(r"\d,\d", str(got.value)), "a list of numbers would be a guess"
    assert prepare_job(path, model, PredictOptions(bands=(3, 2, 1))).match.notes == ()
    assert prepare_job(path, model, PredictOptions(force=True)).source.bands == (1, 2, 3)
    other = named("B02", "B03", "B04")
    with pytest.raises(MismatchError, match="colour tags say"):
        prepare_job(path, other, PredictOptions())
    numbers = named("band_1", "band_2", "band_3")
    assert prepare_job(path, numbers, PredictOptions()).source.bands == (1, 2, 3)


def test_common_names_are_found_and_what_was_assumed_is_said(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(4), names=("B02", "B03", "B04", "B08"))
    job = prepare_job(path, MODEL, PredictOptions())
    assert job.source.bands == (3, 2, 1)
    assert job.match.notes == ("B04, B03, B02 are used as red, green, blue, by the numbers of Sentinel-2",)
    assert prepare_job(path, MODEL, PredictOptions(bands=("RED", "green", "B02"))).source.bands == (3, 2, 1)
    words = write_scene(
        tmp_path / "w.tif", noise(3), names=("Band 2 - Blue", "Band 3 - Green", "red (665 nm)")
    )
    assert prepare_job(words, MODEL, PredictOptions()).source.bands == (3, 2, 1)
    assert prepare_job(words, MODEL, PredictOptions()).match.notes == ()
    some = write_scene(tmp_path / "o.tif", noise(3, dtype="uint16"), names=("blue",))
    with pytest.raises(MismatchError, match=r"some of its bands are named blue, \?, \?"):
        prepare_job(some, pointwise_model(3, dtype="uint16"), PredictOptions())


def test_one_band_more_tagged_alpha_is_validity(tmp_path: Path) -> None:
    pixels = noise(4)
    pixels[3] = 255
    pixels[3, :5] = 0
    job = prepare_job(write_scene(tmp_path / "s.tif", pixels, alpha=True), MODEL, PredictOptions())
    assert (job.source.bands, job.source.validity_band) == ((1, 2, 3), 4)
    assert not job.source.read(Window(row=0, col=0, height=5, width=30)).valid.any()


def test_a_band_that_the_card_wants_is_never_validity(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(4), alpha=True)
    job = prepare_job(path, pointwise_model(4), PredictOptions())
    assert (job.source.bands, job.source.validity_band) == ((1, 2, 3, 4), None)


def test_what_is_an_alpha_is_not_taken_for_near_infrared_unasked(tmp_path: Path) -> None:
    """A picture of red, green, blue and alpha has as many bands as a model of red, green, blue and nir."""
    for low in (0, 255):
        pixels = noise(4)
        pixels[3], pixels[3, :5] = 255, low
        path = write_scene(tmp_path / "s.tif", pixels, alpha=True)
        words = (
            'band 4 is tagged alpha and looks like it, .* would use it as nir; .*alpha="none" if it is nir'
        )
        with pytest.raises(MismatchError, match=words):
            prepare_job(path, pointwise_model(4), PredictOptions())
        with pytest.raises(OptionError, match="alpha"):
            prepare_job(path, pointwise_model(4), PredictOptions(alpha=4))
        for options in (PredictOptions(alpha="none"), PredictOptions(bands=(1, 2, 3, 4))):
            source = prepare_job(path, pointwise_model(4), options).source
            assert (source.bands, source.validity_band) == ((1, 2, 3, 4), None)


def test_the_person_says_which_bands_are_meant(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(5))
    assert prepare_job(path, MODEL, PredictOptions(bands=(5, 1, 2))).source.bands == (5, 1, 2)
    with pytest.raises(OptionError, match="names 2 bands, the model expects 3"):
        prepare_job(path, MODEL, PredictOptions(bands=(5, 1)))


def test_the_wrong_number_of_bands_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(2))
    with pytest.raises(MismatchError, match=r"s\.tif: has 2 bands, the model expects 3 .*bands=, by name"):
        prepare_job(path, MODEL, PredictOptions(force=True))


def test_other_names_are_refused_unless_forced(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(3), names=("VV", "VH", "DEM"))
    with pytest.raises(MismatchError, match="its bands are VV, VH, DEM.*bands=, by name"):
        prepare_job(path, MODEL, PredictOptions())
    assert prepare_job(path, MODEL, PredictOptions(force=True)).source.bands == (1, 2, 3)


def test_another_type_is_refused_unless_forced(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(3, 4000, "uint16"))
    with pytest.raises(MismatchError, match="is uint16, the model expects uint8 from 0 to 255"):
        prepare_job(path, MODEL, PredictOptions())
    assert prepare_job(path, MODEL, PredictOptions(force=True)).match.notes


def test_values_beyond_the_range_are_refused(tmp_path: Path) -> None:
    model = pointwise_model(3, dtype="float32", value_range=(0, 1), scale=[1.0] * 3)
    path = write_scene(tmp_path / "s.tif", noise(3, 255).astype("float32"))
    with pytest.raises(MismatchError, match="the median of its values is .* the model expects 0 to 1"):
        prepare_job(path, model, PredictOptions())


def test_the_files_own_scale_replaces_the_cards(tmp_path: Path) -> None:
    """The same reflectance, stored twice: as card units and as tagged floats, gives the same input."""
    model = pointwise_model(3, dtype="uint16", value_range=(0, 10000), scale=[1e-4] * 3)
    stored = noise(3, 9000, "uint16")
    plain = prepare_job(write_scene(tmp_path / "a.tif", stored), model, PredictOptions())
    tagged = write_scene(tmp_path / "b.tif", (stored * 2).astype("uint16"), scales=(0.5e-4,) * 3)
    own = prepare_job(tagged, model, PredictOptions())
    inputs = []
    for job in (plain, own):
        chip = job.source.read(Window(row=0, col=0, height=20, width=30))
        gain, bias = np.array(job.match.gain)[:, None, None], np.array(job.match.bias)[:, None, None]
        inputs.append(chip.pixels * gain + bias)
    np.testing.assert_allclose(inputs[0], inputs[1], atol=1e-9)


@pytest.mark.parametrize(
    ("step", "said"), [(10.0, False), (11.9, False), (8.2, False), (7.9, True), (30.0, True), (2.5, True)]
)
def test_another_ground_sample_distance_is_said(tmp_path: Path, step: float, said: bool) -> None:
    model = pointwise_model(3, gsd_m=10.0)
    job = prepare_job(write_scene(tmp_path / "s.tif", noise(3), step=step), model, PredictOptions())
    assert any("trained on 10 m" in note for note in job.match.notes) == said


def test_bounds_crop_the_grid_by_whole_pixels(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(3))
    whole = prepare_job(path, MODEL, PredictOptions())
    west, _, _, north = whole.grid.bounds
    part = prepare_job(path, MODEL, PredictOptions(bounds=(west + 21, north - 99, west + 80, north - 10)))
    assert part.grid == whole.grid.cropped(Window(row=1, col=2, height=9, width=6))


def test_what_is_no_scene_or_no_model_is_one_line(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a raster")
    for scene, model, error in (
        (tmp_path / "missing.tif", MODEL, SceneError),
        (text, MODEL, SceneError),
        (write_scene(tmp_path / "s.tif", noise(3)), text, ModelError),
        (object(), MODEL, OptionError),
        (np.zeros(3), MODEL, SceneError),
    ):
        with pytest.raises(error) as caught:
            prepare_job(scene, model, PredictOptions())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"device": "tpu"},
        {"precision": "int4"},
        {"on_error": "skip"},
        {"batch_size": 0},
        {"bounds": (1, 2, 3)},
        {"bounds": (1, 2, 3, float("inf"))},
    ],
)
def test_unusable_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="expected"):
        PredictOptions(**options)  # type: ignore[arg-type]


def test_a_tile_of_no_size_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(3))
    with pytest.raises(OptionError, match="tile size is 0 px"):
        prepare_job(path, MODEL, PredictOptions(tile_size=0))


def test_options_become_plain_values() -> None:
    """The journal takes nothing else, and numpy's come from geopandas and rasterio."""
    options = PredictOptions(bounds=np.array([1, 2, 3, 4]), bands=np.array([3, 1]), clip="a.gpkg")  # type: ignore[arg-type]
    assert (options.bounds, options.bands) == ((1.0, 2.0, 3.0, 4.0), (3, 1))
    assert [type(value) for value in (*options.bounds, *options.bands)] == [float] * 4 + [int] * 2
    assert options.clip == Path("a.gpkg")


def test_values_below_the_range_are_refused_and_dark_ones_said(tmp_path: Path) -> None:
    model = pointwise_model(3, dtype="uint16", value_range=(1000, 10000), scale=[1e-4] * 3)
    low = write_scene(tmp_path / "low.tif", noise(3, 900, "uint16"))
    with pytest.raises(MismatchError, match="the median of its values is .* the model expects 1000 to 10000"):
        prepare_job(low, model, PredictOptions())
    dark = write_scene(tmp_path / "dark.tif", noise(3, 100, "uint16") + np.uint16(1000))
    assert any(
        "99 % of the values lie below 1180" in note
        for note in prepare_job(dark, model, PredictOptions()).match.notes
    )


def test_alpha_is_validity_also_where_bands_are_named(tmp_path: Path) -> None:
    pixels = noise(4)
    pixels[3] = np.where(pixels[3] > 100, 255, 0)
    path = write_scene(tmp_path / "s.tif", pixels, alpha=True)
    source = prepare_job(path, MODEL, PredictOptions(bands=(3, 2, 1))).source
    assert (source.bands, source.validity_band) == ((3, 2, 1), 4)
    source = prepare_job(path, MODEL, PredictOptions(bands=(4, 2, 1))).source
    assert (source.bands, source.validity_band) == ((4, 2, 1), None)


def test_a_smaller_tile_takes_half_of_itself_as_overlap_at_most(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", noise(3))
    tilings = [prepare_job(path, MODEL, PredictOptions(tile_size=size)).tiling for size in (4, 32)]
    assert [(tiling.size, tiling.overlap) for tiling in tilings] == [(4, 2), (32, 4)]
