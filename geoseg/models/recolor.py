"""Change the names and colours of the classes in a model file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from geoseg.grid.legend import Legend
from geoseg.models.card import Card
from geoseg.models.model_file import check_name, read_model, write_model
from geoseg.raster.legend_file import legend_of


def recolor(
    model: Path | str,
    output: Path | str,
    *,
    legend: Legend | str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Card:
    """Rewrite a model file with other names and colours of its classes; codes and weights are kept.

    Law: the weights in the new file are those of the old one, bit for bit.

    Parameters
    ----------
    model : path
        Model file.
    output : path
        Model file to write, ``.safetensors``.
    legend : Legend or path, optional
        Names and colours by code; codes that it does not contain keep theirs. Without it every class gets the
        colour that its name suggests, or one of a palette.
    overwrite : bool
        Whether `output` may replace a file, which may be the model itself.

    Returns
    -------
    Card
        The card as written.

    Raises
    ------
    ModelError, LegendError, OutputError, OutputExistsError
    """
    path, asked = Path(output), legend_of(legend)
    check_name(path)
    card, weights, int8 = read_model(Path(model))
    card = card.relabelled(asked or Legend.of((c.code, c.name, None) for c in card.legend))
    write_model(path, card, weights, int8, overwrite=overwrite)
    return card
