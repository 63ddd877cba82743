"""The ``data`` section of a training configuration, checked before files are read."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from geoseg.datasets.label_config import FORM_NAMES, LabelsConfig, with_form
from geoseg.datasets.quantities import STRICT, BandNumber, Code, Edge, Nodata, Pattern, Positive
from geoseg.datasets.split_config import METHOD_NAMES, ColumnSplit, SplitConfig
from geoseg.errors import LegendError, plural
from geoseg.grid.legend import BACKGROUND, BUILT_IN, Legend, Task
from geoseg.labels.forms import own_values
from geoseg.labels.label import UNKNOWN, Expected, LabelValue, Meanings, plain
from geoseg.raster.declared import Declared, NodataRule, nodata_of

TAGS: Final = frozenset([*FORM_NAMES, *METHOD_NAMES])
"""Parts of a key's path that `one_line` omits."""
_UNKNOWN: Final = "unknown"
"""Name of the class in a built-in legend that means "not a class"."""


class ClassConfig(BaseModel):
    """A class of the map: name, colour, and the label values that mean it.

    Without `labels` these are the class's own code (rasters of codes), its name or code (vectors), its name
    (run lengths) or its colour (colour-coded pictures).
    """

    model_config = STRICT

    name: str
    color: str | None = None
    labels: Annotated[tuple[LabelValue, ...], Field(min_length=1)] | None = None


def _classes(value: object) -> object:
    """Convert class names to class entries."""
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
        Folder to which all other names are relative; may contain environment variables.
    task
        ``multiclass``; ``binary`` (codes 0 and 1; 0 is added if it is not named); ``multilabel`` (classes
        may overlap).
    images
        Pattern under `root`, which may match folders of products of Sentinel-2 and Landsat; a URL; or, for images
        that consist of one file per band, a pattern (or URL) for each band by name; files with equal keys belong
        together.
    resolution
        Pixel size to which images of several files are resampled, in units of their CRS; the finest file's by
        default.
    allow_remote
        Whether an image that is a VRT may have remote members.
    key
        Regular expression that finds the key of an image in its name (without suffix); the name itself by
        default. A pattern with a ``/`` is searched in the path relative to `root`. One image and one file of
        labels need no keys.
    labels
        See `LabelsConfig`; for a plain pattern the form follows from its suffix.
    table
        CSV, GeoPackage or Parquet file under `root` with one row per image, instead of patterns: columns
        ``image``, ``label`` (unless one file holds the labels of all), and optionally ``split`` and
        ``group``; paths are relative to `root`.
    pairs
        List of (image, labels), instead of patterns; paths are relative to `root`.
    exclude
        Keys of images that are excluded before the split.
    bands
        Name of each band that is used. Images with band descriptions are read by these names; others need
        `band_numbers` or as many bands as there are names.
    nodata, nodata_rule, alpha
        Which pixels of the images are valid, if their files do not declare it correctly: see `PredictOptions`.
    classes
        Classes by code of the class map, 0 to 254; or ``deepglobe``, whose class "unknown" is ignored.
    ignore
        Label values that mean "unknown". No-data pixels of label rasters are always unknown.
    groups
        Lists of keys that must not be separated (such as overlapping patches), or a JSON file with them.
        Without groups (here or in the table), images that overlap on the ground form a group if the split
        is drawn at random, and every image is a group named by its key if the split is given.
    image_size, fit
        (rows, cols) to which images of different sizes are converted: ``resize`` them whole (undone at
        prediction), ``pad`` smaller ones, or ``crop`` larger ones (and pad smaller ones).
    """

    model_config = STRICT

    root: str = "."
    task: Task = "multiclass"
    images: str | Annotated[dict[str, str], Field(min_length=1)] | None = None
    resolution: Positive | None = None
    allow_remote: bool = False
    key: Pattern | None = None
    labels: LabelsConfig
    table: str | None = None
    pairs: Annotated[tuple[tuple[str, str], ...], Field(min_length=1)] | None = None
    exclude: tuple[str, ...] = ()
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    band_numbers: tuple[BandNumber, ...] | None = None
    nodata: Nodata | None = None
    nodata_rule: NodataRule | None = None
    alpha: BandNumber | Literal["none"] | None = None
    classes: Annotated[dict[Code, ClassConfig], Field(min_length=1), BeforeValidator(_classes)]
    ignore: tuple[LabelValue, ...] = ()
    groups: str | tuple[tuple[str, ...], ...] | None = None
    split: SplitConfig
    image_size: tuple[Edge, Edge] | None = None
    fit: Literal["resize", "pad", "crop"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _built_in(cls, fields: object) -> object:
        """Replace the name of a built-in legend by its classes; its class "unknown" is ignored."""
        if not isinstance(fields, dict) or str(fields.get("classes")) not in BUILT_IN:
            return fields
        legend = BUILT_IN[str(fields["classes"])]
        labels, ignore = with_form(fields.get("labels")), fields.get("ignore", ())
        form = str(labels.get("form") if isinstance(labels, dict) else getattr(labels, "form", "codes"))
        unknown = [value for c in legend.classes if c.name == _UNKNOWN for value in own_values(c, form)]
        classes = {c.code: {"name": c.name, "color": c.color} for c in legend.classes if c.name != _UNKNOWN}
        return fields | {
            "classes": classes,
            "ignore": [*ignore, *unknown] if isinstance(ignore, list | tuple) else ignore,
        }

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if sum(given is not None for given in (self.images, self.table, self.pairs)) != 1:
            raise ValueError("expected either images (a pattern), table or pairs, and one of them only")
        if self.images is not None and self.labels.files is None:
            raise ValueError("labels.files is missing, expected a pattern under data.root")
        if self.pairs is not None and self.labels.files is not None:
            raise ValueError("labels.files and pairs both give the labels, expected one of them")
        if isinstance(self.split, ColumnSplit) and self.table is None:
            raise ValueError("split by column needs a table with a column split")
        if self.band_numbers is not None and len(self.band_numbers) != len(self.bands):
            raise ValueError(
                f"band_numbers has {plural(len(self.band_numbers), 'number')} for {plural(len(self.bands), 'band')}"
            )
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
            raise ValueError("a multiclass task has at least 2 classes; set task: binary for one")
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
    def declared(self) -> Declared:
        """Declarations about the validity of pixels."""
        return Declared(nodata=nodata_of(self.nodata), rule=self.nodata_rule, alpha=self.alpha)

    @property
    def legend(self) -> Legend:
        """The classes, with default colours if none are given; for a binary task with its background."""
        classes = dict(self.classes)
        if self.task == "binary" and 0 not in classes:
            classes[0] = ClassConfig(name=BACKGROUND)
        return Legend.of((code, c.name, c.color.lower() if c.color else None) for code, c in classes.items())

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
            for value in given or own_values(c, self.labels.form):
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
            remedy="name them in data.classes or data.ignore"
            + (", or raise data.labels.tolerance" if self.labels.form == "colors" else ""),
            expected=Expected(
                whose="data.classes",
                names={c.code: c.name for c in self.legend.classes},
                given=frozenset(code for code, c in self.classes.items() if c.labels is not None),
                remedy="say in data.classes which of its numbers mean which class, such as {name: forest, labels: [2]}",
                by_name="let its names count with data.labels.class_field: class_name",
            ),
        )


def listed_codes(classes: dict[int, Any]) -> str:
    """Format codes for messages."""
    return ", ".join(map(str, sorted(classes)))
