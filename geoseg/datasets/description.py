"""The ``data`` part of a training configuration: images, labels, classes, splits; checked before files are read."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from geoseg.datasets.label_config import FORM_NAMES, LabelsConfig, with_form
from geoseg.datasets.quantities import STRICT, BandNumber, Code, Edge, Nodata, Pattern, Positive
from geoseg.datasets.split_config import METHOD_NAMES, ColumnSplit, SplitConfig
from geoseg.errors import LegendError
from geoseg.grid.legend import BACKGROUND, BUILT_IN, Legend, LegendClass, Task
from geoseg.raster.declared import Declared, NodataRule, nodata_of
from geoseg.raster.labels import UNKNOWN, LabelValue, Meanings, plain

TAGS: Final = frozenset([*FORM_NAMES, *METHOD_NAMES])
"""What `one_line` leaves out of a key's path."""
_UNKNOWN: Final = "unknown"
"""Name of the class of a built-in legend that is none."""


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
        Pattern under `root`, which may match folders of products of Sentinel-2 and Landsat; a URL; or, for images that
        are a file for each band, a pattern (or URL) for each band by its name, whose files have their keys in common.
    resolution
        Edge of the pixels that images of several files are brought to, in units of their CRS; the finest file's by
        default.
    allow_remote
        Whether an image that is a VRT may have remote members.
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
    nodata, nodata_rule, alpha
        Which pixels of the images are valid, where their files do not say it rightly: see `PredictOptions`.
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

    model_config = STRICT

    root: str = "."
    task: Task = "multiclass"
    images: str | Annotated[dict[str, str], Field(min_length=1)] | None = None
    resolution: Positive | None = None
    allow_remote: bool = False
    key: Pattern | None = None
    labels: LabelsConfig
    table: str | None = None
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
        """Take the name of a legend that is built in for its classes; what it calls unknown is ignored."""
        if not isinstance(fields, dict) or str(fields.get("classes")) not in BUILT_IN:
            return fields
        legend = BUILT_IN[str(fields["classes"])]
        labels, ignore = with_form(fields.get("labels")), fields.get("ignore", ())
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
    def declared(self) -> Declared:
        """What is said about the validity of pixels."""
        return Declared(nodata=nodata_of(self.nodata), rule=self.nodata_rule, alpha=self.alpha)

    @property
    def legend(self) -> Legend:
        """The classes, colours found where none is given; of a binary task with its background."""
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
            remedy="name them in data.classes or data.ignore"
            + (", or raise data.labels.tolerance" if self.labels.form == "colors" else ""),
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
