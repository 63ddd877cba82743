"""What is opened, what is not, and that nothing hidden in a file reaches the network."""

import socket
import struct
import threading

import numpy as np
import pytest

from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.raster.scene import Scene

PIXEL = Window(row=0, col=0, height=1, width=1)
VRT = (
    '<VRTDataset rasterXSize="4" rasterYSize="4"><GeoTransform>0,1,0,9,0,-1</GeoTransform>'
    '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="{1}">{0}'
    "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
)


@pytest.fixture
def listener():
    """Count the connections to a local port."""
    server = socket.create_server(("127.0.0.1", 0))
    hits = []

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            hits.append(1)
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 404 no\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"/vsicurl/http://127.0.0.1:{server.getsockname()[1]}/secret.tif", hits
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def _image(write, name="a.tif", **profile):
    return write(name, np.ones((1, 4, 4), "uint8"), **profile)


def test_a_typed_vrt_with_consent_does_reach_the_listener(listener, tmp_path):
    """Without this the zeros below would prove nothing."""
    url, hits = listener
    path = tmp_path / "a.vrt"
    path.write_text(VRT.format(url, 0))
    with pytest.raises(SceneError, match=r"a\.vrt"):
        Scene.open(path, allow_remote=True).read(PIXEL)
    assert hits


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.TIFF", "a"])
def test_a_vrt_under_another_name_is_refused(listener, tmp_path, name):
    url, hits = listener
    path = tmp_path / name
    path.write_text(VRT.format(url, 0))
    with pytest.raises(SceneError, match="is a VRT under another name"):
        Scene.open(path)
    assert not hits


@pytest.mark.parametrize("suffix", [".msk", ".ovr", ".MSK", ".OVR", ".msk.ovr"])
def test_a_vrt_disguised_as_a_sidecar_is_refused(listener, write, tmp_path, suffix):
    url, hits = listener
    path = _image(write)
    (tmp_path / f"a.tif{suffix}").write_text(VRT.format(url, 0))
    with pytest.raises(SceneError, match="is not a TIFF, which a sidecar of this name must be"):
        Scene.open(path)
    assert not hits


def test_a_sidecar_that_comes_later_is_refused_by_the_next_handle(listener, write, tmp_path):
    url, hits = listener
    scene = Scene.open(_image(write))
    (tmp_path / "a.tif.msk").write_text(VRT.format(url, 0))
    reasons = []

    def read():
        try:
            scene.read(PIXEL)
        except SceneError as error:
            reasons.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert "is not a TIFF" in reasons[0]
    assert not hits


def test_overviews_elsewhere_are_not_followed(listener, write, tmp_path):
    url, hits = listener
    path = _image(write)
    (tmp_path / "a.tif.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{url}</MDI></Metadata>'
        "</PAMDataset>"
    )
    with pytest.raises(SceneError, match="points at overviews in another file"):
        Scene.open(path)
    tagged = _image(write, "b.tif", setup=lambda d: d.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=url))
    with pytest.raises(SceneError, match="points at overviews in another file"):
        Scene.open(tagged)
    assert not hits


@pytest.mark.parametrize("where", ["{}", "/vsizip/vsicurl/{}", "http://127.0.0.1/x.tif"])
def test_remote_members_need_consent(listener, tmp_path, where):
    url, hits = listener
    inner = tmp_path / "inner.vrt"
    inner.write_text(VRT.format(where.format(url), 0))
    outer = tmp_path / "outer.vrt"
    outer.write_text(VRT.format("inner.vrt", 1))
    for path in (inner, outer):
        with pytest.raises(SceneError, match="pass allow_remote=True to read it, or download it first"):
            Scene.open(path)
    assert not hits


def test_members_are_checked_as_scenes_are(listener, write, tmp_path):
    url, hits = listener
    path = tmp_path / "a.vrt"
    path.write_text(VRT.format("a.tif", 1))
    with pytest.raises(SceneError, match=r"member 'a\.tif' is not a file"):
        Scene.open(path)
    _image(write)
    assert Scene.open(path).read(PIXEL).pixels == 1
    (tmp_path / "a.tif.msk").write_text(VRT.format(url, 0))
    with pytest.raises(SceneError, match="is not a TIFF"):
        Scene.open(path)
    (tmp_path / "a.tif").write_text(VRT.format(url, 0))
    with pytest.raises(SceneError, match="under another name"):
        Scene.open(path)
    assert not hits


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<VRTDataset>", "not well-formed XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><VRTDataset/>', "declares XML entities"),
        ('<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><VRTDataset/>', "declares XML entities"),
        ('<VRTDataset><VRTRasterBand subClass="VRTRawRasterBand"/></VRTDataset>', "raw band"),
        (VRT.format("a.vrt", 1), "nested more than"),
        (VRT.format("&lt;VRTDataset/&gt;", 0), "is not a file"),
    ],
)
def test_strange_vrts_are_refused(tmp_path, text, reason):
    path = tmp_path / "a.vrt"
    path.write_text(text)
    with pytest.raises(SceneError, match=reason):
        Scene.open(path)


@pytest.mark.parametrize("name", ["a b.tif", "it's#1%.tif", "é😀?.tif", "zip+x.tif", 'a"!.tif'])
def test_any_file_name_will_do(write, name):
    assert Scene.open(_image(write, name)).read(PIXEL).valid.all()


def test_a_relative_name_is_found_again_after_the_folder_changed(write, tmp_path, monkeypatch):
    _image(write)
    monkeypatch.chdir(tmp_path)
    scene = Scene.open("a.tif")
    monkeypatch.chdir("/")
    assert scene.path == "a.tif"
    assert scene.read(PIXEL).valid.all()


def test_what_is_no_raster_gets_one_clear_line(tmp_path):
    text, empty = tmp_path / "a.txt", tmp_path / "empty.tif"
    text.write_text("hello")
    empty.write_bytes(b"")
    for path, reason in [
        (tmp_path / "none.tif", "cannot be opened \\(No such file"), (tmp_path, "is a folder"),
        (text, "is not a GeoTIFF.*gdal_translate"), (empty, "is empty"), ("NETCDF:x:y", "cannot be opened"),
        ("https://127.0.0.1:9/a.vrt", "remote VRT"),
    ]:  # fmt: skip
        with pytest.raises(SceneError, match=reason) as caught:
            Scene.open(path)
        assert "\n" not in str(caught.value)


def test_a_header_that_claims_far_more_than_the_file_can_hold_is_refused(tmp_path):
    # Width, height, bits, deflate, photometric, offset, samples, rows per strip, bytes per strip.
    tags = {256: 500_000, 257: 500_000, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    path = tmp_path / "bomb.tif"
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0" * 4)
    with pytest.raises(SceneError, match=r"bomb.tif: (claims 500000|cannot)"):
        Scene.open(path)
