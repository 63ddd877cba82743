"""Scenes at URLs, from real servers: one that answers range requests, one that sends whole files only."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from click.testing import CliRunner
from geoseg_cli.main import group
from rasterio.transform import from_origin

from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.inference.predict import predict
from geoseg.models.model import Model
from geoseg.raster.scene import Scene
from tests.oracle import pointwise_model

PIXELS = np.random.default_rng(3).integers(1, 255, (3, 40, 50)).astype(np.uint8)


class Files(http.server.BaseHTTPRequestHandler):
    """Serves the files of a folder, in parts where ``ranges`` says so."""

    folder: Path
    ranges: bool

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, *, body: bool) -> None:
        path = self.folder / self.path.strip("/").split("?")[0]
        if not path.is_file():
            self.send_error(404)
            return
        data, start, status = path.read_bytes(), 0, 200
        size = len(data)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and self.ranges:
            start, stop = int(wanted[1]), min(int(wanted[2] or size - 1), size - 1) + 1
            data, status = data[start:stop], 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{size}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            try:
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # the client has seen enough


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", count=3, height=40, width=50, dtype="uint8", crs="EPSG:32633",
        transform=from_origin(5e5, 5e6, 10, 10),
    ) as file:  # fmt: skip
        file.write(PIXELS)
        file.descriptions = ("red", "green", "blue")
    codes = np.where(np.arange(50) < 25, 1, 2)[None].repeat(40, axis=0).astype(np.uint8)
    with rasterio.open(
        folder / "labels.tif", "w", driver="GTiff", count=1, height=40, width=50, dtype="uint8", crs="EPSG:32633",
        transform=from_origin(5e5, 5e6, 10, 10),
    ) as file:  # fmt: skip
        file.write(codes, 1)
    with rasterio.open(
        folder / "large.tif", "w", driver="GTiff", count=1, height=300, width=300, dtype="uint8",
        transform=from_origin(5e5, 5e6, 10, 10),
    ) as file:  # fmt: skip
        file.write(np.random.default_rng(0).integers(0, 255, (1, 300, 300)).astype(np.uint8))
    (folder / "page.tif").write_text("<!DOCTYPE html><html><body>Please log in</body></html>")
    return folder


def served(folder: Path, *, ranges: bool) -> Iterator[str]:
    handler = type("Served", (Files,), {"folder": folder, "ranges": ranges})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def parts(folder: Path) -> Iterator[str]:
    yield from served(folder, ranges=True)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Iterator[str]:
    yield from served(folder, ranges=False)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def told(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(group, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_a_url_is_a_scene_for_info_predict_and_train(parts: str, folder: Path, tmp_path: Path) -> None:
    model = pointwise_model(3)
    expected = predict(folder / "scene.tif", model)
    for url in (f"{parts}/scene.tif", f"/vsicurl/{parts}/scene.tif", f"{parts}/scene.tif?token=a%2Fb"):
        code, out, error = told("info", "--json", url)
        assert code == 0, error
        assert json.loads(out)["names"] == ["red", "green", "blue"]
        found = predict(url, model)
        np.testing.assert_array_equal(found["landcover"], expected["landcover"])  # type: ignore[index]
        code, out, error = told(
            "train", url, str(folder / "labels.tif"), "-o", str(tmp_path / "m.safetensors"), "--print-config"
        )
        assert code == 0, error
        data = yaml.safe_load(out)["data"]
        assert (data["images"], data["bands"]) == (url, ["red", "green", "blue"])
    stack = Scene.open({"a": f"{parts}/labels.tif", "b": str(folder / "labels.tif")})
    pixels = stack.read(Window(row=0, col=0, height=40, width=50)).pixels
    np.testing.assert_array_equal(pixels[0], pixels[1])


@pytest.mark.parametrize(
    ("server", "name", "words"),
    [
        ("whole", "large.tif", "sends whole files only.*range requests.*fetch the file first"),
        ("parts", "missing.tif", r"no such file on the server \(HTTP 404\)"),
        ("parts", "page.tif", "is a web page, expected a GeoTIFF"),
        ("whole", "page.tif", "is a web page, expected a GeoTIFF"),
        ("parts", "scene.vrt", "is a remote VRT, and so are its members; pass allow_remote=True"),
    ],
)
def test_what_cannot_be_opened_is_refused_alike(
    request: pytest.FixtureRequest, folder: Path, tmp_path: Path, server: str, name: str, words: str
) -> None:
    base = request.getfixturevalue(server)
    model = tmp_path / "m.safetensors"
    pointwise = pointwise_model(3)
    refusals = []
    url = f"{base}/{name}"
    with pytest.raises(SceneError, match=words) as got:
        predict(url, pointwise)
    refusals.append(str(got.value))
    for arguments in (("info", url), ("train", url, str(folder / "labels.tif"), "-o", str(model))):
        code, _, error = told(*arguments)
        assert code == 1
        in_keywords = error.splitlines()[-1].replace("--allow-remote", "allow_remote=True")
        refusals.append(in_keywords.removeprefix("Error: "))
    assert set(refusals) == {refusals[0]}
    assert not model.exists()


def test_a_vrt_with_remote_members_is_read_where_that_is_allowed(
    parts: str, folder: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GDAL_SKIP", "OGR_SKIP"):
        monkeypatch.delenv(name, raising=False)
    vrt, model, labels = tmp_path / "remote.vrt", tmp_path / "m.safetensors", folder / "labels.tif"
    bands = "".join(
        f"<VRTRasterBand dataType='Byte' band='{n}'><Description>{name}</Description><SimpleSource>"
        f"<SourceFilename relativeToVRT='0'>/vsicurl/{parts}/scene.tif</SourceFilename><SourceBand>{n}</SourceBand>"
        "<SrcRect xOff='0' yOff='0' xSize='50' ySize='40'/><DstRect xOff='0' yOff='0' xSize='50' ySize='40'/>"
        "</SimpleSource></VRTRasterBand>"
        for n, name in enumerate(("red", "green", "blue"), start=1)
    )
    vrt.write_text(
        "<VRTDataset rasterXSize='50' rasterYSize='40'><SRS>EPSG:32633</SRS>"
        f"<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>{bands}</VRTDataset>"
    )
    Model.new(**(small | {"bands": ["red", "green", "blue"]})).save(model)
    commands = {
        "info": ("info", vrt),
        "predict": ("predict", vrt, "-m", model, "-o", tmp_path / "map.tif"),
        "train": ("train", vrt, labels, "-o", tmp_path / "trained", "--print-config"),
        "quantize": ("model", "quantize", model, vrt, "-b", "1,2,9", "-o", tmp_path / "m8.safetensors"),
    }
    for name, arguments in commands.items():
        code, _, error = told(*map(str, arguments))
        assert code == 1, name
        assert "is not a local file; pass --allow-remote to read it" in error
        code, _, error = told(*map(str, arguments), "--allow-remote")
        if (
            name == "quantize"
        ):  # takes its time to measure; the scene is open where a band is looked for in it
            assert "has no band 9" in error
        else:
            assert code == 0, f"{name}: {error}"
    code, _, error = told("vectorize", str(vrt), "-o", str(tmp_path / "v.gpkg"))
    assert code == 1
    assert "download it first" in error


def test_labels_are_local(parts: str, folder: Path) -> None:
    code, _, error = told("train", str(folder / "scene.tif"), f"{parts}/labels.tif", "-o", "m.safetensors")
    assert code == 2
    assert "labels are read from a file of this machine" in error
