"""Train a model from a configuration, or from a scene and its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from geoseg.errors import OptionError
from geoseg.grid.legend import Legend
from geoseg.learning.config import Config
from geoseg.learning.described import described, is_background
from geoseg.learning.folds import fold_configs, train_folds
from geoseg.learning.quick import UNLABELLED, LabelChoices
from geoseg.learning.training_run import TrainOptions, train_run, try_out
from geoseg.progress import ShowProgress, shown
from geoseg.raster.declared import Declared, nodata_of
from geoseg.storage.output import file_given

if TYPE_CHECKING:
    from torchgeo.datasets import GeoDataset

    from geoseg.labels.overlap import Overlap
    from geoseg.raster.declared import Nodata, NodataRule

_Name: TypeAlias = str | PathLike[str]


def train(
    source: Config | Mapping[str, Any] | _Name | Sequence[Any] | GeoDataset,
    labels: _Name | None = None,
    *,
    output: _Name | None = None,
    changes: Sequence[str] = (),
    class_field: str | None = None,
    layer: str | None = None,
    classes: Legend | str | Sequence[str] | None = None,
    unlabelled: str = UNLABELLED[0],
    buffer: float = 0.0,
    all_touched: bool = False,
    overlap: Overlap = "smallest",
    encoding: str | None = None,
    band: int = 1,
    resolution: float | None = None,
    nodata: Nodata | None = None,
    nodata_rule: NodataRule | None = None,
    alpha: int | Literal["none"] | None = None,
    allow_remote: bool = False,
    fast_dev_run: bool = False,
    skip_bad: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    resume: bool = True,
    folds: int | Literal["groups"] | None = None,
    progress: ShowProgress = None,
) -> Path | None:
    """Train a model and write its file: ``train(config, output=...)``, or ``train(scene, labels, output=...)``.

    Or ``train(pairs, output=...)``, with a list of images and their labels, or a torchgeo dataset.

    It resumes a killed run of the same configuration, and returns at once if the same call
    has finished before. The folder holds ``config.yaml`` (with every default filled in), ``metrics.jsonl`` (a
    line per epoch), ``run.json`` (data, surroundings, counts), ``tensorboard``, while it runs
    ``best.safetensors`` (the best epoch so far), the last two states (``state-*.ckpt``) and a journal, and at the
    end ``model.safetensors``: the best epoch, with its scores on the validation and test images in its card.

    Parameters
    ----------
    source : Config, mapping or path
        The configuration: a YAML file, or its keys ``data``, ``model`` and ``train`` with their values, whose
        paths are relative to the working folder. Or a scene: a raster file, a URL, a product's folder, or a list or
        mapping with one file per band. Or a list of pairs (image, labels); or a torchgeo dataset whose samples hold
        ``image`` and ``mask``, usually ``images & labels``.
    labels : path, optional
        Of a scene: vectors, or a raster of codes.
    output : path
        Folder of the run, made where it is not there; or the model file (``.safetensors``) to write, which
        then has its run's folder beside it, ``NAME.run``. Not needed for a `fast_dev_run`, which leaves it alone.
    changes : sequence of str
        ``train.epochs=5``: values (as YAML) in place of those of the configuration.
    class_field : str, optional
        With `labels`: attribute that holds the class; ``class_code`` by default, where it is there.
    layer : str, optional
        With `labels`: layer of a vector file; all by default, each a class of its name.
    classes : Legend, text or sequence of str, optional
        With `labels`: the classes to learn, with colours, as ``forest=#228b22,water``: names, or values, of the
        labels; where these are codes without names, names for all of them in their order. Labels of other classes
        are unknown. All by default.
    unlabelled : str
        With `labels`: what pixels are that no label covers: ``ignored``, or ``background``, a class of its own.
    buffer : float
        With `labels`: lines and points are widened by this much, in units of the scene's CRS.
    all_touched : bool
        With `labels`: whether every pixel counts that a feature touches.
    overlap : str
        With `labels`: whose class a pixel has that features of several classes cover: that of the ``smallest``, of
        the ``last`` in the file, or none (``ignore``).
    encoding : str, optional
        With `labels`: of the text of a Shapefile that does not say it, such as ``cp949``.
    band : int
        With `labels`: band of a raster that holds the codes, from 1.
    resolution, nodata, nodata_rule, alpha, allow_remote : optional
        How the scene is read, as `geoseg.predict` takes it; in a configuration they replace those of its data.
    fast_dev_run : bool
        Whether everything is tried on two batches and a few images; nothing is kept, and None is returned.
    skip_bad : bool
        Whether to go on without images that cannot be used.
    extend : bool
        Whether a finished run goes on to the larger number of epochs that the configuration has now: from its best
        epoch, with a new optimizer and a schedule over the epochs that are added.
    overwrite : bool
        Whether a finished run in that folder may be replaced.
    resume : bool
        Whether an unfinished run goes on; False begins anew.
    folds : int or "groups", optional
        Train that many models, or one for each group of images, in folders ``fold-1`` and so on: each holds back and
        scores another part of the data, blocks of ground where the split is of blocks and otherwise groups, and
        ``folds.json`` holds their scores: pooled, mean and standard deviation.
    progress : bool or callable, optional
        As `geoseg.predict` takes it; the steps of the training are counted.

    Returns
    -------
    Path
        The model file; with `folds` the file of their scores.

    Raises
    ------
    ConfigError, DataError, ModelError, SceneError
        If configuration or data are wrong; before or during training.
    ResumeError
        If the folder holds an unfinished run of another configuration or other data.
    OptionError, OutputExistsError, OutputError
    """
    if output is None and not fast_dev_run:
        raise OptionError("found no output, expected the folder of the run, or the model file to write")
    if labels is not None:
        file_given("labels", labels)
    reading = LabelChoices(
        class_field=class_field, layer=layer, classes=None if classes is None else Legend.given(classes),
        background=is_background(unlabelled), buffer=buffer, all_touched=all_touched, overlap=overlap,
        encoding=encoding, band=band,
    )  # fmt: skip
    declared = Declared(nodata=nodata_of(nodata), rule=nodata_rule, alpha=alpha)
    if resolution is not None:
        changes = [*changes, f"data.resolution={resolution!r}"]
    if allow_remote:
        changes = [*changes, "data.allow_remote=true"]
    config, given = described(source, labels, changes, (reading, declared))
    options = TrainOptions(
        overwrite=overwrite, fresh=not resume, skip_bad=skip_bad, dev_run=fast_dev_run, extend=extend
    )
    with shown(progress) as told:
        if folds is not None:
            if output is not None and not fast_dev_run:
                return train_folds(config, folds, Path(output), options, given=given, progress=told).scores
            config = fold_configs(config, folds, given)[0]
        if output is None or fast_dev_run:
            try_out(config, options, told, given=given)
            return None
        return train_run(config, Path(output), options, progress=told, given=given).model
