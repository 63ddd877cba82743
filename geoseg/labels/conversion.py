"""Conversion of labels between forms: without loss, or with permission to lose what does not fit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geoseg.errors import DataError, Message, OptionError, Text, plural
from geoseg.grid.legend import Legend
from geoseg.labels.forms import Form, LabelSource, classes_of, form_of_source, form_of_target, is_multilabel
from geoseg.labels.label import UNKNOWN, Expected
from geoseg.labels.overlap import OVERLAP, Overlap
from geoseg.labels.truth import Place, Truth, read_truth
from geoseg.labels.writing import write_picture, write_polygons, write_raster, write_run_lengths
from geoseg.raster.scene import grid_of_raster
from geoseg.storage.output import claim
from geoseg.vectorfiles.class_names import NAME

_RASTERS: tuple[Form, ...] = ("codes", "colors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """Settings of a conversion of labels.

    Parameters
    ----------
    source : Path
        Raster of codes (one band, or one band of 0 and 1 per class), vector file, table of run lengths (``.csv``),
        or colour-coded picture.
    target : Path
        Output: ``.tif``, ``.gpkg``, ``.csv`` or ``.png``.
    like : Path or None
        Image of the labels: the result is on its pixels, and tables name it by its file name. The georeferencing is
        the image's; run lengths and pictures have none. None for the source itself, which then must be a raster.
    legend : Legend or None
        Classes; None for those found in the source. Codes, names and colours that a form cannot hold do not count as
        lost: pass the same classes when reading it.
    unlabelled : str or None
        Class of pixels without a label, ``background`` or one of the classes; None if they are unknown.
    layered : bool
        Whether classes may overlap (multilabel): rasters get one band per class, and classes are known to be absent
        where there is no shape or run. Such rasters written by geoseg are recognised.
    class_field, layer, encoding, buffer, all_touched
        Options of vector files, as for `VectorLabels.open`. The default class field is `class_code` if every layer
        has it, else the name of the layer.
    overlap : str or None
        For vector files, if classes do not overlap in the target: which class a pixel in shapes of several classes
        gets (see `VectorLabels.open`). None keeps all in polygons and run lengths, and is ``smallest`` elsewhere.
    band : int
        Band of a raster of codes, from 1.
    size, content
        Options of run lengths, as for `RunLengthLabels.open`.
    """

    source: Path
    target: Path
    like: Path | None = None
    legend: Legend | None = None
    unlabelled: str | None = None
    layered: bool = False
    class_field: str | None = None
    layer: tuple[str, ...] | None = None
    encoding: str | None = None
    overlap: Overlap | None = None
    buffer: float = 0.0
    all_touched: bool = False
    band: int = 1
    size: tuple[int, int] | None = None
    content: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """Result of a conversion.

    Parameters
    ----------
    path : Path
        The file that was written.
    pixels : tuple of (str, int)
        Name of each class and number of its pixels written.
    notes : tuple of str
        How drawn shapes became pixels.
    losses : tuple of str or Message
        What was lost, in words.
    """

    path: Path
    pixels: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    losses: tuple[Text, ...]


def convert(plan: Conversion, *, lossy: bool = False, overwrite: bool = False) -> Converted:
    """Write labels in another form.

    Law: without `lossy`, both files, read with the same options, are the same labels of the image. Rasterizing drawn
    shapes does not count as a loss.

    Parameters
    ----------
    plan : Conversion
        What to convert, and how.
    lossy : bool
        Whether information that the target cannot hold may be lost.
    overwrite : bool
        Whether an existing target may be replaced.

    Raises
    ------
    DataError
        If something would be lost, with all losses named; or if the labels are wrong.
    OptionError, OutputError, SceneError
        If an option does not apply, or a file cannot be written or read.
    """
    form, target = form_of_source(plan.source, band=plan.band), form_of_target(plan.target)
    like = plan.like or plan.source
    if plan.like is None and form not in _RASTERS:
        raise OptionError(
            f"{plan.source}: does not say on which pixels its labels lie",
            Message("pass the image with {like}"),
        )
    if is_multilabel(plan.source, form):
        plan = replace(plan, layered=True)
    if plan.layered and plan.unlabelled is not None:
        raise OptionError(
            "classes that may overlap are absent where they are unlabelled", Message("leave {unlabelled} out")
        )
    if plan.layered and plan.overlap is not None:
        raise OptionError("classes that may overlap keep all of their pixels", Message("leave {overlap} out"))
    with claim(plan.target, overwrite=overwrite) as claimed:
        truth = _read(plan, form, like, flat=target in _RASTERS and not plan.layered)
        layered = plan.layered or (target in ("vector", "run_lengths") and truth.overlaps > 0)
        losses = (*truth.losses, *_losses(truth, target, layered=layered, plan=plan))
        if losses and not lossy:
            lost = Message.joined("; ", losses)
            raise DataError(
                Message("{}: {} would not hold all of it: {}", plan.source, plan.target.name, lost),
                Message("pass {lossy} to lose that", lossy=True),
            )
        finished = claimed.prepare()
        sidecars: dict[str, str] = {}
        match target:
            case "codes":
                sidecars = write_raster(finished, truth, layered=layered)
            case "vector":
                write_polygons(finished, truth, layered=layered, replaces=plan.target)
            case "run_lengths":
                write_run_lengths(finished, truth, like.name)
            case "colors":
                write_picture(finished, truth)
        claimed.commit(finished, sidecars=sidecars)
    pixels = zip(truth.legend.names, truth.pixels(layered=layered), strict=True)
    return Converted(path=plan.target, pixels=tuple(pixels), notes=truth.notes, losses=losses)


def _read(plan: Conversion, form: Form, like: Path, *, flat: bool) -> Truth:
    """Read the labels; with `flat` the target has one class per pixel."""
    source = LabelSource(
        path=plan.source,
        form=form,
        class_field=plan.class_field,
        layer=plan.layer,
        encoding=plan.encoding,
        band=plan.band,
    )
    if form == "vector":
        source = source.with_class_field(alone=plan.legend is None and plan.unlabelled is None)
    classes = classes_of(source, plan.legend, plan.unlabelled)
    if plan.legend is not None:
        classes = replace(classes, meanings=replace(classes.meanings, expected=_expected(plan.legend)))
    place = Place(
        name=os.fspath(like.name),
        grid=grid_of_raster(like),
        size=plan.size,
        content=plan.content,
        buffer=plan.buffer,
        all_touched=plan.all_touched,
    )
    overlap = plan.overlap or (OVERLAP if flat else None)
    return read_truth(source, classes, place, layered=plan.layered, overlap=overlap)


def _expected(given: Legend) -> Expected:
    """Return the names that the source must not contradict: those of given classes."""
    return Expected(
        whose="the given classes",
        names=dict(zip(given.codes, given.names, strict=True)),
        remedy=Message(
            "leave {classes} out and its own are taken, or make polygons of it with geoseg vectorize and convert these "
            "with {class_field}, so that its names count",
            class_field=NAME,
        ),
        by_name=Message("let its names count with {class_field}", class_field=NAME),
    )


def _losses(truth: Truth, target: Form, *, layered: bool, plan: Conversion) -> Sequence[Text]:
    """Describe what the target form cannot hold."""
    losses: list[Text] = []
    flat = target == "colors" or (target == "codes" and not layered)
    if flat and truth.overlaps:
        lost = f"{truth.overlaps} px of several classes would have no class"
        keep = Message("{} ({layered} keeps them, a band for each class)", lost, layered=True)
        losses.append(lost if target == "colors" else keep)
    if target == "colors":
        if plan.layered:
            losses.append("a picture has one colour a pixel, and no layers")
        repeated = len(truth.legend.classes) - len({c.color for c in truth.legend.classes})
        if repeated:
            losses.append(f"{plural(repeated, 'class')} of the colour of another")
    # Only a raster can mark pixels as unknown; in other forms they become like unlabelled ones.
    if target != "codes" and (plan.layered or truth.unlabelled != UNKNOWN):
        unknown = np.zeros(truth.grid.shape, dtype=bool)
        for index in range(len(truth.legend.classes)):
            unknown |= truth.layer(index) == UNKNOWN
        if unknown.any():
            rest = "absent" if plan.layered else truth.legend[truth.unlabelled].name
            losses.append(f"{int(unknown.sum())} px that are unknown would be {rest}")
    return losses
