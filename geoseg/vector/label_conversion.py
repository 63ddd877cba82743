"""Labels of one form turned into another: exactly, or with consent to what is lost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geoseg.errors import DataError, OptionError
from geoseg.grid.legend import Legend
from geoseg.raster.labels import UNKNOWN
from geoseg.raster.scene import grid_of_raster
from geoseg.storage.output import claim
from geoseg.vector.label_files import write_picture, write_polygons, write_raster, write_run_lengths
from geoseg.vector.label_forms import Form, Source, classes_of, form_of_source, form_of_target, is_multilabel
from geoseg.vector.label_truth import Place, Truth, read_truth
from geoseg.vector.overlap import OVERLAP, Overlap

_RASTERS: tuple[Form, ...] = ("codes", "colors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What is to become of labels.

    Parameters
    ----------
    source : Path
        Raster of codes (one band; or a band of 0 and 1 for each class), vector file, table of run lengths
        (``.csv``), or picture in the classes' colours.
    target : Path
        ``.tif``, ``.gpkg``, ``.csv`` or ``.png``.
    like : Path or None
        The image that the labels are of: they are on its pixels, and tables call it by its file's name.
        Georeference is the image's and not theirs: run lengths and pictures do without. None: the source,
        which then is a raster.
    legend : Legend or None
        Classes; None: those that the source speaks of. Codes, names and colours that a form does not hold are
        not lost: pass the same classes where it is read.
    unlabelled : str or None
        Class of what no label covers, ``background`` or one of the classes; None: nobody knows.
    layered : bool
        Whether classes may overlap (multilabel): rasters get a band for each class, and where no shape or run
        is, classes are known to be absent. Rasters that geoseg wrote so say it themselves.
    class_field, layer, encoding, buffer, all_touched
        Of vectors, as `VectorLabels.open` takes them. Without a class field it is `class_code`, where every layer has
        that, else the name of the layer.
    overlap : str or None
        Of vectors whose classes do not overlap in the target: whose class a pixel in shapes of several classes has
        (see `VectorLabels.open`). None: polygons and run lengths keep them all, elsewhere it is ``smallest``.
    band : int
        Of rasters of codes, from 1.
    size, content
        Of run lengths, as `RunLengthLabels.open` takes them.
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
    """What has become of labels.

    Parameters
    ----------
    path : Path
    pixels : tuple of (str, int)
        Name of each class, and how many of its pixels were written.
    notes : tuple of str
        How what was drawn became pixels.
    losses : tuple of str
        What was lost, in words.
    """

    path: Path
    pixels: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    losses: tuple[str, ...]


def convert(plan: Conversion, *, lossy: bool = False, overwrite: bool = False) -> Converted:
    """Write labels in another form.

    Law: without `lossy`, both files read with the same choices are the same labels of the image. That drawn shapes
    become pixels is no loss.

    Raises
    ------
    DataError
        If something would be lost, naming all of it; or if the labels are wrong.
    OptionError, OutputError, SceneError
    """
    form, target = form_of_source(plan.source), form_of_target(plan.target)
    like = plan.like or plan.source
    if plan.like is None and form not in _RASTERS:
        raise OptionError(
            f"{plan.source}: does not say on which pixels its labels lie; pass the image with --like"
        )
    if is_multilabel(plan.source, form):
        plan = replace(plan, layered=True)
    if plan.layered and plan.unlabelled is not None:
        raise OptionError(
            "classes that may overlap are absent where they are unlabelled; leave --unlabelled out"
        )
    if plan.layered and plan.overlap is not None:
        raise OptionError("classes that may overlap keep all of their pixels; leave --overlap out")
    with claim(plan.target, overwrite=overwrite) as claimed:
        truth = _read(plan, form, like, flat=target in _RASTERS and not plan.layered)
        layered = plan.layered or (target in ("vector", "run_lengths") and truth.overlaps > 0)
        losses = (*truth.losses, *_losses(truth, target, layered=layered, plan=plan))
        if losses and not lossy:
            raise DataError(
                f"{plan.source}: {plan.target.name} would not hold all of it: {'; '.join(losses)}; "
                "pass --lossy to lose that"
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
    """Read the labels; `flat`: the target has one class a pixel."""
    source = Source(
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


def _losses(truth: Truth, target: Form, *, layered: bool, plan: Conversion) -> Sequence[str]:
    """Say what a form cannot hold."""
    losses = []
    flat = target == "colors" or (target == "codes" and not layered)
    if flat and truth.overlaps:
        keep = "" if target == "colors" else " (--layered keeps them, a band for each class)"
        losses.append(f"{truth.overlaps} px of several classes would be of none{keep}")
    if target == "colors":
        if plan.layered:
            losses.append("a picture has one colour a pixel, and no layers")
        repeated = len(truth.legend.classes) - len({c.color for c in truth.legend.classes})
        if repeated:
            losses.append(f"{repeated} classes have the colour of another")
    # A raster can say that nobody knows; elsewhere such a pixel is like any that no label covers.
    if target != "codes" and (plan.layered or truth.unlabelled != UNKNOWN):
        unknown = np.zeros(truth.grid.shape, dtype=bool)
        for index in range(len(truth.legend.classes)):
            unknown |= truth.layer(index) == UNKNOWN
        if unknown.any():
            rest = "absent" if plan.layered else truth.legend[truth.unlabelled].name
            losses.append(f"{int(unknown.sum())} px of which nobody knows would be {rest}")
    return losses
