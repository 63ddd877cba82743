"""First bytes decide what a file is called, whatever its name says."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import SceneError
from geoseg.raster.file_kinds import KINDS, kind_by_name, kind_of, kind_of_bytes
from geoseg.raster.scene import Scene

FEATURE = b'{"type": "Feature", "properties": {}, "geometry": null}'


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"II*\0 and more", "a GeoTIFF"),
        (b"<VRTDataset/>", "a VRT"),
        (b'<?xml version="1.0"?>\n<!-- <kml> -->\n<VRTDataset rasterXSize="1">', "a VRT"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><VRTDataset/>', "a VRT"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><kml xmlns="x">', "a KML file"),
        ('<?xml version="1.0" encoding="utf-16"?><kml>'.encode("utf-16"), "a KML file"),
        (b'<?xml version="1.0"?><gml:FeatureCollection xmlns:gml="x">', "a GML file"),
        (b"<ogr:FeatureCollection>", "a GML file"),
        (b"<gpx>", "a GPX file"),
        (b"<!DOCTYPE qgis PUBLIC 'x' 'y'><qgis>", "a style or project of QGIS"),
        (b"<!doctype html><HTML>", "a web page"),
        (b"<OGRVRTDataSource>", "a file that only points at other data, which is not followed"),
        (b'<?xml version="1.0"?><foo/>', "an XML file of foo"),
        (b"<?xml version", "an XML file of unknown content"),
        (b"<", "an XML file of unknown content"),
        (b'{"type": "FeatureCollection", "features": []}', "GeoJSON"),
        (FEATURE, "GeoJSON"),
        (FEATURE + b"\n" + FEATURE, "GeoJSON in lines"),
        (b"\x1e" + FEATURE + b"\n", "GeoJSON in lines"),
        (b'{"a": 1}', "a JSON file"),
        (b"SQLite format 3\0" + bytes(52) + b"GPKG", "a GeoPackage"),
        (b"SQLite format 3\0" + bytes(52) + b"GP10", "a GeoPackage"),
        (b"SQLite format 3\0" + bytes(80), "a SQLite database"),
        (b"\x10\0\0\0\0\0\0\0{", "a model file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 or NetCDF file"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_a_head_is_named(head: bytes, name: str) -> None:
    found = kind_of_bytes(head)
    assert found is not None
    assert found.name == name


@given(st.binary(max_size=200) | st.text(alphabet="<?!->[]x: \n{}", max_size=60).map(str.encode))
def test_any_bytes_have_an_answer(head: bytes) -> None:
    kind_of_bytes(head)


@pytest.mark.parametrize(
    "head", [b"<!" * 30_000, b"<?a?>" * 13_000, b"<!-- -->" * 8_000, b"<![" * 20_000, b" " * 65_000]
)
def test_long_beginnings_take_no_time(head: bytes) -> None:
    """A pattern that tries again from every mark would take hours."""
    kind_of_bytes(head)
    kind_of_bytes(b"<!--" + head)


def test_archives_are_named_by_what_comes_first(tmp_path: Path) -> None:
    for first, name in [
        ("a.shp", "a ZIP archive"),
        ("doc.kml", "a KMZ archive"),
        ("x/data.pkl", "weights of PyTorch"),
    ]:
        with zipfile.ZipFile(tmp_path / "a", "w") as file:
            file.writestr(first, "x")
        found = kind_of(tmp_path / "a")
        assert found is not None
        assert found.name == name


def test_an_ending_belongs_to_one_format() -> None:
    endings = [ending for kind in KINDS for ending in kind.endings]
    assert len(set(endings)) == len(endings)
    assert all(kind_by_name(Path(f"a{kind.endings[0].upper()}")) == kind for kind in KINDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'<?xml version="1.0"?><foo/>', "is an XML file of foo, expected a GeoTIFF.*ogr2ogr"),
        (b"<gml:FeatureCollection/>", "is a GML file, expected a GeoTIFF"),
        (b"<kml/>", "is a KML file, expected a GeoTIFF.*rasterize"),
        (FEATURE, "is GeoJSON, expected a GeoTIFF.*rasterize"),
        (b"PK\x03\x04", "is a ZIP archive, expected a GeoTIFF.*unpack it"),
        (b"CDF\x01", "is a NetCDF file, expected a GeoTIFF.*gdal_translate"),
        (b"<html>", "is a web page.*download it again"),
        (b"<OGRVRTDataSource>", "only points at other data, which is not followed.*pass that data itself"),
    ],
)
def test_a_scene_that_is_something_else_is_called_that(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(SceneError, match=message) as caught:
        Scene.open(path)
    assert "VRT" not in str(caught.value).replace(str(path), "").split("which")[0]
