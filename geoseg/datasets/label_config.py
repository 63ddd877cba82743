"""The ``labels`` of a data description: the forms that labels have."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from geoseg.datasets.quantities import STRICT, BandNumber, Code, Length, Offset, Pattern, Pixels
from geoseg.raster.file_kinds import KINDS
from geoseg.vector.overlap import OVERLAP, Overlap

_FORMS: Final = {
    ".csv": "run_lengths",
    **{ending: "vector" for kind in KINDS if kind.holds == "vector" for ending in kind.endings},
}
"""Form of labels by the end of their files' names; everything else is a raster of codes."""
FORM_NAMES: Final = ("codes", "colors", "grey", "vector", "run_lengths")


class _LabelsConfig(BaseModel):
    """What every form of labels has.

    Attributes
    ----------
    files
        Pattern under ``data.root``: a file for each image; of vectors and run lengths also one file for all.
    key
        How the key of an image is found in the name (without suffix) of its labels' file; the name itself by
        default.
    unlabelled
        Pixels that no label covers: ``ignored``, or the code of the class they are.
    """

    model_config = STRICT

    files: str | None = None
    key: Pattern | None = None
    unlabelled: Literal["ignored"] | Code = "ignored"


class CodesConfig(_LabelsConfig):
    """Rasters of codes; of multilabel data also rasters with a band of 0 and 1 for each class."""

    form: Literal["codes"] = "codes"
    band: BandNumber = 1


class ColorsConfig(_LabelsConfig):
    """Colour-coded pictures.

    Attributes
    ----------
    tolerance
        Largest difference in each of red, green and blue to the colour of a class, for pictures that were
        compressed with loss.
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
        Layer, or several; all layers by default.
    class_field
        Attribute that holds the class; without it, the name of the layer is the class.
    buffer
        Lines and points are widened by this much, in units of the image's CRS (px where it has none).
    all_touched
        Whether every touched pixel counts, or those whose centre is inside.
    overlap
        Whose class a pixel has that shapes of several classes cover: the ``smallest`` one's, the ``last`` one's in
        the file, or nobody's (``ignore``). In multilabel data it has all of them.
    encoding
        Of the text of a Shapefile that does not say it: ``cp949``.
    """

    form: Literal["vector"] = "vector"
    layer: str | tuple[str, ...] | None = None
    class_field: str | None = None
    buffer: Length = 0.0
    all_touched: bool = False
    overlap: Overlap = OVERLAP
    encoding: str | None = None


class RunLengthsConfig(_LabelsConfig):
    """A table of run lengths: column-major, counted from 1, as Kaggle has them.

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
    """Take a pattern for labels of the form that its ending says, and give labels without a form theirs."""
    fields = {"files": value} if isinstance(value, str) else value
    if isinstance(fields, dict) and "form" not in fields:
        return fields | {"form": form_of(str(fields.get("files") or ""))}
    return fields


def form_of(name: str) -> str:
    """Form of labels in a file of this name."""
    return next((form for end, form in _FORMS.items() if name.lower().endswith(end)), "codes")


LabelsConfig = Annotated[
    CodesConfig | ColorsConfig | GreyConfig | VectorConfig | RunLengthsConfig,
    Field(discriminator="form"),
    BeforeValidator(with_form),
]
