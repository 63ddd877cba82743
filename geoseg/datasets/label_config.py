"""The ``labels`` section of the data configuration: the forms of labels."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from geoseg.datasets.quantities import STRICT, BandNumber, Code, Length, Offset, Pattern, Pixels
from geoseg.labels.overlap import OVERLAP, Overlap
from geoseg.raster.file_kinds import KINDS

_FORMS: Final = {
    ".csv": "run_lengths",
    **{ending: "vector" for kind in KINDS if kind.holds == "vector" for ending in kind.endings},
}
"""Form of labels by file suffix; everything else is a raster of codes, with or without a colour table."""
FORM_NAMES: Final = ("codes", "colors", "grey", "vector", "run_lengths")


class _LabelsConfig(BaseModel):
    """Settings of all forms of labels.

    Attributes
    ----------
    files
        Pattern under ``data.root``: one file per image; for vectors and run lengths also one file for all images.
    key
        Regular expression that finds the image's key in the name (without suffix) of the labels' file; the name
        itself by default.
    unlabelled
        Meaning of unlabelled pixels: ``ignored``, or the code of their class.
    """

    model_config = STRICT

    files: str | None = None
    key: Pattern | None = None
    unlabelled: Literal["ignored"] | Code = "ignored"


class CodesConfig(_LabelsConfig):
    """Rasters of class codes; for multilabel data also rasters with a band of 0 and 1 for each class."""

    form: Literal["codes"] = "codes"
    band: BandNumber = 1


class ColorsConfig(_LabelsConfig):
    """Colour-coded pictures.

    Attributes
    ----------
    tolerance
        Largest difference in each of red, green and blue from the colour of a class, for pictures that were
        compressed lossily.
    """

    form: Literal["colors"] = "colors"
    tolerance: Annotated[int, Field(ge=0, le=127)] = 0


class GreyConfig(_LabelsConfig):
    """Grey masks of binary data: 1 where the pixel is above the threshold."""

    form: Literal["grey"] = "grey"
    threshold: Annotated[float, Field(allow_inf_nan=False)] = 127


class VectorConfig(_LabelsConfig):
    """Polygons, lines and points.

    Attributes
    ----------
    layer
        Name of a layer, or several; all layers by default.
    class_field
        Attribute with the class; by default the name of the layer is the class.
    buffer
        Buffer around lines and points, in units of the image's CRS (px if it has none).
    all_touched
        Whether every touched pixel is labelled, instead of those whose centre is inside.
    overlap
        Class of pixels covered by shapes of several classes: of the ``smallest``, of the ``last`` in
        the file, or none (``ignore``). In multilabel data they have all of these classes.
    encoding
        Text encoding of a Shapefile that does not declare it, such as ``cp949``.
    """

    form: Literal["vector"] = "vector"
    layer: str | tuple[str, ...] | None = None
    class_field: str | None = None
    buffer: Length = 0.0
    all_touched: bool = False
    overlap: Overlap = OVERLAP
    encoding: str | None = None


class RunLengthsConfig(_LabelsConfig):
    """A table of run lengths in Kaggle's format: column-major, counted from 1.

    Attributes
    ----------
    size
        (rows, cols) of the masks in the table; the image's own by default.
    content
        (row, col, height, width) of the image that the masks cover; all of it by default.
    """

    form: Literal["run_lengths"] = "run_lengths"
    size: tuple[Pixels, Pixels] | None = None
    content: tuple[Offset, Offset, Pixels, Pixels] | None = None


def with_form(value: object) -> object:
    """Add the form to labels that do not name it, from the suffix of their files."""
    fields = {"files": value} if isinstance(value, str) else value
    if isinstance(fields, dict) and "form" not in fields:
        return fields | {"form": form_of(str(fields.get("files") or ""))}
    return fields


def form_of(name: str) -> str:
    """Return the form of labels in files of such names, as `geoseg.labels.forms.form_of_source` finds it in a file.

    No file is opened: that pictures have red, green and blue is said in a configuration, and their labels are refused
    without it.
    """
    return next((form for end, form in _FORMS.items() if name.lower().endswith(end)), "codes")


LabelsConfig = Annotated[
    CodesConfig | ColorsConfig | GreyConfig | VectorConfig | RunLengthsConfig,
    Field(discriminator="form"),
    BeforeValidator(with_form),
]
