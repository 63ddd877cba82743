"""The ``data`` part of a training configuration: images, labels, classes, splits; checked before files are read."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from geoseg.errors import LegendError
from geoseg.grid.legend import BACKGROUND, BUILT_IN, NODATA, Legend, LegendClass, Task, made_up_color
from geoseg.raster.labels import UNKNOWN, LabelValue, Meanings, plain

SPLITS: Final = ("train", "val", "test")
_STRICT = ConfigDict(extra="forbid", frozen=True)
_FORMS: Final = {
    ".csv": "run_lengths",
    **dict.fromkeys((".gpkg", ".geojson", ".json", ".shp", ".fgb", ".parquet", ".kml"), "vector"),
}
"""Form of labels by the end of their files' names; everything else is a raster of codes."""

TAGS: Final = frozenset(
    [
        "codes",
        "colors",
        "grey",
        "vector",
        "run_lengths",
        "given",
        "column",
        "every",
        "fraction",
        "folds",
        "blocks",
    ]
)
"""Forms of labels and methods of splits: what `one_line` leaves out of a key's path."""

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
GroupName = int | str
Code = Annotated[int, Field(ge=0, lt=NODATA)]


def _pattern(text: object) -> object:
    """Refuse what is no regular expression with one group."""
    if isinstance(text, str):
        try:
            groups = re.compile(text).groups
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from error
        if groups != 1:
            raise ValueError(f"has {groups} groups, expected one: the part that image and labels share")
    return text


Pattern = Annotated[str, BeforeValidator(_pattern)]
"""A regular expression whose one group is what an image's file and its labels' file have in common."""


class ClassConfig(BaseModel):
    """A class of the map: name, colour, and the label values that mean it.

    Without `labels` these are the class's own code (rasters of codes), its name or code (vectors), its name
    (run lengths) or its colour (colour-coded pictures).
    """

    model_config = _STRICT

    name: str
    color: str | None = None
    labels: Annotated[tuple[LabelValue, ...], Field(min_length=1)] | None = None


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

    model_config = _STRICT

    files: str | None = None
    key: Pattern | None = None
    unlabelled: Literal["ignored"] | Code = "ignored"


class CodesConfig(_LabelsConfig):
    """Rasters of codes; of multilabel data also rasters with a band of 0 and 1 for each class."""

    form: Literal["codes"] = "codes"
    band: Count = 1


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
    threshold: float = 127


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
    """

    form: Literal["vector"] = "vector"
    layer: str | tuple[str, ...] | None = None
    class_field: str | None = None
    buffer: Length = 0.0
    all_touched: bool = False


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
    size: tuple[Count, Count] | None = None
    content: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Count, Count] | None = None


LabelsConfig = Annotated[
    CodesConfig | ColorsConfig | GreyConfig | VectorConfig | RunLengthsConfig, Field(discriminator="form")
]


def _labels(value: object) -> object:
    """Take a pattern for labels of the form that its ending says, and give labels without a form theirs."""
    fields = {"files": value} if isinstance(value, str) else value
    if isinstance(fields, dict) and "form" not in fields:
        return fields | {"form": form_of(str(fields.get("files") or ""))}
    return fields


_UNKNOWN: Final = "unknown"
"""Name of the class of a built-in legend that is none."""


def form_of(name: str) -> str:
    """Form of labels in a file of this name."""
    return next((form for end, form in _FORMS.items() if name.lower().endswith(end)), "codes")


class GivenSplit(BaseModel):
    """Groups of each split, by name: as the table's column has it, the number (from 0) of a list in `groups`,
    or the key of an image that no one groups.
    """

    model_config = _STRICT

    method: Literal["given"] = "given"
    train: Annotated[tuple[GroupName, ...], Field(min_length=1)]
    val: Annotated[tuple[GroupName, ...], Field(min_length=1)]
    test: tuple[GroupName, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        everything = [str(group) for group in (*self.train, *self.val, *self.test)]
        twice = sorted({group for group in everything if everything.count(group) > 1})
        if twice:
            raise ValueError(f"group {twice[0]} stands in two splits, expected one: scores would be too good")
        return self


class ColumnSplit(BaseModel):
    """The table's column ``split`` says: train, val (also valid, validation) or test; empty: not used."""

    model_config = _STRICT

    method: Literal["column"] = "column"


class EverySplit(BaseModel):
    """Every n-th group in the order of the names validates, the rest trains; `first` counts from 0."""

    model_config = _STRICT

    method: Literal["every"] = "every"
    n: Annotated[int, Field(ge=2)]
    first: Annotated[int, Field(ge=0)] = 0


class _SharedOut(BaseModel):
    """Shares that validate and test; the rest trains."""

    model_config = _STRICT

    val: Annotated[Share, Field(gt=0)] = 0.2
    test: Share = 0.0
    seed: Seed = 0

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val:g} and test {self.test:g} leave nothing to train on")
        return self


class FractionSplit(_SharedOut):
    """Seeded shares of the groups, at least one group for a share above 0."""

    method: Literal["fraction"] = "fraction"


class FoldSplit(BaseModel):
    """Seeded folds of the groups: number `fold` (from 0) of `k` validates, the rest trains."""

    model_config = _STRICT

    method: Literal["folds"] = "folds"
    k: Annotated[int, Field(ge=2)]
    fold: Annotated[int, Field(ge=0)] = 0
    seed: Seed = 0

    @model_validator(mode="after")
    def _there(self) -> Self:
        if self.fold >= self.k:
            raise ValueError(f"fold {self.fold} of {self.k} is not there, expected 0 to {self.k - 1}")
        return self


class BlockSplit(_SharedOut):
    """Seeded shares of square blocks of every image, so that one scene trains and validates.

    Attributes
    ----------
    size
        Edge of a block, px; a sixth of the image's shorter edge by default.
    buffer
        Labelled pixels that lie within this many rows and columns of a block of another split count in none.
    val, test
        Shares of the labelled pixels of each class, as nearly as whole blocks allow; every class trains.
    """

    method: Literal["blocks"] = "blocks"
    size: Count | None = None
    buffer: Annotated[int, Field(ge=0)] = 0


SplitConfig = Annotated[
    GivenSplit | ColumnSplit | EverySplit | FractionSplit | FoldSplit | BlockSplit,
    Field(discriminator="method"),
]


def _split(value: object) -> object:
    """Take lists of groups without a method for given ones."""
    if isinstance(value, dict) and "method" not in value:
        return value | {"method": "given"}
    return value


def _classes(value: object) -> object:
    """Take a name for a class."""
    if isinstance(value, str):
        raise ValueError(f"no legend is built in, expected one of {', '.join(BUILT_IN)}, or classes by code")
    if isinstance(value, dict):
        return {code: {"name": each} if isinstance(each, str) else each for code, each in value.items()}
    return value


class DataConfig(BaseModel):
    """Images, their labels, and how they are split.

    Attributes
    ----------
    root
        Folder that all other names are seen from; may hold environment variables.
    task
        ``multiclass``; ``binary`` (codes 0 and 1; 0 is made up where it is not named); ``multilabel`` (classes
        may overlap).
    images
        Pattern under `root`.
    key
        How the key of an image is found in its name (without suffix); the name itself by default. A pattern
        with a ``/`` is looked for in the path from `root`. One image and one file of labels need no keys.
    labels
        See `LabelsConfig`; a mere pattern takes the form from its ending.
    table
        CSV, GeoPackage or Parquet file under `root`, a row an image, in place of the patterns: columns
        ``image``, ``label`` (not for labels that are one file for all), and where there are ``split`` and
        ``group``; paths from `root`.
    exclude
        Keys of images that are left out before anything is split.
    bands
        Name of each band that is used. Images whose bands are described are read by these names; others need
        `band_numbers` or as many bands as there are names.
    classes
        By code of the class map, 0 to 254; or ``deepglobe``, whose class "unknown" is ignored.
    ignore
        Label values that mean "unknown". Pixels that a label raster marks as no data are unknown anyway.
    groups
        Lists of keys that must not be separated (such as overlapping patches), or a JSON file with them.
        Without groups (here or in the table) images that overlap on the ground are one group where the split
        is drawn, and every image is one named by its key where the split is given.
    image_size, fit
        (rows, cols) that images of different sizes are brought to: ``resize`` them whole (undone at
        prediction), ``pad`` smaller ones, or ``crop`` larger ones (and pad smaller ones).
    """

    model_config = _STRICT

    root: str = "."
    task: Task = "multiclass"
    images: str | None = None
    key: Pattern | None = None
    labels: Annotated[LabelsConfig, BeforeValidator(_labels)]
    table: str | None = None
    exclude: tuple[str, ...] = ()
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    band_numbers: tuple[Count, ...] | None = None
    classes: Annotated[dict[Code, ClassConfig], Field(min_length=1), BeforeValidator(_classes)]
    ignore: tuple[LabelValue, ...] = ()
    groups: str | tuple[tuple[str, ...], ...] | None = None
    split: Annotated[SplitConfig, BeforeValidator(_split)]
    image_size: tuple[Count, Count] | None = None
    fit: Literal["resize", "pad", "crop"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _built_in(cls, fields: object) -> object:
        """Take the name of a legend that is built in for its classes; what it calls unknown is ignored."""
        if not isinstance(fields, dict) or str(fields.get("classes")) not in BUILT_IN:
            return fields
        legend = BUILT_IN[str(fields["classes"])]
        labels, ignore = _labels(fields.get("labels")), fields.get("ignore", ())
        form = str(labels.get("form") if isinstance(labels, dict) else getattr(labels, "form", "codes"))
        unknown = [value for c in legend.classes if c.name == _UNKNOWN for value in _own_values(c, form)]
        classes = {c.code: {"name": c.name, "color": c.color} for c in legend.classes if c.name != _UNKNOWN}
        return fields | {
            "classes": classes,
            "ignore": [*ignore, *unknown] if isinstance(ignore, list | tuple) else ignore,
        }

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.images is None) == (self.table is None):
            raise ValueError("expected either images (a pattern) or table, and not both")
        if self.table is None and self.labels.files is None:
            raise ValueError("labels.files is missing, expected a pattern under data.root")
        if isinstance(self.split, ColumnSplit) and self.table is None:
            raise ValueError("split by column needs a table with a column split")
        if self.band_numbers is not None and len(self.band_numbers) != len(self.bands):
            raise ValueError(f"band_numbers has {len(self.band_numbers)} numbers for {len(self.bands)} bands")
        if len(set(self.bands)) != len(self.bands):
            raise ValueError(f"bands repeat a name: {', '.join(self.bands)}")
        if (self.image_size is None) != (self.fit is None):
            raise ValueError("image_size and fit go together, expected both or neither")
        try:
            self.legend  # noqa: B018 - building it checks it
        except LegendError as error:
            raise ValueError(str(error)) from error
        self._check_task()
        self.meanings  # noqa: B018 - building it checks it
        return self

    def _check_task(self) -> None:
        if self.task == "binary" and self.legend.codes != (0, 1):
            raise ValueError(f"a binary task has class 1 (and 0), found classes {listed_codes(self.classes)}")
        if self.task == "multiclass" and len(self.classes) < 2:
            raise ValueError("a multiclass task has at least 2 classes; say task: binary for one")
        unlabelled = self.labels.unlabelled
        if unlabelled != "ignored" and self.task != "multilabel" and unlabelled not in self.legend.codes:
            raise ValueError(
                f"labels.unlabelled is {unlabelled}, expected ignored or one of the classes "
                f"{listed_codes(self.classes)}"
            )
        if unlabelled not in ("ignored", 0) and self.task == "multilabel":
            raise ValueError(f"labels.unlabelled is {unlabelled}, expected ignored, or 0 for absent")
        if self.labels.form == "grey" and self.task != "binary":
            raise ValueError("grey masks are labels of a binary task")

    @property
    def legend(self) -> Legend:
        """The classes, colours made up where none is given; of a binary task with its background."""
        classes = dict(self.classes)
        if self.task == "binary" and 0 not in classes:
            classes[0] = ClassConfig(name=BACKGROUND.name, color=BACKGROUND.color)
        return Legend(
            classes=tuple(
                LegendClass(code=code, name=c.name, color=(c.color or made_up_color(i)).lower())
                for i, (code, c) in enumerate(sorted(classes.items()))
            )
        )

    @property
    def channels(self) -> tuple[int, ...]:
        """Legend code of each network channel."""
        return (1,) if self.task == "binary" else self.legend.codes

    @property
    def meanings(self) -> Meanings:
        """Legend code of each label value.

        Raises
        ------
        ValueError
            If a value has two meanings.
        """
        code_of: dict[LabelValue, int] = {}
        for c in self.legend.classes:
            given = self.classes[c.code].labels if c.code in self.classes else None
            for value in given or _own_values(c, self.labels.form):
                if code_of.setdefault(plain(value), c.code) != c.code:
                    raise ValueError(f"label value {value!r} means two classes, expected one")
        for value in self.ignore:
            if code_of.setdefault(plain(value), UNKNOWN) != UNKNOWN:
                raise ValueError(
                    f"label value {value!r} has two meanings in classes and ignore, expected one"
                )
        unlabelled = self.labels.unlabelled
        return Meanings(
            codes=self.channels,
            code_of=code_of,
            unlabelled=UNKNOWN if unlabelled == "ignored" else unlabelled,
        )


def _own_values(c: LegendClass, form: str) -> tuple[LabelValue, ...]:
    """Label values that mean a class where none are given."""
    own: dict[str, tuple[LabelValue, ...]] = {
        "codes": (c.code,),
        "grey": (c.code,),
        "colors": (c.color,),
        "run_lengths": (c.name,),
        "vector": (c.code, c.name),
    }
    return own.get(form, ())


def listed_codes(classes: dict[int, Any]) -> str:
    """Name codes, for messages."""
    return ", ".join(map(str, sorted(classes)))
