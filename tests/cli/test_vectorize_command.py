"""vectorize and rasterize as a person runs them: chosen classes, added scenes, there and back."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import geopandas.testing
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner, Result
from geoseg_cli.main import group

import geoseg
from geoseg.polygons.proof import COVERAGE, coverage_entries

UTM = Affine(10, 0, 500000, 0, -10, 5400000)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, list(map(str, arguments)))


def refused(*arguments: str | Path) -> str:
    """Run a command that must fail with exit code 2 or 1 in one line, which is returned."""
    result = run(*arguments)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert result.exit_code in (1, 2), result.stderr
    assert len(errors) == 1
    return errors[0]


def write_map(path: Path, seed: int, transform: Affine = UTM) -> Path:
    codes = np.random.default_rng(seed).integers(0, 4, (20, 30)).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", height=20, width=30, count=1, dtype="uint8", nodata=0, crs="EPSG:32633",
        transform=transform,
    ) as file:  # fmt: skip
        file.write(codes, 1)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two maps side by side, and a legend of theirs."""
    write_map(tmp_path / "a.tif", 1)
    write_map(tmp_path / "b.tif", 2, UTM @ Affine.translation(30, 0))
    (tmp_path / "l.csv").write_text(
        "code,name,color\n1,water,#0000ff\n2,forest,#00ff00\n3,bare soil,#886600\n"
    )
    return tmp_path


def test_only_the_chosen_classes_are_written_as_they_are_among_all(folder: Path) -> None:
    options = ("--legend", folder / "l.csv", "--min-area", "3px")
    assert run("vectorize", folder / "a.tif", "-o", folder / "all.gpkg", *options).exit_code == 0
    chosen = ("--class", "water", "--class", "3", "--class", "bare soil")
    result = run("vectorize", folder / "a.tif", "-o", folder / "some.gpkg", *options, *chosen)
    assert result.exit_code == 0, result.stderr
    assert "forest" not in result.stderr
    whole = gpd.read_file(folder / "all.gpkg", layer="landcover")
    found = gpd.read_file(folder / "some.gpkg", layer="landcover")
    expected = whole[whole["class_code"].isin([1, 3])].reset_index(drop=True)
    assert 0 < len(expected) < len(whole)
    gpd.testing.assert_geodataframe_equal(found, expected)
    assert b'label="forest"' not in (folder / "some.gpkg").read_bytes()
    frame = geoseg.vectorize(
        folder / "a.tif",
        legend=folder / "l.csv",
        min_area="3px",
        classes=[1, "bare soil"],
    )
    gpd.testing.assert_geodataframe_equal(found, frame, check_dtype=False)


def test_a_class_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    command = ("vectorize", folder / "a.tif", "-o", folder / "o.gpkg", "--legend", folder / "l.csv")
    for name in ("lake", "4", "Water", ""):
        assert f"the map has no class {name!r}, expected water (1), forest (2), bare soil (3)" in refused(
            *command, "--class", name
        )
    nameless = ("vectorize", folder / "a.tif", "-o", folder / "o.gpkg", "--class")
    assert "expected a code, for it has no legend" in refused(*nameless, "water")
    assert not (folder / "o.gpkg").exists()
    result = run(*nameless, "2", "--class", "9")
    assert result.exit_code == 0, result.stderr
    assert "no polygon of class 9" in result.stderr
    assert set(gpd.read_file(folder / "o.gpkg", layer="landcover")["class_code"]) == {2}


def test_a_scene_is_added(folder: Path) -> None:
    def command(name: str) -> tuple[str | Path, ...]:
        legend = ("--legend", folder / "l.csv", "--scene-name", name)
        return ("vectorize", folder / f"{name}.tif", "-o", folder / "o.gpkg", *legend, "--append")

    for name in "ab":
        result = run(*command(name))
        assert result.exit_code == 0, result.stderr
        codes = rasterio.open(folder / f"{name}.tif").read(1)
        valid = int((codes != 0).sum())
        assert f"valid coverage: {valid} px of area for {valid} valid px" in result.stderr
    found = gpd.read_file(folder / "o.gpkg", layer="landcover")
    assert found["scene"].value_counts().to_dict() == {
        name: len(geoseg.vectorize(folder / f"{name}.tif")) for name in "ab"
    }
    assert "holds polygons of scene 'a' on this grid" in run(*command("a")).stderr
    assert run(*command("a"), "--duplicate").exit_code == 0
    assert "expected one of the two" in refused(*command("a"), "--overwrite")
    assert "already exists" in run(*command("a")[:-1]).stderr


def test_there_and_back(folder: Path) -> None:
    run("vectorize", folder / "a.tif", "-o", folder / "o.gpkg", "--legend", folder / "l.csv")
    result = run("rasterize", folder / "o.gpkg", "-o", folder / "o.tif")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "30 x 20 px" in result.stderr
    assert "bare soil" in result.stderr
    with rasterio.open(folder / "a.tif") as one, rasterio.open(folder / "o.tif") as other:
        codes = one.read(1)
        np.testing.assert_array_equal(other.read(1), np.where(codes == 0, 255, codes))
        assert (one.transform, one.crs) == (other.transform, other.crs)
    like = run("rasterize", folder / "o.gpkg", "-o", folder / "p.tif", "--like", folder / "a.tif")
    assert like.exit_code == 0, like.stderr
    assert (folder / "p.tif").read_bytes() == (folder / "o.tif").read_bytes()
    python = geoseg.rasterize(folder / "o.gpkg", output=folder / "q.tif")  # law 12
    assert python.read_bytes() == (folder / "o.tif").read_bytes()


def test_what_rasterize_cannot_do_is_one_line(folder: Path) -> None:
    run("vectorize", folder / "a.tif", "-o", folder / "o.fgb", "--legend", folder / "l.csv")
    command = ("rasterize", folder / "o.fgb", "-o", folder / "o.tif")
    assert "pass --like with a raster on the grid, or --resolution" in refused(*command)
    assert "expected one of the two" in refused(*command, "--like", folder / "a.tif", "--resolution", "10")
    assert "is a GeoTIFF, expected .gpkg" in refused("rasterize", folder / "a.tif", "-o", folder / "o.tif")
    assert "ends in .tif" in refused(
        "rasterize", folder / "o.fgb", "-o", folder / "o.gpkg", "--resolution", "10"
    )
    assert not (folder / "o.tif").exists()
    assert run(*command, "--resolution", "10").exit_code == 0


def test_the_help_shows_examples() -> None:
    for command, words in (
        ("vectorize", "--append"),
        ("vectorize", "--class water"),
        ("rasterize", "--like scene.tif"),
    ):
        assert words in run(command, "--help").stdout


def test_lines_are_redrawn_and_the_file_says_so(folder: Path) -> None:
    plain = run("vectorize", folder / "a.tif", "-o", folder / "plain.gpkg")
    drawn = run(
        "vectorize",
        folder / "a.tif",
        "-o",
        folder / "drawn.gpkg",
        "--smooth",
        "--simplify",
        "20m",
        "--workers",
        "2",
    )
    assert (plain.exit_code, drawn.exit_code) == (0, 0), drawn.stderr
    before, after = (gpd.read_file(folder / f"{n}.gpkg", layer="landcover") for n in ("plain", "drawn"))
    assert shapely.coverage_is_valid(after.geometry.to_numpy())
    assert after.area.sum() == before.area.sum()
    assert after["pixels"].tolist() == before["pixels"].tolist()
    (entry,) = coverage_entries(
        pyogrio.read_info(folder / "drawn.gpkg", layer="landcover")["layer_metadata"][COVERAGE]
    )
    vertices = [int(shapely.get_num_coordinates(f.geometry).sum()) for f in (before, after)]
    rings = [int((shapely.get_num_interior_rings(f.geometry) + 1).sum()) for f in (before, after)]
    assert (entry["vertices_before"], entry["vertices"]) == (vertices[0] - rings[0], vertices[1] - rings[1])
    assert (entry["tolerance"], entry["smooth"]) == ("20m", True)
    assert entry["area_in_pixels"] == entry["valid_pixels"] == before["pixels"].sum()
    assert f"{entry['vertices']:,} vertices of {entry['vertices_before']:,}" in drawn.output


@pytest.mark.parametrize(
    ("tolerance", "message"),
    [("3", "expected a number with its unit, such as 1px or 5m"), ("-1m", "expected")],
)
def test_a_tolerance_without_a_unit_is_refused_before_anything(
    folder: Path, tolerance: str, message: str
) -> None:
    error = refused("vectorize", folder / "a.tif", "-o", folder / "x.gpkg", f"--simplify={tolerance}")
    assert message in error
    assert not (folder / "x.gpkg").exists()


def test_some_classes_of_redrawn_lines(folder: Path) -> None:
    options = ("--smooth", "--simplify", "1px", "--class", "2")
    assert run("vectorize", folder / "a.tif", "-o", folder / "some.gpkg", *options).exit_code == 0
    found = gpd.read_file(folder / "some.gpkg", layer="landcover")
    assert set(found["class_code"]) == {2}


def test_a_foreign_map_of_16_bits_is_redrawn(tmp_path: Path) -> None:
    codes = (
        np.kron(np.random.default_rng(3).integers(0, 4, (30, 20)), np.ones((9, 7))).astype(np.int16) * 1000
    )
    profile = {"driver": "GTiff", "height": 270, "width": 140, "count": 1, "dtype": "int16", "nodata": 0}
    with rasterio.open(
        tmp_path / "m.tif", "w", **profile, crs="EPSG:4326", transform=Affine(0.01, 0, 5, 0, -0.01, 50)
    ) as f:
        f.write(codes, 1)
    for name in ("m.gpkg", "m.parquet", "m.fgb"):
        result = run("vectorize", tmp_path / "m.tif", "-o", tmp_path / name, "--simplify", "3px", "--smooth")
        assert result.exit_code == 0, result.stderr
        read = gpd.read_parquet if name.endswith("parquet") else gpd.read_file
        found = read(tmp_path / name, **({"layer": "landcover"} if name.endswith("gpkg") else {}))
        shapes = found.geometry.to_numpy()
        assert shapely.is_valid(shapes).all()
        assert shapely.coverage_is_valid(shapes)
        np.testing.assert_allclose(shapely.area(shapes).sum(), (codes != 0).sum() * 1e-4, rtol=1e-12)
