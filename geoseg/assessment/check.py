"""The verb check: is a polygon map sound, or are the data of a training?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from geoseg.assessment.coverage.quality import LayerQuality, PolygonQuality
from geoseg.errors import DataError, Message, OptionError
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.raster.file_kinds import kind_of
from geoseg.storage.foreign_yaml import YAML_SUFFIXES
from geoseg.storage.output import claim, path_of, refuse_without_output

if TYPE_CHECKING:
    from torchgeo.datasets import GeoDataset

    from geoseg.assessment.training_data.given import Said
    from geoseg.assessment.training_data.quality import DataQuality
    from geoseg.grid.legend import Legend
    from geoseg.learning.config import Config
    from geoseg.raster.declared import Nodata, NodataRule
    from geoseg.vectorfiles.reading import VectorLayer

_Name = str | PathLike[str]


@overload
def check(
    source: _Name,
    *,
    profile: _Name,
    layer: str | Sequence[str] | None = ...,
    class_field: str | None = ...,
    encoding: str | None = ...,
    output: _Name | None = ...,
    overwrite: bool = ...,
    progress: ShowProgress = ...,
) -> PolygonQuality: ...


@overload
def check(
    source: _Name,
    *,
    layer: str | Sequence[str] | None = ...,
    class_field: str | None = ...,
    encoding: str | None = ...,
    nodata: Nodata | None = ...,
    nodata_rule: NodataRule | None = ...,
    alpha: int | Literal["none"] | None = ...,
    changes: Sequence[str] = ...,
    output: _Name | None = ...,
    overwrite: bool = ...,
    progress: ShowProgress = ...,
) -> PolygonQuality | DataQuality: ...


@overload
def check(
    source: _Name | Sequence[_Name],
    *,
    labels: _Name | Sequence[_Name],
    layer: str | Sequence[str] | None = ...,
    class_field: str | None = ...,
    encoding: str | None = ...,
    classes: Legend | str | Sequence[str] | None = ...,
    unlabelled: str = ...,
    band: int = ...,
    nodata: Nodata | None = ...,
    nodata_rule: NodataRule | None = ...,
    alpha: int | Literal["none"] | None = ...,
    changes: Sequence[str] = ...,
    output: _Name | None = ...,
    overwrite: bool = ...,
    progress: ShowProgress = ...,
) -> DataQuality: ...


@overload
def check(
    source: Config | Mapping[str, Any] | list[Any] | tuple[Any, ...] | GeoDataset,
    *,
    layer: str | Sequence[str] | None = ...,
    class_field: str | None = ...,
    encoding: str | None = ...,
    classes: Legend | str | Sequence[str] | None = ...,
    unlabelled: str = ...,
    band: int = ...,
    nodata: Nodata | None = ...,
    nodata_rule: NodataRule | None = ...,
    alpha: int | Literal["none"] | None = ...,
    changes: Sequence[str] = ...,
    output: _Name | None = ...,
    overwrite: bool = ...,
    progress: ShowProgress = ...,
) -> DataQuality: ...


def check(
    source: Config | Mapping[str, Any] | _Name | Sequence[Any] | GeoDataset,
    *,
    labels: _Name | Sequence[_Name] | None = None,
    profile: _Name | None = None,
    layer: str | Sequence[str] | None = None,
    class_field: str | None = None,
    encoding: str | None = None,
    classes: Legend | str | Sequence[str] | None = None,
    unlabelled: str = "ignored",
    band: int = 1,
    nodata: Nodata | None = None,
    nodata_rule: NodataRule | None = None,
    alpha: int | Literal["none"] | None = None,
    changes: Sequence[str] = (),
    output: _Name | None = None,
    overwrite: bool = False,
    progress: ShowProgress = None,
) -> PolygonQuality | DataQuality:
    """Check a polygon map, ``check("landcover.gpkg")``, or training data, ``check("config.yaml")``.

    Training data are also images with `labels`, or pairs of both, as `geoseg.train` takes them.

    **Polygon maps**: gaps, overlaps, validity, parts, neighbours, smallest units and widths, stated areas.
    The file is read once, in batches, and once more for the places of findings; no database is needed. An edge
    between two polygons occurs twice, in opposite directions: both cancel, and what is left bounds gaps, overlaps
    and the map. Memory grows with the edges that are left, and by some 50 bytes for each polygon. Polygons that
    `geoseg.vectorize` writes pass. Areas and widths are those on the ground, whatever the CRS. The width of a polygon
    is the diameter of the largest circle that fits into it.

    **Training data**: every pixel and label is read once, as a training reads them, in windows. What a training would
    refuse is an error, and so is what would make its scores a lie, such as ground in two splits; a warning should be
    looked at; a hint may be as it should be.

    Parameters
    ----------
    source : path, Config, mapping, sequence or torchgeo dataset
        Vector file with polygons; or the configuration of a training; or images, or a folder of them, with `labels`;
        or a list of pairs (image, labels); or a torchgeo dataset.
    labels : path or sequence of paths, optional
        Labels of the images: one file for each in their order; a folder, in which they are called like their images; or
        one file for all.
    profile : str or path, optional
        What is expected of a polygon map: ``clc2024``, ``urban-atlas2018``, or a YAML file. By default a valid
        coverage with right areas, in units of any size.
    layer : str or sequence of str, optional
        Layers to check, each as a map of its own; by default all with polygons. Of labels, the one to read.
    class_field : str, optional
        Attribute with the class; by default the profile's, which is `class_code` without one.
    encoding : str, optional
        Text encoding of a Shapefile that does not declare it, such as ``cp949``.
    classes, unlabelled, band
        How labels are read, as `geoseg.train` takes them.
    nodata, nodata_rule, alpha
        Which pixels of the images are valid, as `geoseg.predict` takes them; in a configuration they replace those of
        its data.
    changes : sequence of str
        Changes of the configuration, such as ``data.labels.buffer=15``.
    output : path, optional
        Of a polygon map, GeoPackage to write with the findings, the worst first, styled for QGIS; at most 10,000 of
        each check. Of training data, page to write, ``.html``, that loads nothing.
    overwrite : bool
        Whether `output` may be replaced; in a GeoPackage with other content only the layer of findings is.
    progress : bool or callable, optional
        As `geoseg.predict` takes it.

    Returns
    -------
    PolygonQuality
        Of a polygon map: whether it passed, counts by check, and the findings as a GeoDataFrame.
    DataQuality
        Of training data: whether a training should start, what the data hold, and the findings as tables.

    Raises
    ------
    DataError
        If a file cannot be read, or has no polygons.
    SceneError, ConfigError
        If no image can be used at all, or the file of a profile or configuration says what it cannot say.
    OptionError
        If there is no such profile or attribute, metres are asked for and the CRS is unknown, or an option is for the
        other kind of data.
    OutputError
        If the output exists or cannot be written.
    """
    with shown(progress) as told:
        if (
            labels is None
            and isinstance(source, str | PathLike)
            and Path(source).suffix.lower() not in YAML_SUFFIXES
        ):
            for_training = {
                "classes": classes, "unlabelled": None if unlabelled == "ignored" else unlabelled,
                "band": None if band == 1 else band, "nodata": nodata, "nodata_rule": nodata_rule, "alpha": alpha,
                "changes": changes or None,
            }  # fmt: skip
            _refuse_images(Path(source))
            _refuse(for_training, "training data, and this is a polygon map")
            about = {"profile": profile, "layer": layer, "class_field": class_field, "encoding": encoding}
            return _checked_map(Path(source), about, output, told, overwrite=overwrite)
        _refuse({"profile": profile}, "polygon maps, and this is training data")
        said = _said(
            {"layer": _one_layer(layer), "class_field": class_field, "encoding": encoding, "band": band},
            (classes, unlabelled),
            (nodata, nodata_rule, alpha),
            changes,
        )
        return _checked_data(source, labels, said, output, told, overwrite=overwrite)


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Refuse options that are for the other kind of data."""
    for name, value in given.items():
        if value is not None:
            raise OptionError(f"{name} is for {why}", Message(f"leave out {{{name}}}"))


def _refuse_images(path: Path) -> None:
    """Refuse images, and folders of them, without labels."""
    is_folder = path.is_dir() and path.suffix.lower() != ".gdb"
    try:
        kind = None if is_folder else kind_of(path)
    except OSError:
        return  # reading it says why
    if is_folder or (kind is not None and kind.holds == "raster"):
        found = "a folder" if kind is None else kind.name
        raise DataError(
            f"{path}: is {found}, expected a vector file with polygons, a configuration, or images with their labels",
            Message("pass {labels}"),
        )


def _one_layer(layer: str | Sequence[str] | None) -> str | None:
    """Return the layer of labels."""
    if layer is None or isinstance(layer, str):
        return layer
    if len(layer) > 1:
        raise OptionError(
            f"labels are read from one layer or all, found {len(layer)}", Message("name one {layer}")
        )
    return next(iter(layer), None)


def _said(
    reading: Mapping[str, Any], classes: tuple[Any, str], validity: tuple[Any, ...], changes: Sequence[str]
) -> Said:
    """Return what is said about training data."""
    from geoseg.assessment.training_data.given import Said
    from geoseg.grid.legend import Legend
    from geoseg.learning.described import is_background
    from geoseg.learning.quick import LabelChoices
    from geoseg.raster.declared import Declared, nodata_of

    wanted, unlabelled = classes
    nodata, rule, alpha = validity
    choices = LabelChoices(
        classes=None if wanted is None else Legend.given(wanted),
        background=is_background(unlabelled),
        **reading,
    )
    declared = Declared(nodata=nodata_of(nodata), rule=rule, alpha=alpha)
    return Said(choices=choices, declared=declared, changes=changes)


def _checked_data(
    source: Any, labels: Any, said: Said, output: _Name | None, told: OnProgress | None, *, overwrite: bool
) -> DataQuality:
    """Check training data."""
    from geoseg.assessment.evaluation.options import page_path
    from geoseg.assessment.training_data.given import describe_data
    from geoseg.assessment.training_data.judging import judged
    from geoseg.assessment.training_data.quality import DataQuality
    from geoseg.assessment.training_data.survey import surveyed
    from geoseg.storage.durable import write_bytes

    page = page_path(path_of("output", output), overwrite=overwrite)
    if page is None:
        refuse_without_output(overwrite=overwrite)
    described = describe_data(source, labels, said)
    survey = surveyed(described.config, described.given, told)
    quality = DataQuality(name=described.name, survey=survey, found=judged(survey))
    if page is not None:
        from geoseg.assessment.training_data.page import page_of

        write_bytes(page, page_of(quality).encode())
    return quality


def _checked_map(
    path: Path,
    about: Mapping[str, Any],
    output: _Name | None,
    told: OnProgress | None,
    *,
    overwrite: bool,
) -> PolygonQuality:
    """Check a polygon map."""
    from geoseg.assessment.coverage.findings import found_in
    from geoseg.assessment.coverage.layer import check_findings_name, write_findings
    from geoseg.assessment.coverage.profile import read_profile
    from geoseg.assessment.coverage.surveying import surveyed

    profile, target = about["profile"], path_of("output", output)
    if target is None:
        refuse_without_output(overwrite=overwrite)
    else:
        check_findings_name(target, path)
    expected = read_profile(None if profile is None else str(profile))
    with nullcontext() if target is None else claim(target, overwrite=overwrite) as claimed:
        layers = []
        for each in _polygon_layers(path, about["layer"], about["encoding"]):
            survey = surveyed(path, each, expected, about["class_field"], told)
            layers.append(LayerQuality(survey=survey, found=found_in(survey, expected)))
        quality = PolygonQuality(path=path, profile=expected, layers=tuple(layers))
        if claimed is not None:
            write_findings(quality, claimed)
    return quality


def _polygon_layers(
    path: Path, layer: str | Sequence[str] | None, encoding: str | None
) -> tuple[VectorLayer, ...]:
    """Return the named layers, or without a name every layer whose geometries may be polygons."""
    from geoseg.vectorfiles.reading import choose_layers, layer_shape

    found = choose_layers(path, layer, encoding)
    shapes = [layer_shape(path, each)[0] for each in found]
    fitting = tuple(
        each for each, shape in zip(found, shapes, strict=True) if "Polygon" in shape or shape in _ANY
    )
    if not fitting or (layer is not None and len(fitting) < len(found)):
        kinds = ", ".join(f"{each.name} of {shape}" for each, shape in zip(found, shapes, strict=True))
        raise DataError(f"{path}: has the layers {kinds}, expected polygons")
    return fitting


_ANY = ("Unknown", "GeometryCollection", "Geometry")
"""Types of layers that say nothing of their geometries."""
