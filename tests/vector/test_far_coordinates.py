"""Coordinates that no place has, as 1e308, are left out: no overflow, no error of GEOS, the rest is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import geoseg
from geoseg.assessment.describe import describe
from geoseg.errors import DataError, OptionError
from geoseg.inference.clip import ClipArea
from geoseg.labels.conversion import Conversion, convert
from geoseg.raster.scene import Scene
from tests.vector.test_vectorize import write_raster

NEAR = [[8.9, 48.7], [9.1, 48.7], [9.1, 48.75275], [8.9, 48.75275], [8.9, 48.7]]
FAR = {
    "beyond": [[1e308, 1e308], [1.7e308, 1e308], [1.7e308, 1.7e308], [1e308, 1e308]],
    "across": [[-1e308, -1e308], [1e308, -1e308], [1e308, 1e308], [-1e308, 1e308], [-1e308, -1e308]],
    "a corner": [[9, 48.75], [9.001, 48.75], [1e308, 48.76], [9, 48.75]],
    "1e13": [[0, 0], [1e13, 0], [1e13, 1e13], [0, 0]],
}


def collection(path: Path, *rings: Any) -> Path:
    features = [
        {
            "type": "Feature",
            "properties": {"class_code": 1, "class": "a"},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for ring in rings
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "m.tif", np.ones((6, 8), np.float32))


@pytest.mark.parametrize("ring", FAR.values(), ids=FAR)
def test_the_rest_is_drawn(tmp_path: Path, raster: Path, ring: Any) -> None:
    near, both = collection(tmp_path / "n.geojson", NEAR), collection(tmp_path / "b.geojson", NEAR, ring)
    expected = geoseg.rasterize(near, like=raster).to_numpy()
    assert (expected == 1).any()
    np.testing.assert_array_equal(geoseg.rasterize(both, like=raster).to_numpy(), expected)
    grid = Scene.open(raster).grid
    np.testing.assert_array_equal(ClipArea(both, grid)(0, 6), ClipArea(near, grid)(0, 6))
    plan = Conversion(source=both, target=tmp_path / "l.tif", like=raster, class_field="class")
    assert dict(convert(plan, lossy=True).pixels) == {"a": int((expected == 1).sum())}
    assert describe(both)["layers"][0]["features"] == 2


@pytest.mark.parametrize("name", ["beyond", "across"])
def test_nothing_else_is_one_line(tmp_path: Path, raster: Path, name: str) -> None:
    path = collection(tmp_path / "f.geojson", FAR[name])
    with pytest.raises(DataError):
        geoseg.rasterize(path, like=raster, output=tmp_path / "o.tif")
    with pytest.raises(OptionError, match="expected pixels that fit in"):
        geoseg.rasterize(path, resolution=0.001)
    with pytest.raises(OptionError, match="holds no polygon"):
        ClipArea(path, Scene.open(raster).grid)
