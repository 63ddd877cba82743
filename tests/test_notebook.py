"""The notebook runs as written, in a kernel of its own, on the data that come with the package."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pyogrio
import pytest
from nbclient import NotebookClient

from geoseg.demo.scenes import MODEL, data_file
from geoseg.models.card import read_card

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.ipynb"


def test_it_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.long  # a kernel imports torch, too
def test_it_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    shown = ["".join(map(str, cell.get("outputs", []))) for cell in notebook.cells]
    names = read_card(data_file(MODEL)).classes.names
    (areas,) = (text for text in shown if "largest_ha" in text)
    (scores,) = (text for text in shown if "overall accuracy" in text)
    assert all(name in areas for name in names if name in scores)
    assert sum("image/png" in text for text in shown) == 3
    info = pyogrio.read_info(tmp_path / "geoseg-examples" / "landcover.gpkg", layer="landcover")
    assert info["features"] > 100
