"""The verb evaluate: compare class maps, or what a model makes of scenes, with reference labels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.assessment.evaluation.differences import ERRORS, ComparedPixels, write_differences
from geoseg.assessment.evaluation.open_map import OpenMap, RowsDone, refuse_other_names
from geoseg.assessment.evaluation.options import EvaluateOptions, PolygonsFile, page_path
from geoseg.assessment.evaluation.reference import Reference, ReferenceOptions
from geoseg.assessment.evaluation.result import Evaluation, Stress
from geoseg.assessment.evaluation.stress import StressedSource, changes_of
from geoseg.errors import ClassMapError, DataError, Message, OptionError, plural
from geoseg.grid.legend import Legend
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import Job, prepare_job
from geoseg.labels.overlap import OVERLAP, Overlap
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.raster.legend_file import legend_of
from geoseg.storage.durable import write_bytes
from geoseg.storage.output import file_given, path_of

if TYPE_CHECKING:
    from geoseg.models.model import Model
    from geoseg.vector.sources import Confidence, Source


def evaluate(
    source: Source | Model | Sequence[Source],
    *,
    reference: PathLike[str] | str | Sequence[PathLike[str] | str],
    scene: Any = None,
    confidence: Confidence | Sequence[Confidence] | None = None,
    legend: Legend | PathLike[str] | str | None = None,
    class_field: str | None = None,
    layer: str | None = None,
    encoding: str | None = None,
    band: int = 1,
    overlap: Overlap = OVERLAP,
    all_touched: bool = False,
    buffer: float = 0.0,
    unlabelled: str | None = None,
    ignore: Sequence[str] = (),
    class_labels: Mapping[str, Sequence[str | int]] | None = None,
    block_size: str | None = None,
    groups: bool = False,
    boundary_distance: int = 2,
    stress: bool = False,
    errors: PathLike[str] | str | None = None,
    min_area: str | None = None,
    output: PathLike[str] | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: ShowProgress = None,
) -> Evaluation:
    """Say how good a class map is, from labels of the same ground.

    Maps and labels are read a few rows at a time. Every pixel counts that has a class in the map and a known label.

    Parameters
    ----------
    source : path, ClassMap, LayeredMap, xarray.DataArray, xarray.Dataset, (row, col) array, Model; or list of maps
        A class map, as `geoseg.vectorize` takes it; several are evaluated together. Or a model (a file, or one
        that is open), which then predicts `scene`.
    reference : path or list of path
        Labels in any form that a training takes: polygons, a raster of codes, a picture of colours, a table of run
        lengths; on any grid and in any CRS. One for all maps, or one for each.
    scene : path, list of path, mapping of str to path, Scene, xarray.DataArray or ndarray, optional
        What a model predicts, as `geoseg.predict` takes it.
    confidence : path, DataArray or (row, col) array; or list of them, optional
        Confidence of the written class on the map's grid, as `geoseg.vectorize` takes it, for the calibration.
        A model brings its own.
    legend : Legend or path, optional
        Names and colours of the map's codes, instead of its own.
    class_field : str, optional
        Attribute of vector labels with the class; by default ``class_code`` if it exists, else the layer's name.
    layer : str, optional
        Layer of vector labels; all by default.
    encoding : str, optional
        Text encoding of a Shapefile that does not declare it.
    band : int
        Band of a raster of labels with the class codes, from 1.
    overlap : str
        Class of pixels in shapes of several classes: of the ``smallest``, of the ``last``, or ``ignore``.
    all_touched : bool
        Whether every pixel that a shape touches is labelled, instead of those whose centre is covered.
    buffer : float
        Buffer around lines and points, in units of the map's CRS.
    unlabelled : str, optional
        Class of the map that pixels without a label have; by default they do not count.
    ignore : sequence of str
        Label values that do not count, because the map has no such class.
    class_labels : mapping of str to sequence of str or int, optional
        Label values that mean a class of the map, by its name: ``{"forest": [41, 42, 43]}``. A class that is not
        named has its own: its code, its name, in pictures its colour.
    block_size : str, optional
        Edge of the blocks of ground that are drawn anew for the intervals, ``128px`` or ``500m``; by default a
        sixteenth of the map's longer side, and at least 64 px.
    groups : bool
        Whether whole maps are drawn anew for the intervals, instead of blocks.
    boundary_distance : int
        Distance from a boundary within which pixels count for the boundary IoU, px, 1 to 64.
    stress : bool
        Whether a model is also scored on its scene shifted, blurred, brighter, darker, and without each band: one more
        prediction for each of these changes.
    errors : path, optional
        GeoPackage to write with the errors of one map as polygons, the largest first, styled for QGIS.
    min_area : str, optional
        Smallest area of these polygons, as for `geoseg.vectorize`; smaller errors belong to their surroundings.
    output : path, optional
        Page to write, ``.html``, that loads nothing.
    overwrite : bool
        Whether files may be replaced.
    device, precision : str
        Where and how a model predicts, as for `geoseg.predict`.
    progress : bool or callable, optional
        As `geoseg.predict` takes it.

    Returns
    -------
    Evaluation
        Scores with 95 % intervals, and tables of them as DataFrames.

    Raises
    ------
    ClassMapError, DataError, OptionError, ModelError, MismatchError, OutputError
        If maps, labels, options or outputs cannot be used.
    """
    wrong = path_of("errors", errors)
    if wrong is None and min_area is not None:
        raise OptionError(
            "min_area is for polygons of errors", Message("pass {errors}, or leave out {min_area}")
        )
    files = _Files(
        errors=None if wrong is None else PolygonsFile(path=wrong, min_area=min_area, overwrite=overwrite),
        page=page_path(path_of("output", output), overwrite=overwrite),
    )
    options = EvaluateOptions(
        block_size=block_size,
        groups=groups,
        boundary_distance=boundary_distance,
        labels=ReferenceOptions(
            class_field=class_field, layer=layer, encoding=encoding, band=band, overlap=overlap,
            all_touched=all_touched, buffer=buffer, unlabelled=unlabelled, ignore=ignore,
            class_labels=class_labels or {},
        ),
    )  # fmt: skip
    known, references = legend_of(legend), [file_given("reference", each) for each in _listed(reference)]
    with shown(progress) as told:
        if not is_model(source):
            if scene is not None or stress:
                word = "scene" if stress is False else "stress"
                raise OptionError(f"{word} is for models, and this is a class map; leave it out")
            maps = _opened(_listed(source), known, _listed(confidence))
            labels = _labels_of(maps, references, options, files)
            found = _counted(maps, labels, options, told)
            _write_errors(files.errors, found, maps[0], labels[0])
        else:
            if scene is None:
                raise OptionError(
                    "a model is evaluated on what it predicts",
                    Message("pass {scene}, or a class map instead"),
                )
            model: Any = source
            job = prepare_job(scene, model, PredictOptions(device=device, precision=precision))
            name = str(model) if isinstance(model, str | PathLike) else str(model.card.name)
            with predicted(job, told) as (codes, share):
                maps = [OpenMap.of(codes, known, name, share)]
                labels = _labels_of(maps, references, options, files)
                found = _counted(maps, labels, options, told)
                _write_errors(files.errors, found, maps[0], labels[0])
            if stress:
                found = replace(found, stress=_stressed(job, known, labels, options, told))
    if files.page is not None:
        from geoseg.assessment.evaluation.page import page_of

        write_bytes(files.page, page_of(found).encode())
    return found


def _stressed(
    job: Job,
    legend: Legend | None,
    labels: Sequence[Reference],
    options: EvaluateOptions,
    told: OnProgress | None,
) -> tuple[Stress, ...]:
    """Score what a model makes of its scene after each change."""
    scores = []
    for change in changes_of(job.match, job.card):
        source = StressedSource(source=job.source, change=change)
        changed = replace(job, match=replace(job.match, source=source))
        with predicted(changed, told) as (codes, _):
            found = _counted([OpenMap.of(codes, legend, change.name)], labels, options, told)
        scores.append(Stress(change=change.name, confusion=found.confusion))
    return tuple(scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """Files that an evaluation writes."""

    errors: PolygonsFile | None
    page: Path | None


def _opened(
    sources: Sequence[Source], legend: Legend | None, confidence: Sequence[Confidence]
) -> list[OpenMap]:
    """Open class maps with their confidence."""
    if not sources:
        raise OptionError("found no map, expected at least one")
    if confidence and len(confidence) != len(sources):
        raise OptionError(
            f"confidence has {plural(len(confidence), 'raster')} for {plural(len(sources), 'map')}, "
            "expected one for each"
        )
    maps = []
    for number, source in enumerate(sources):
        name = str(source) if isinstance(source, str | PathLike) else f"map {number + 1}"
        share = confidence[number] if confidence else None
        if share is None:
            maps.append(OpenMap.with_own_confidence(source, legend, name))
        else:
            maps.append(OpenMap.of(source, legend, name, share))
    return maps


def _labels_of(
    maps: Sequence[OpenMap], references: Sequence[Path], options: EvaluateOptions, files: _Files
) -> list[Reference]:
    """Open the labels of each map, after checking that the maps can be evaluated together."""
    first = maps[0]
    if len(references) not in (1, len(maps)):
        raise OptionError(
            f"{plural(len(references), 'reference')} for {plural(len(maps), 'map')}, "
            "expected one for all, or one for each"
        )
    for each in maps[1:]:
        if (each.legend.codes, each.layered) != (first.legend.codes, first.layered):
            raise ClassMapError(
                f"{each.name}: has other classes than {first.name}; evaluate them apart, or give both one legend"
            )
    refuse_other_names(maps)
    if files.errors is not None and (len(maps) > 1 or first.layered):
        found = f"{len(maps)} maps" if len(maps) > 1 else "a multilabel map"
        raise OptionError(
            f"errors are written of one map with one class a pixel, found {found}",
            Message("leave out {errors}"),
        )
    paths = list(references) * (len(maps) if len(references) == 1 else 1)
    return [each.reference(path, options) for each, path in zip(maps, paths, strict=True)]


def _counted(
    maps: Sequence[OpenMap], labels: Sequence[Reference], options: EvaluateOptions, told: OnProgress | None
) -> Evaluation:
    """Read all maps beside their labels, and count."""
    edges = sorted({options.edge(each.read.grid) for each in maps})
    watch = RowsDone(told, sum(each.read.grid.height * each.passes for each in maps))
    counted = [each.counted(reference, options, watch) for each, reference in zip(maps, labels, strict=True)]
    layers = zip(*(found for found, _, _ in counted), strict=True)
    sizes = f"{edges[0]}" if len(edges) == 1 else f"{edges[0]} to {edges[-1]}"
    evaluation = Evaluation(
        names=tuple(each.name for each in maps),
        legend=maps[0].legend,
        layered=maps[0].layered,
        counted=tuple(reduce(add, layer) for layer in layers),
        distance=options.boundary_distance,
        drawn="maps" if options.groups else f"blocks of {sizes} px",
        unlabelled=sum(each for _, each, _ in counted),
        unmapped=sum(each for _, _, each in counted),
    )
    if not evaluation.pixels:
        paths = ", ".join(dict.fromkeys(each.labels.path for each in labels))
        raise DataError(
            f"{paths}: no pixel has both a label and a class of the map; check that both are of the same ground"
        )
    return evaluation


def _write_errors(
    errors: PolygonsFile | None, evaluation: Evaluation, opened_map: OpenMap, labels: Reference
) -> None:
    """Write the errors of a map as polygons, if that is asked for."""
    if errors is not None:
        pixels = ComparedPixels(
            rows=lambda: opened_map.rows(labels),
            counts=evaluation.confusion.counts,
            legend=opened_map.legend,
            grid=opened_map.read.grid,
        )
        write_differences(errors, pixels, ERRORS)


def is_model(source: Any) -> bool:
    """Return whether something is a model or the file of one, and no class map."""
    if isinstance(source, str | PathLike):
        return Path(source).suffix.lower() in (".safetensors", ".xml", ".onnx")
    from sys import modules

    model = modules.get("geoseg.models.model")
    return model is not None and isinstance(source, model.Model)


@contextmanager
def predicted(job: Job, told: OnProgress | None) -> Iterator[tuple[Path, Path]]:
    """Predict a scene into a class map and its confidence, which are removed afterwards."""
    from geoseg.inference.predict import PredictOutputs, Writing, predict_file

    with tempfile.TemporaryDirectory(prefix="geoseg-evaluate-") as folder:
        codes, share = Path(folder) / "map.tif", Path(folder) / "confidence.tif"
        outputs = PredictOutputs(classes=codes, confidence=share)
        predict_file(job, outputs, Writing(overwrite=False, fresh=False), told)
        yield codes, share


def _listed(value: Any) -> list[Any]:
    """Return a list as it is, None as no item, and anything else as the only item."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
