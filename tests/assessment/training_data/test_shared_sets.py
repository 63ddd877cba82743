"""Real data sets: their known faults are found, and the clean ones have neither errors nor warnings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rasterio

import geoseg

RECIPES = Path(__file__).parents[3] / "examples" / "recipes"


@pytest.fixture(autouse=True)
def data(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(shared))


def checked(recipe: str, *changes: str) -> geoseg.DataQuality:
    quality = geoseg.check(RECIPES / f"{recipe}.yaml", changes=changes, progress=False)
    assert isinstance(quality, geoseg.DataQuality)
    return quality


@pytest.mark.parametrize("recipe", ["concise", "roofs", "people"])
def test_clean_sets_have_neither_errors_nor_warnings(recipe: str) -> None:
    quality = checked(recipe)
    assert [str(each.line) for each in quality.found if each.severity != "hint"] == []
    assert quality.exit_code == 0


@pytest.mark.long
@pytest.mark.parametrize("recipe", ["aberystwyth", "clouds", "deepglobe", "hls", "kampala", "korea", "zion"])
def test_larger_clean_sets_have_neither_errors_nor_warnings(recipe: str) -> None:
    quality = checked(recipe)
    assert [str(each.line) for each in quality.found if each.severity != "hint"] == []
    json.dumps(quality.to_dict(), allow_nan=False)


def test_the_mask_of_another_roof_is_found() -> None:
    quality = checked("roofs", "data.exclude=['535', '537', '539', '551', '553']")
    (mask,) = (each for each in quality.found if each.check == "mask")
    assert (mask.images, mask.severity) == (("270", "278"), "error")
    assert quality.exit_code == 3


def test_overlapping_patches_in_two_splits_are_found(shared: Path) -> None:
    groups = json.loads((shared / "korea_sentinel2" / "overlap_groups.json").read_text())
    kept = next(group for group in groups if len(group) == 3)  # overlapping, each at least one of the others
    left = [
        path.stem for path in (shared / "korea_sentinel2" / "images").glob("*.tif") if path.stem not in kept
    ]
    quality = checked(
        "korea",
        "data.groups=[]",
        f"data.exclude={json.dumps(left)}",
        f"data.split={json.dumps({'train': kept[:1], 'val': kept[1:]})}",
    )
    found = [each for each in quality.found if each.check == "ground"]
    assert [each.severity for each in found] == ["error"]
    assert kept[0] in found[0].images


def test_a_map_that_begins_one_pixel_further_west_is_found(shared: Path) -> None:
    folder = shared / "aberystwyth_sentinel2"
    quality = geoseg.check(folder / "scene.tif", labels=folder / "classifier_output.tif", progress=False)
    (origin,) = quality.found
    assert origin.check == "origin"
    assert "947 x 931 px, the image 947 x 930, and begins 1 px left of it" in origin.what


def test_a_map_that_lies_one_pixel_off_is_seen_by_its_edges(shared: Path, tmp_path: Path) -> None:
    """The same map, put where the scene begins."""
    folder = shared / "aberystwyth_sentinel2"
    with (
        rasterio.open(folder / "scene.tif") as scene,
        rasterio.open(folder / "classifier_output.tif") as found,
    ):
        codes, profile = found.read(1)[:, : scene.width], {**found.profile, "transform": scene.transform}
    with rasterio.open(tmp_path / "map.tif", "w", **(profile | {"width": codes.shape[1]})) as file:
        file.write(codes, 1)
    quality = geoseg.check(folder / "scene.tif", labels=tmp_path / "map.tif", progress=False)
    (shift,) = quality.found
    assert shift.severity == "hint"
    assert "better 1 px to the left" in shift.what
