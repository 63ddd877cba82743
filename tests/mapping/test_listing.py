"""Lists of scenes with something wrong in them: a line for each, and the rest is done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

import geoseg
from geoseg.mapping.dates import date_of
from geoseg.mapping.map import map as make_map
from tests.mapping.truths import reading_model, truth, write_scene


@pytest.mark.parametrize(
    ("path", "tags", "expected"),
    [
        ("S2A_MSIL2A_20200417T101031_N0214_R022_T33UUP_20200417T135555.tif", {}, "2020-04-17"),
        ("LC08_L2SP_195025_20200425_20200820_02_T1_SR_B4.TIF", {}, "2020-04-25"),
        ("block_0042.tif", {"TIFFTAG_DATETIME": "2021:07:03 09:12:44"}, "2021-07-03"),
        ("20199999.tif", {}, None),
        (
            "a.tif",
            {"ACQUISITION_DATE": "2019-03-01T10:00:00Z", "TIFFTAG_DATETIME": "2024:01:01 00:00:00"},
            "2019-03-01",
        ),
        ("2022-05-06/scene.tif", {}, "2022-05-06"),
        ("N51_E012.tif", {}, None),
        ("orthophoto_123456789012.tif", {}, None),
    ],
)
def test_the_date_of_a_scene(path: str, tags: dict[str, str], expected: str | None) -> None:
    assert date_of(path, tags) == expected


def test_what_is_wrong_with_a_scene_is_said_and_the_others_make_the_map(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    codes = truth((60, 60))
    good = write_scene(tmp_path / "good.tif", codes)
    inside = write_scene(tmp_path / "inside.tif", codes[20:40, 20:40], (20, 20))
    same = write_scene(tmp_path / "same.tif", codes)
    plain = write_scene(tmp_path / "plain.tif", codes, crs=None)
    damaged = tmp_path / "damaged.tif"
    rasterio.shutil.copy(
        write_scene(tmp_path / "x.tif", truth((60, 60), 1), (0, 60)), damaged, compress="deflate"
    )
    with rasterio.open(damaged) as file:
        begin = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    data = bytearray(damaged.read_bytes())
    data[begin : begin + 40] = bytes(40)
    damaged.write_bytes(data)
    bands = tmp_path / "bands.tif"
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 10, 10)}
    with rasterio.open(
        bands, "w", driver="GTiff", count=3, dtype="uint8", height=9, width=9, **place
    ) as file:
        file.write(np.ones((3, 9, 9), np.uint8))
    scenes = [good, tmp_path / "missing.tif", bands, plain, inside, same, good, damaged]

    make_map(scenes, reading_model(), output=tmp_path / "map.gpkg", precision="fp32")

    said = caplog.text
    assert "missing.tif: cannot be opened" in said
    assert "bands.tif: has 3 bands" in said
    assert "plain.tif: has no CRS and other scenes have one" in said
    assert "1 line of the list is there more than once" in said
    assert "damaged.tif: damaged or incomplete" in said
    record = json.loads((tmp_path / "map.gpkg.run.json").read_text())
    assert record["notes"] == ["2 scenes own no pixel, because others cover theirs: inside.tif, same.tif"]
    assert sum(row["pixels"] for row in record["classes"]) == 3600


def test_a_list_of_which_nothing_can_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(geoseg.SceneError, match="none of 2 scenes can be used: .*a.tif: cannot be opened"):
        make_map([tmp_path / "a.tif", tmp_path / "b.tif"], reading_model(), output=tmp_path / "map.gpkg")

    assert list(tmp_path.iterdir()) == []
    with pytest.raises(geoseg.OptionError, match="the list of scenes is empty"):
        make_map([], reading_model(), output=tmp_path / "map.gpkg")


def test_headers_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoseg.mapping import listing

    scenes = [write_scene(tmp_path / f"{i}.tif", truth((20, 20)), (0, 20 * i)) for i in range(3)]
    make_map(scenes, reading_model(), output=tmp_path / "map.gpkg", precision="fp32")
    opened: list[object] = []
    reading = listing.as_source
    monkeypatch.setattr(
        listing, "as_source", lambda scene, options: opened.append(scene) or reading(scene, options)
    )
    write_scene(scenes[1], truth((20, 20), 5), (0, 20))

    make_map(scenes, reading_model(), output=tmp_path / "map.gpkg", precision="fp32", overwrite=True)

    assert opened == [str(scenes[1])]


def test_scenes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    import geopandas as gpd

    scenes = []
    for i, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        scenes.append(
            write_scene(tmp_path / folder / "scene.tif", np.full((20, 20), i, np.uint8), (0, 20 * i))
        )

    made = make_map(scenes, reading_model(), output=tmp_path / "map.gpkg", precision="fp32")

    assert sorted(gpd.read_file(made, layer="landcover").scene) == ["a/scene.tif", "b/scene.tif"]
