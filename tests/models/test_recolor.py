"""Other colours and names for a model's classes; weights and codes stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from geoseg_cli.main import group
from safetensors.torch import load_file

import geoseg
from geoseg.errors import LegendError, OutputExistsError
from geoseg.grid.legend import Legend
from geoseg.models.model import Model


@pytest.fixture
def stored(tmp_path: Path, small: dict[str, Any]) -> Path:
    """A model of half weights whose forest is blue and whose water is green."""
    path = tmp_path / "m.safetensors"
    legend = Legend.parse('water=#00ff00,forest=#0000ff,"town, dense"=#00ff01')
    Model.new(**{**small, "classes": legend}).save(path, weights="fp16")
    return path


@pytest.mark.long
def test_classes_get_the_colours_that_their_names_suggest(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.safetensors"
    result = CliRunner().invoke(group, ["model", "recolor", str(stored), "-o", str(out)])
    assert result.exit_code == 0, result.stderr
    before, after = Model.open(stored).card, Model.open(out).card
    assert after == before.changed(legend=Legend.parse('water,forest,"town, dense"').classes)
    assert f"{after.classes[2].color} forest" in result.stderr
    for name, tensor in load_file(stored).items():
        assert tensor.dtype == load_file(out)[name].dtype
        assert tensor.equal(load_file(out)[name])


def test_a_legend_renames_and_recolours_the_codes_that_it_names(stored: Path) -> None:
    legend = stored.with_name("l.csv")
    legend.write_text('Value,Label,R,G,B\n2,"Wood, deciduous",34,139,34\n99,else,0,0,0\n')
    result = CliRunner().invoke(
        group, ["model", "recolor", str(stored), "--legend", str(legend), "-o", str(stored), "--overwrite"]
    )
    assert result.exit_code == 0, result.stderr
    classes = Model.open(stored).card.classes
    assert classes.codes == (1, 2, 3)
    assert (classes[2].name, classes[2].color) == ("Wood, deciduous", "#228b22")
    assert (classes[1].name, classes[1].color) == ("water", "#00ff00")


def test_what_cannot_be_is_refused_and_nothing_is_written(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.safetensors"
    with pytest.raises(LegendError, match=r"the legend names codes 7, expected some of 1, 2, 3"):
        geoseg.recolor(stored, out, legend=Legend.made_up([7]))
    assert not out.exists()
    out.touch()
    with pytest.raises(OutputExistsError):
        geoseg.recolor(stored, out)
