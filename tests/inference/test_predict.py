"""`predict` on real files: laws 6, 7, 9 and 12."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import xarray

import geoseg
from geoseg.errors import GeosegError, OptionError, OutputExistsError, ResumeError, SceneError
from geoseg.inference import machine
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import PredictOutputs, Writing, predict_file
from geoseg.inference.prepare import prepare_job
from geoseg.storage.journal import JOURNAL
from geoseg.storage.run_record import RunRecord
from tests.oracle import pointwise_model

FP32 = {"precision": "fp32"}


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, scene_file: Path, model_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    geoseg.predict(
        scene_file,
        model_file,
        **FP32,
        output=folder / "c.tif",
        confidence=folder / "p.tif",
    )
    return folder / "c.tif"


def test_the_class_map_lies_on_the_scenes_grid_bit_for_bit(written: Path, scene_file: Path) -> None:
    with rasterio.open(written) as ours, rasterio.open(scene_file) as scene:
        assert ours.transform == scene.transform
        assert ours.crs == scene.crs
        assert ours.shape == scene.shape
        assert (ours.dtypes, ours.nodata, ours.descriptions) == (("uint8",), 255, ("land cover",))
        valid = (scene.read() != 0).all(axis=0)
        codes = ours.read(1)
        colors = ours.colormap(1)
    np.testing.assert_array_equal(codes != 255, valid)
    assert set(np.unique(codes)) <= {1, 2, 3, 255}
    assert colors[2][:3] == (0x22, 0x8B, 0x22)
    assert names(written.parent) == ["c.qml", "c.tif", "c.tif.aux.xml", "c.tif.run.json", "p.tif"]


def test_files_and_arrays_say_the_same(written: Path, scene_file: Path, model_file: Path) -> None:
    result = geoseg.predict(scene_file, model_file, **FP32)
    assert isinstance(result, xarray.Dataset)
    with rasterio.open(written) as file, rasterio.open(written.with_name("p.tif")) as confidence:
        np.testing.assert_array_equal(result["landcover"].to_numpy(), file.read(1))
        stored = confidence.read(1)
        assert result.rio.transform() == file.transform
        assert result.rio.crs == file.crs
    expected = np.where(stored == 255, np.nan, stored.astype(np.float32) / 254)
    np.testing.assert_array_equal(result["confidence"].to_numpy(), expected.astype(np.float32))
    attributes = result["landcover"].attrs
    np.testing.assert_array_equal(attributes["flag_values"], [1, 2, 3])
    assert attributes["flag_meanings"] == "water forest town"


def test_a_dataarray_is_read_as_its_file_is(scene_file: Path, model_file: Path, written: Path) -> None:
    import rioxarray

    with rioxarray.open_rasterio(scene_file) as array:
        result = geoseg.predict(array, geoseg.Model.open(model_file), **FP32)
    with rasterio.open(written) as file:
        np.testing.assert_array_equal(result["landcover"].to_numpy(), file.read(1))
        assert result.rio.transform() == file.transform


def test_a_plain_array_needs_no_georeference(model_file: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 70, 65), dtype=np.uint8)
    result = geoseg.predict(pixels, model_file, **FP32)
    assert result["landcover"].shape == (70, 65)
    assert result.rio.crs is None


def test_equal_work_gives_equal_bytes(
    written: Path, scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    geoseg.predict(
        scene_file,
        model_file,
        **FP32,
        output=tmp_path / "c.tif",
        confidence=tmp_path / "p.tif",
    )
    for name in ("c.tif", "p.tif", "c.qml", "c.tif.aux.xml"):
        assert (tmp_path / name).read_bytes() == written.with_name(name).read_bytes()


def test_run_json_says_what_was_done(written: Path) -> None:
    report = json.loads(Path(f"{written}.run.json").read_text())
    assert sum(row["pixels"] for row in report["classes"]) == 150 * 200 - 40 * 30
    assert report["settings"]["precision"] == "fp32"
    assert report["damaged"] == []
    assert report["peak_memory_mb"] > 0
    # What was compiled before the first tile is not taken off the time of the tiles.
    assert report["seconds"]["predict"] > 0
    assert 0 < report["megapixels_per_second"] < 1e4


def test_a_part_is_the_part_of_its_grid(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    with rasterio.open(scene_file) as scene:
        x, y = scene.transform @ (60, 60)
        options = {"bounds": (x, y - 300, x + 300, y)}
        geoseg.predict(scene_file, model_file, **options, output=tmp_path / "part.tif")
        with rasterio.open(tmp_path / "part.tif") as part:
            col, row = ~scene.transform @ (part.transform.c, part.transform.f)
            assert (round(col, 6), round(row, 6)) == (round(col), round(row))
            assert part.shape < scene.shape
            assert tuple(part.transform)[0:2] == tuple(scene.transform)[0:2]


def test_clip_polygons_say_where(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    import geopandas
    from shapely.geometry import Point

    with rasterio.open(scene_file) as scene:
        centre = Point(scene.transform @ (120, 90))
        area = geopandas.GeoDataFrame(geometry=[centre.buffer(250)], crs=scene.crs).to_crs("EPSG:4326")
        area.to_file(tmp_path / "area.gpkg")
        inside = rasterio.features.rasterize(
            area.to_crs(scene.crs).geometry, out_shape=scene.shape, transform=scene.transform, dtype="uint8"
        )
    options = {"clip": tmp_path / "area.gpkg", "precision": "fp32"}
    codes = geoseg.predict(scene_file, model_file, **options)["landcover"].to_numpy()
    np.testing.assert_array_equal(codes != 255, inside == 1)


def test_a_clip_that_misses_the_scene_is_refused(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    import geopandas
    from shapely.geometry import box

    geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs="EPSG:4326").to_file(tmp_path / "far.gpkg")
    with pytest.raises(OptionError, match="outside the scene"):
        geoseg.predict(scene_file, model_file, clip=tmp_path / "far.gpkg")


class Stop(Exception):
    """What a test does instead of pulling the plug; the real plug is pulled in tests/faults."""


def interrupt(
    job_args: tuple[Any, Any],
    output: Path,
    after: int,
    *,
    options: dict[str, Any] = FP32,
    writing: Writing | None = None,
) -> None:
    calls = 0

    def progress(done: int, total: int, label: str) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Stop

    with pytest.raises(Stop) as caught:
        job = prepare_job(*job_args, PredictOptions(**options))
        predict_file(job, PredictOutputs(classes=output), writing or Writing(), progress)
    # While the error is held, and with it the frames it went through: all that was begun has been ended.
    assert caught.value is not None
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("geoseg-")]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_the_same_command_goes_on_and_gives_the_same_bytes(
    written: Path, scene_file: Path, model_file: Path, tmp_path: Path, after: int
) -> None:
    output = tmp_path / "c.tif"
    interrupt((scene_file, model_file), output, after)
    assert names(tmp_path) == ["c.tif.geoseg-part"]
    geoseg.predict(scene_file, model_file, **FP32, output=output)
    assert output.read_bytes() == written.read_bytes()
    assert names(tmp_path) == ["c.qml", "c.tif", "c.tif.aux.xml", "c.tif.run.json"]


def test_a_gpu_that_dies_keeps_what_is_finished(
    written: Path, scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    """A dead CUDA context comes as a RuntimeError of the network, which is not tried again."""
    output = tmp_path / "c.tif"
    model = geoseg.Model.open(model_file)
    calls = 0

    class Dies(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model.network

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls > 2:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            found: torch.Tensor = self.inner(inputs)
            return found

    options = {"precision": "fp32", "batch_size": 1}
    with pytest.raises(RuntimeError, match="CUDA error"):
        geoseg.predict(scene_file, geoseg.Model(model.card, Dies()), **options, output=output)
    assert calls == 3
    assert not output.exists()
    geoseg.predict(scene_file, model_file, **options, output=output)
    assert names(tmp_path) == ["c.qml", "c.tif", "c.tif.aux.xml", "c.tif.run.json"]


def test_a_damaged_strip_is_computed_again(
    written: Path, scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "c.tif"
    interrupt((scene_file, model_file), output, 2)
    strip = tmp_path / "c.tif.geoseg-part" / "strip-000000"
    data = bytearray(strip.read_bytes())
    data[100] ^= 1
    strip.write_bytes(data)
    geoseg.predict(scene_file, model_file, **FP32, output=output)
    assert output.read_bytes() == written.read_bytes()


def test_another_command_does_not_go_on_with_it(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "c.tif"
    interrupt((scene_file, model_file), output, 1)
    journal = (tmp_path / "c.tif.geoseg-part" / JOURNAL).read_bytes()
    other = {"precision": "fp32", "overlap": 8}
    with pytest.raises(
        ResumeError, match=r"work with overlap not given, .*this command has overlap 8, .*resume=False"
    ):
        geoseg.predict(scene_file, model_file, **other, output=output)
    assert (tmp_path / "c.tif.geoseg-part" / JOURNAL).read_bytes() == journal
    geoseg.predict(scene_file, model_file, **other, output=output, resume=False)
    assert output.exists()


def test_existing_outputs_stay_unless_told(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "c.tif").write_text("mine")
    (tmp_path / "p.tif").write_text("mine")
    for output, confidence in (("c.tif", None), ("new.tif", "p.tif")):
        for _ in range(2):  # a refusal leaves nothing behind that would let the second try pass
            with pytest.raises(OutputExistsError):
                geoseg.predict(
                    scene_file,
                    model_file,
                    output=tmp_path / output,
                    confidence=confidence and tmp_path / confidence,
                )
    assert (tmp_path / "c.tif").read_text() == (tmp_path / "p.tif").read_text() == "mine"
    geoseg.predict(scene_file, model_file, output=tmp_path / "c.tif", overwrite=True)
    assert (tmp_path / "c.tif").stat().st_size > 100


def test_the_scene_is_never_an_output(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "scene.tif"
    copy.write_bytes(scene_file.read_bytes())
    with pytest.raises(OptionError, match="also the name of the scene"):
        geoseg.predict(copy, model_file, output=copy, overwrite=True)
    with pytest.raises(OptionError, match="another output"):
        geoseg.predict(copy, model_file, output=tmp_path / "c.tif", confidence=tmp_path / "c.tif")
    assert copy.read_bytes() == scene_file.read_bytes()


def test_a_broken_block_is_no_data_when_asked_and_reported(
    model_file: Path, scene_file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tif"
    data = scene_file.read_bytes()
    middle = len(data) // 2
    broken.write_bytes(data[:middle] + b"\xff" * 9000 + data[middle + 9000 :])  # over the heads of blocks
    with pytest.raises(SceneError, match="damaged"):
        geoseg.predict(broken, model_file, output=tmp_path / "c.tif")
    options = {"on_error": "nodata"}
    geoseg.predict(broken, model_file, **options, output=tmp_path / "c.tif", resume=False)
    report = json.loads((tmp_path / "c.tif.run.json").read_text())
    assert report["damaged"]
    with rasterio.open(tmp_path / "c.tif") as dataset:
        codes = dataset.read(1)
    for row, col, height, width in report["damaged"]:
        assert (codes[row : row + height, col : col + width] == 255).all()
    assert (codes != 255).mean() > 0.5


def test_a_file_put_there_meanwhile_is_not_replaced(
    scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "c.tif"
    interrupt((scene_file, model_file), output, 1)
    output.write_text("mine")
    with pytest.raises(OutputExistsError):
        geoseg.predict(scene_file, model_file, **FP32, output=output)
    assert output.read_text() == "mine"
    assert names(tmp_path) == ["c.tif", "c.tif.geoseg-part"]


def test_a_path_written_another_way_is_the_same_work(
    scene_file: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt((scene_file, model_file), tmp_path / "c.tif", 1)
    monkeypatch.chdir(tmp_path)
    geoseg.predict(scene_file, model_file, **FP32, output="c.tif")
    assert names(tmp_path) == ["c.qml", "c.tif", "c.tif.aux.xml", "c.tif.run.json"]


def test_an_array_does_not_go_on_with_the_work_on_another(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 90, 40), dtype=np.uint8)
    model = pointwise_model(3)
    interrupt((pixels, model), tmp_path / "c.tif", 1)
    for scene, other in ((pixels[:, ::-1], model), (pixels, pointwise_model(3, seed=1))):
        with pytest.raises(ResumeError, match="scene|weights"):
            geoseg.predict(scene, other, **FP32, output=tmp_path / "c.tif")
    assert geoseg.predict(pixels.copy(), model, **FP32, output=tmp_path / "c.tif").exists()


def test_an_output_may_be_named_like_a_stored_band(
    scene_file: Path, model_file: Path, written: Path, tmp_path: Path
) -> None:
    output = tmp_path / "band.TIF"
    geoseg.predict(scene_file, model_file, **FP32, output=output)
    assert output.read_bytes() == written.read_bytes()


def test_a_clip_that_is_missing_or_empty_is_one_line(
    scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    import geopandas
    from shapely.geometry import Polygon

    geopandas.GeoDataFrame(geometry=[Polygon()], crs="EPSG:4326").to_file(tmp_path / "empty.gpkg")
    for name, reason in (("missing.gpkg", "cannot be read"), ("empty.gpkg", "holds no polygon")):
        options = {"clip": tmp_path / name}
        for output in (None, tmp_path / "c.tif"):
            with pytest.raises(OptionError, match=reason):
                geoseg.predict(scene_file, model_file, **options, output=output)
    assert names(tmp_path) == ["empty.gpkg"]


@pytest.mark.parametrize("text", ["[]", "3", "{}", "{", "\x00\xff"])
def test_a_run_json_that_is_none_says_nothing_of_the_output(
    scene_file: Path, model_file: Path, tmp_path: Path, text: str
) -> None:
    (tmp_path / "c.tif").write_text("map")
    (tmp_path / "c.tif.run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        geoseg.predict(scene_file, model_file, **FP32, output=tmp_path / "c.tif")
    assert (tmp_path / "c.tif").read_text() == "map"


def stamps(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_the_same_command_finishes_what_is_missing_and_leaves_the_rest(
    scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    outputs = PredictOutputs(
        classes=tmp_path / "c.tif", confidence=tmp_path / "s.tif", probabilities=tmp_path / "p.tif"
    )

    def again(**writing: bool) -> RunRecord:
        job = prepare_job(scene_file, model_file, PredictOptions(**FP32))
        return predict_file(job, outputs, Writing(**writing))

    assert not again().before
    first = stamps(tmp_path)
    assert again().before
    assert stamps(tmp_path) == first, "nothing is written where nothing is missing"
    (tmp_path / "c.tif.geoseg-part").mkdir()  # a clean-up was killed
    assert again().before
    assert stamps(tmp_path) == first

    for gone in ("s.tif", "c.tif", "p.tif"):
        (tmp_path / gone).unlink()
        assert not again().before
        now = stamps(tmp_path)
        assert {name for name in now if now[name][0] != first[name][0]} >= {gone, "c.tif.run.json"}
        for name in now.keys() - {"c.tif.run.json"}:
            assert now[name][1] == first[name][1], name
            if name in ("s.tif", "p.tif") and name != gone:
                assert now[name] == first[name]
        first = now

    # What somebody else put in the place of a product is neither taken for it nor replaced.
    (tmp_path / "s.tif").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"s\.tif: already exists; pass overwrite=True"):
        again()
    assert (tmp_path / "s.tif").read_text() == "mine"
    assert not again(overwrite=True).before
    assert (tmp_path / "s.tif").read_bytes() == first["s.tif"][1]


def test_a_finished_map_does_not_throw_away_the_unfinished_work_of_another_command(
    scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "c.tif"
    geoseg.predict(scene_file, model_file, **FP32, output=output)
    other = {"precision": "fp32", "overlap": 8}
    interrupt((scene_file, model_file), output, 1, options=other, writing=Writing(overwrite=True))
    with pytest.raises(ResumeError, match="resume=False"):
        geoseg.predict(scene_file, model_file, **FP32, output=output)
    assert (tmp_path / "c.tif.geoseg-part" / JOURNAL).exists()


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (70, 1)])
def test_scenes_of_a_pixel_or_a_line(model_file: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (3, *shape), dtype=np.uint8)
    geoseg.predict(pixels, model_file, **FP32, output=tmp_path / "c.tif")
    with rasterio.open(tmp_path / "c.tif") as dataset:
        assert dataset.shape == shape
        assert (dataset.read(1) != 255).all()


def test_too_little_room_is_refused_with_both_figures_unless_forced(
    scene_file: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.inference.run._BYTES_PER_PIXEL", 10**18)
    with pytest.raises(GeosegError, match=r"MB free, the run may need 30,000,000,000,000,000\.0 MB"):
        geoseg.predict(scene_file, model_file, **FP32, output=tmp_path / "c.tif")
    assert names(tmp_path) == []
    forced = {"precision": "fp32", "force": True}
    assert geoseg.predict(scene_file, model_file, **forced, output=tmp_path / "c.tif").exists()


def test_a_resumed_run_keeps_the_settings_it_began_with(
    scene_file: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another batch size would plan other strips."""
    output = tmp_path / "c.tif"
    with monkeypatch.context() as patch:
        patch.setattr(machine, "with_runtime", lambda settings, *_: settings)
        interrupt((scene_file, model_file), output, 1)
    begun = json.loads((tmp_path / "c.tif.geoseg-part" / JOURNAL).read_text().splitlines()[1])["settings"]
    geoseg.predict(scene_file, model_file, **FP32, output=output)
    assert json.loads(Path(f"{output}.run.json").read_text())["settings"] == begun
    assert begun["runtime"] == "torch"
    assert begun["batch_size"] > 1


def test_the_cards_temperature_reaches_the_network() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 20, 30), dtype=np.uint8)
    sharp, soft = (geoseg.predict(pixels, pointwise_model(3, temperature=t), **FP32) for t in (None, 5.0))
    np.testing.assert_array_equal(sharp["landcover"], soft["landcover"])
    assert (soft["confidence"] < sharp["confidence"]).mean() > 0.9


def test_one_class_everywhere_is_worth_a_note(tmp_path: Path) -> None:
    pixels = np.full((3, 20, 30), 7, dtype=np.uint8)
    geoseg.predict(pixels, pointwise_model(3), **FP32, output=tmp_path / "c.tif")
    report = json.loads((tmp_path / "c.tif.run.json").read_text())
    assert any("same class" in note for note in report["notes"])
