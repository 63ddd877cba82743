"""The notebook runs as written, in a kernel of its own, on the data that come with the package."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pyogrio
import pytest
from nbclient import NotebookClient

from geoseg.demo.scene import PACKAGED
from geoseg.models.card_file import read_card

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.ipynb"
PICTURES = 3


def test_it_is_committed_with_its_pictures_as_one_run_left_them() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == PICTURES
    assert NOTEBOOK.stat().st_size < 1_000_000, "pictures of few colours are enough"


@pytest.mark.long  # a kernel imports torch, too
def test_it_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    shown = ["".join(map(str, cell.get("outputs", []))) for cell in notebook.cells]
    names = read_card(PACKAGED.model).classes.names
    (areas,) = (text for text in shown if "largest_ha" in text)
    (scores,) = (text for text in shown if "overall accuracy" in text)
    assert all(name in areas for name in names if name in scores)
    assert sum("image/png" in text for text in shown) == PICTURES
    info = pyogrio.read_info(tmp_path / "geoseg-examples" / "landcover.gpkg", layer="landcover")
    assert info["features"] > 100
