"""pyogrio without geopandas: not loaded, and found all the same by who wants it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_pyogrio_is_imported_in_one_place() -> None:
    """Elsewhere it would import geopandas and pandas, which takes longer than most commands."""
    sources = [*ROOT.glob("geoseg/**/*.py"), *ROOT.glob("cli/**/*.py")]
    imports = re.compile(r"^\s*(import|from) pyogrio\b", re.MULTILINE)
    found = [path.name for path in sources if imports.search(path.read_text())]
    assert found == ["ogr.py"]


def test_frames_are_read_and_written_although_geopandas_was_not_loaded(tmp_path: Path) -> None:
    """If pyogrio asks geopandas, pandas or shapely for more than a version while it is imported: they are loaded, and
    every command that reads or writes polygons takes half a second longer to start.
    """
    script = """
import sys
from geoseg.vectorfiles.ogr import pyogrio
assert not {"geopandas", "pandas"} & set(sys.modules)
import geopandas, shapely
frame = geopandas.GeoDataFrame({"code": [3]}, geometry=[shapely.Point(1, 2)], crs="EPSG:32633")
frame.to_file(sys.argv[1], engine="pyogrio")
read = pyogrio.read_dataframe(sys.argv[1])
assert isinstance(read, geopandas.GeoDataFrame) and read.crs == frame.crs
assert geopandas.read_file(sys.argv[1], engine="pyogrio").equals(read)
pyogrio.write_dataframe(read, sys.argv[1])
assert sys.modules["geopandas"].__file__ and sys.modules["pandas"].__file__
print(int(read["code"].sum()))
"""
    command = [sys.executable, "-c", script, str(tmp_path / "points.gpkg")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "3\n"), run.stderr
