"""predict, segment and vectorize on real files; law 12: the command line writes what Python returns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner, Result
from geoseg_cli.main import group

import geoseg

OPTIONS = ("--batch-size", "2", "--device", "cpu", "--precision", "fp32")
PYTHON_OPTIONS = {"batch_size": 2, "device": "cpu", "precision": "fp32"}


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(group, list(map(str, arguments)), input=stdin)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two bands and three classes, and two scenes of 48 x 40 px."""
    folder = tmp_path_factory.mktemp("scenes")
    model = geoseg.Model.new(
        architecture="Unet",
        encoder="tu-mobilenetv3_small_100",
        bands=["red", "nir"],
        classes=geoseg.Legend.parse("water=#3070c0,forest=#228b22,field=#d0c040"),
        tile_size=32,
        decoder_options={"decoder_channels": [16, 16, 8, 8, 8]},
    )
    model.save(folder / "m.safetensors")
    for seed, name in enumerate(("a", "b")):
        profile = {
            "driver": "GTiff",
            "height": 48,
            "width": 40,
            "count": 2,
            "dtype": "uint8",
            "crs": "EPSG:32633",
        }
        with rasterio.open(
            folder / f"{name}.tif", "w", transform=Affine(10, 0, 500000, 0, -10, 5400000), nodata=0, **profile
        ) as scene:
            pixels = np.random.default_rng(seed).integers(1, 256, (2, 6, 5)).astype(np.uint8)
            pixels[:, 0, 0] = 0
            scene.write(np.kron(pixels, np.ones((8, 8), dtype=np.uint8)))
            scene.descriptions = ("red", "nir")
    return folder


@pytest.fixture
def command(folder: Path) -> tuple[Path, tuple[str | Path, ...]]:
    """A scene, and the options that every run here has."""
    return folder / "a.tif", ("-m", folder / "m.safetensors", *OPTIONS)


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    """What `segment` (s.*) and `predict` (p.*) write with everything that can be asked for."""
    model = ("-m", folder / "m.safetensors", *OPTIONS)
    scene = folder / "a.tif"
    predicted = run("predict", scene, *model, "-o", folder / "p.tif", "--save-confidence", folder / "p_c.tif")
    assert predicted.exit_code == 0, predicted.stderr
    assert predicted.stdout == ""
    assert "million px/s" in predicted.stderr
    segmented = run(
        *(
            "segment",
            scene,
            *model,
            "-o",
            folder / "s.gpkg",
            "--raster",
            folder / "s.tif",
            "--output-layer",
            "x",
        ),
        *("--save-confidence", folder / "s_c.tif"),
    )
    assert segmented.exit_code == 0, segmented.stderr
    assert "polygons" in segmented.stderr
    return folder


def test_predict_writes_what_python_writes_and_returns(made: Path, tmp_path: Path) -> None:
    scene, model = made / "a.tif", made / "m.safetensors"
    geoseg.predict(
        scene,
        model,
        **PYTHON_OPTIONS,
        output=tmp_path / "p.tif",
        confidence=tmp_path / "p_c.tif",
    )
    for name in ("p.tif", "p_c.tif", "p.qml", "p.tif.aux.xml"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()
    with rasterio.open(made / "p.tif") as written:
        codes = written.read(1)
    assert (codes[:8, :8] == 255).all()
    returned = geoseg.predict(scene, model, **PYTHON_OPTIONS)
    np.testing.assert_array_equal(codes, returned["landcover"].to_numpy())
    assert json.loads((made / "p.tif.run.json").read_text())["classes"]


def test_segment_writes_what_python_returns(made: Path) -> None:
    frame = geoseg.segment(made / "a.tif", made / "m.safetensors", **PYTHON_OPTIONS)
    written = pyogrio.read_dataframe(made / "s.gpkg", layer="x")
    assert written.columns.tolist() == frame.columns.tolist()
    for column in ("class_code", "class_name", "area_m2", "pixels", "confidence"):
        assert written[column].tolist() == frame[column].tolist()
    assert written.geometry.to_wkb().tolist() == frame.geometry.to_wkb().tolist()


def test_segment_is_predict_and_vectorize(made: Path, tmp_path: Path) -> None:
    assert (made / "s.tif").read_bytes() == (made / "p.tif").read_bytes()
    assert (made / "s_c.tif").read_bytes() == (made / "p_c.tif").read_bytes()
    vectorized = run(
        *("vectorize", made / "p.tif", "--confidence", made / "p_c.tif"),
        *("-o", tmp_path / "v.gpkg", "--output-layer", "x"),
    )
    assert vectorized.exit_code == 0, vectorized.stderr
    one = pyogrio.read_dataframe(made / "s.gpkg", layer="x")
    assert one.equals(pyogrio.read_dataframe(tmp_path / "v.gpkg", layer="x"))
    known = []
    for path in (made / "s.gpkg", tmp_path / "v.gpkg"):
        (entry,) = json.loads(pyogrio.read_info(path, layer="x")["layer_metadata"]["GEOSEG_COVERAGE"])
        known.append({key: value for key, value in entry.items() if key != "scene"})
    assert known[0] == known[1]
    assert "valid coverage: " in vectorized.stderr


def test_segment_draws_and_writes_as_vectorize_does_and_knows_its_own_work_again(
    made: Path, command, tmp_path: Path
) -> None:
    scene, options = command
    drawn = ("--min-area", "9px", "--simplify", "1px", "--smooth", "--class", "forest", "--class", "3")
    ours = ("segment", scene, *options, "-o", tmp_path / "s.parquet", *drawn)
    first = run(*ours)
    assert first.exit_code == 0, first.stderr
    vectorized = run(
        *("vectorize", made / "p.tif", "--confidence", made / "p_c.tif", "-o", tmp_path / "v.parquet", *drawn)
    )
    assert vectorized.exit_code == 0, vectorized.stderr
    frames = [geopandas.read_parquet(tmp_path / name) for name in ("s.parquet", "v.parquet")]
    assert frames[0].equals(frames[1])

    stamp = (tmp_path / "s.parquet").stat().st_mtime_ns
    again = run(*ours)
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr.splitlines()[-1] == f"{tmp_path / 's.parquet'}: finished before"
    other = run(*ours[:-2])
    assert other.exit_code == 4
    assert "already exists; pass --overwrite" in other.stderr
    assert (tmp_path / "s.parquet").stat().st_mtime_ns == stamp

    folder = ("segment", scene, *options, "-o", f"{tmp_path}/maps/", "--format", "fgb")
    assert run(*folder).exit_code == 0
    assert len(pyogrio.read_dataframe(tmp_path / "maps" / "a.fgb"))
    assert "0 done, 1 finished before, 0 failed" in run(*folder, "--overwrite").stderr


def test_many_scenes_go_into_a_folder_and_the_bad_one_is_passed_over(folder: Path, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        shutil.copy(folder / name, tmp_path / name)
    (tmp_path / "bad.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:300])
    scenes = "\n".join(str(tmp_path / name) for name in ("a.tif", "bad.tif", "b.tif"))
    arguments = ("predict", "-", "-m", folder / "m.safetensors", *OPTIONS, "-o", f"{tmp_path}/maps/")
    first = run(*arguments, stdin=scenes)
    assert first.exit_code == 3, first.stderr
    assert "bad.tif" in first.stderr
    assert "2 done, 0 finished before, 1 failed" in first.stderr
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "maps").glob("*.tif")}
    assert {path.name for path in made} == {"a.tif", "b.tif"}

    second = run(*arguments, stdin=scenes)
    assert second.exit_code == 3
    assert "0 done, 2 finished before, 1 failed" in second.stderr
    assert made == {path: path.stat().st_mtime_ns for path in made}

    changed = run(*arguments, "--overlap", "0", stdin=scenes)
    assert changed.exit_code == 3
    assert "0 done, 0 finished before, 3 failed" in changed.stderr, "other work is not the same work"
    good = scenes.replace(f"{tmp_path}/bad.tif\n", "")
    assert run(*arguments, "--overlap", "0", stdin=good).exit_code == 4, "nothing but outputs in the way"


def test_a_folder_of_one_scene_gets_every_product_under_its_name(command, tmp_path: Path) -> None:
    scene, options = command
    result = run(
        "segment",
        scene,
        *options,
        "-o",
        f"{tmp_path}/",
        "--raster",
        f"{tmp_path}/",
        "--save-confidence",
        tmp_path,
    )
    assert result.exit_code == 0, result.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a.gpkg", "a.gpkg.run.json", "a.tif", "a.tif.aux.xml", "a.qml", "a.confidence.tif"}


def test_an_output_is_not_replaced_unasked(command, tmp_path: Path) -> None:
    scene, options = command
    (tmp_path / "o.tif").write_bytes(b"precious")
    refused = run("predict", scene, *options, "-o", tmp_path / "o.tif")
    assert (refused.exit_code, refused.stderr.count("Error:")) == (4, 1)
    assert (tmp_path / "o.tif").read_bytes() == b"precious"
    assert run("predict", scene, *options, "-o", tmp_path / "o.tif", "--overwrite", "-q").stderr == ""
    assert rasterio.open(tmp_path / "o.tif").shape == (48, 40)


def test_bounds_and_bands_reach_the_scene(command, tmp_path: Path) -> None:
    scene, options = command
    result = run(
        *("predict", scene, *options, "-o", tmp_path / "o.tif", "--force"),
        *("--bounds", "500081 5399600 500400 5399919", "-b", "2,1"),
    )
    assert result.exit_code == 0, result.stderr
    with rasterio.open(tmp_path / "o.tif") as written:
        assert written.shape == (32, 32)
        assert written.transform == Affine(10, 0, 500080, 0, -10, 5399920)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["predict", "a.tif", "b.tif", "-o", "all.tif"], 2, "expected a folder"),
        (["predict", "a.tif", "x/a.tif", "-o", "maps/"], 2, "both become"),
        (["predict", "-", "-o", "maps/"], 2, "empty"),
        (["predict", "a.tif", "-o", "maps/", "--save-confidence", "c.tif"], 2, "expected a folder"),
        (["predict", "nowhere.tif", "-o", "o.tif"], 1, "nowhere.tif"),
        (["predict", "a.tif", "-o", "nowhere/o.tif"], 1, "nowhere"),
        (["predict", "a.tif", "-o", "o.tif", "-b", "1"], 2, "band"),
        (["predict", "a.tif", "-o", "o.tif", "-b", "1,9"], 2, "9"),
        (["predict", "a.tif", "-o", "o.tif", "--bounds", "0 0 1 1"], 2, "outside"),
        (["predict", "a.tif", "-o", "o.tif", "--tile-size", "32", "--overlap", "20"], 2, "overlap"),
        (["predict", "a.tif", "-o", "o.tif", "--device", "abacus"], 2, "abacus"),
        (["predict", "a.tif", "-o", "o.tif", "--device", "mps"], 2, "mps"),
        (["segment", "a.tif", "-o", "o.gpkg", "--output-layer", "gpkg_x"], 2, "gpkg_x"),
        (["segment", "a.tif", "-o", "o.shp"], 2, "expected a name that ends in .gpkg"),
        (["segment", "a.tif", "-o", "o.gpkg", "--raster", "o.png"], 2, "expected a name that ends in .tif"),
        (["segment", "a.tif", "-o", "s3://bucket/maps/"], 2, "need a local file system"),
        (["predict", "a.tif", "-o", "o.gpkg"], 2, "expected a name that ends in .tif or .tiff"),
        (["predict", "a.tif", "-o", "o.tif", "--save-confidence", "c"], 2, "expected a name that ends in"),
    ],
    ids=lambda v: " ".join(v[2:]) if isinstance(v, list) else "",
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    exit_code: int,
    words: str,
) -> None:
    for name in ("a.tif", "b.tif"):
        shutil.copy(folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, "-m", folder / "m.safetensors", stdin="")
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert (result.exit_code, len(errors)) == (exit_code, 1), result.stderr
    assert words in errors[0]
    assert {path.name for path in tmp_path.iterdir()} <= {"a.tif", "b.tif", "maps"}


def test_vectorize_takes_a_foreign_class_map_and_a_legend(tmp_path: Path) -> None:
    codes = np.kron(np.array([[0, -5], [700, 700]], dtype=np.int16), np.ones((3, 3), dtype=np.int16))
    with rasterio.open(
        tmp_path / "map.tif", "w", driver="GTiff", height=6, width=6, count=1, dtype="int16", nodata=0,
        crs="EPSG:32633", transform=Affine(10, 0, 500000, 0, -10, 5400000),
    ) as file:  # fmt: skip
        file.write(codes, 1)
    (tmp_path / "legend.csv").write_text("code,name,color\n-5,sea,#0000ff\n700,land,#00ff00\n")
    result = run(
        "vectorize", tmp_path / "map.tif", "-o", tmp_path / "o.gpkg", "--legend", tmp_path / "legend.csv"
    )
    assert result.exit_code == 0, result.stderr
    assert "2 polygons" in result.stderr
    assert "sea" in result.stderr
    frame = pyogrio.read_dataframe(tmp_path / "o.gpkg", layer="landcover")
    assert dict(zip(frame["class_code"], frame["class_name"], strict=True)) == {-5: "sea", 700: "land"}


def test_a_table_of_very_many_classes_shows_the_largest(tmp_path: Path) -> None:
    codes = np.arange(100, dtype=np.int16).reshape(10, 10)
    codes[:, 5] = 5000
    with rasterio.open(
        tmp_path / "map.tif", "w", driver="GTiff", height=10, width=10, count=1, dtype="int16",
        crs="EPSG:32633", transform=Affine(10, 0, 500000, 0, -10, 5400000),
    ) as file:  # fmt: skip
        file.write(codes, 1)
    result = run("vectorize", tmp_path / "map.tif", "-o", tmp_path / "o.gpkg")
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stderr.splitlines() if "  class " in line or " class " in line]
    assert len(lines) == 50
    assert lines[-1] == ["5000", "class", "5000", "1,000.800", "m²", "1", "polygon"]
    assert "and 41 smaller classes" in result.stderr


def test_predict_says_where_the_time_went_and_keeps_the_probabilities(command, tmp_path: Path) -> None:
    scene, options = command
    flags = ("--profile", "--tta", "--save-probabilities", f"{tmp_path}/shares/", "--storage", "float16")
    result = run("predict", scene, *options, "-o", f"{tmp_path}/maps/", *flags)
    assert result.exit_code == 0, result.stderr
    assert "  profile: " in result.stderr
    assert ", tta" in result.stderr
    report = json.loads((tmp_path / "maps" / "a.tif.run.json").read_text())
    assert report["settings"]["tta"] is True
    assert report["profile"]["model"] > 0
    with rasterio.open(tmp_path / "shares" / "a.probabilities.tif") as file:
        shares = file.read()
        assert (file.dtypes[0], file.count) == ("float32", 3)
    valid = ~np.isnan(shares[0])
    assert not valid[:8, :8].any()
    np.testing.assert_allclose(shares[:, valid].sum(axis=0), 1, atol=2e-3)
    again = run("predict", scene, *options, "-o", f"{tmp_path}/maps/", *flags)
    assert "1 finished before" in again.stderr, "who looks on does not change the work"


def test_compiling_on_the_cpu_is_refused_before_any_work(command, tmp_path: Path) -> None:
    scene, options = command
    result = run("predict", scene, *options, "-o", tmp_path / "c.tif", "--compile", "--device", "cpu")
    assert result.exit_code == 2
    assert "--compile is for cuda, found cpu; leave it out" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_pictures_have_no_probabilities_to_keep_and_one_device(command, tmp_path: Path) -> None:
    _, options = command
    (tmp_path / "pictures").mkdir()
    for flags, words in (
        (("--save-probabilities", f"{tmp_path}/p.tif"), "--save-probabilities is for scenes"),
        (("--devices", "2"), "devices is 2, but pictures are predicted by one; leave --devices out"),
    ):
        result = run("predict", tmp_path / "pictures", *options, "-o", f"{tmp_path}/masks/", *flags)
        assert result.exit_code in (1, 2)
        assert words in result.stderr
