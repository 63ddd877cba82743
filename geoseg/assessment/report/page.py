"""Render the report page from one template."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Final

import yaml

from geoseg.assessment.rendering import rendered
from geoseg.assessment.report import tables
from geoseg.assessment.report.charts import Chart, charts_of, curves_png, range_chart, score_name
from geoseg.assessment.report.reading import TrainingRecord, read_run
from geoseg.errors import REPLACE, GeosegError, OptionError, OutputExistsError, plural
from geoseg.learning.monitor import Monitor
from geoseg.models.card import Card
from geoseg.progress import OnProgress, ShowProgress, shown
from geoseg.storage.durable import write_bytes
from geoseg.storage.output import check_output

REPORT: Final = "report.html"
CURVES: Final = "curves.png"
_TEMPLATE: Final = "report/page.html.j2"
_MOST_CLASSES: Final = 40
"""A confusion matrix of more classes is not shown, since nobody can read it."""


def report(
    run: PathLike[str] | str,
    *,
    output: PathLike[str] | str | None = None,
    overwrite: bool = False,
    progress: ShowProgress = None,
) -> Path:
    """Write a report on a training: one HTML page that loads nothing, and its curves as ``curves.png`` beside it.

    Equal run, data and machine give an equal page. Without the data there are no pictures, and the page says
    so; for a run in progress it shows the results so far.

    Parameters
    ----------
    run : path
        Folder of the run, or its model file.
    output : path, optional
        Page to write (``.html``); ``report.html`` in the run's folder by default.
    overwrite : bool
        Whether a page, and curves, that are there may be replaced.
    progress : bool or callable, optional
        Whether to show a progress bar, or a function that is called with (done, total, what). By default a bar
        appears in a terminal or notebook if the work takes more than a few seconds.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError, ModelError
        If there is no run, or what it left is damaged.
    OptionError, OutputError, OutputExistsError
    """
    record = read_run(Path(run))
    page = record.folder / REPORT if output is None else Path(output)
    if page.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"{page}: reports are written as HTML, expected a name that ends in .html")
    check_output(page)
    if not overwrite:
        for path in (page, page.with_name(CURVES)):
            if path.exists():
                raise OutputExistsError(f"{path}: already exists", REPLACE)
    title = _title(record)
    charts = charts_of(record)
    contents = {"title": title, "charts": charts, "splits": tables.SPLITS, "kinds": tables.KINDS}
    with shown(progress) as told:
        text = rendered(_TEMPLATE, contents | _contents(record, told), _FILTERS)
    if charts:
        write_bytes(page.with_name(CURVES), curves_png(charts, title))
    write_bytes(page, text.encode())
    return page


def _title(record: TrainingRecord) -> str:
    name = record.config["model"].get("name")
    return str(name or (record.card.name if record.card else record.folder.resolve().name))


def _contents(record: TrainingRecord, progress: OnProgress | None) -> dict[str, Any]:
    """Return all values of the template except title and curves."""
    card, training = record.card, record.training
    metrics: Mapping[str, Any] = training.get("metrics", {})
    without = record.config["train"].get("score_without", ())
    pictures, missing = _pictures(record, progress) if training else ({}, None)
    return {
        "record": record,
        "monitor": score_name(record.monitor.name),
        "card": card,
        "facts": _facts(record),
        "subtitle": _subtitle(record),
        "metrics": metrics,
        "totals": {split: tables.totals(each, without) for split, each in metrics.items()},
        "rows": tables.class_rows(record, card) if card and training else [],
        "matrices": {split: _matrices(record, card, split) for split in metrics} if card else {},
        "range_chart": range_chart(record),
        "settings": _settings(record.config),
        "missing": missing,
        "panels": None,
        "draws": [],
        "legend": tables.classes_of(card) if card else (),
        **pictures,
    }


def _matrices(record: TrainingRecord, card: Card, split: str) -> list[tables.Matrix]:
    return [] if len(tables.classes_of(card)) > _MOST_CLASSES else tables.matrices(record, card, split)


def _facts(record: TrainingRecord) -> list[tuple[str, str, str]]:
    """Return the key figures at the top: name, value and comment."""
    facts = []
    metrics: Mapping[str, Any] = record.training.get("metrics", {})
    shown = Monitor(name="mean_iou") if record.monitor.name == "loss" else record.monitor
    for split, found in metrics.items():
        images = len(record.story.get("images", {}).get(split, [])) or len(record.training["images"][split])
        words = f"{tables.SPLITS[split].lower()}, {plural(images, 'image')}"
        facts.append((score_name(shown.name), tables.score(shown.value(found)), words))
    epochs = record.config["train"]["epochs"]
    if record.kept_epoch is not None:
        done = int(record.epochs[-1]["epoch"])
        state = f"of {epochs}" if record.stopped is None else f"stopped after {done} of {epochs}"
        if record.model is None:
            state = f"so far: {done} of {epochs} are done"
        name = "Last epoch" if record.keeps_last else "Best epoch"
        facts.append((name, str(record.kept_epoch), state))
        seconds = float(record.epochs[-1]["seconds"])
        facts.append(
            ("Training time", tables.duration(seconds), f"{tables.duration(seconds / done)} an epoch")
        )
    return facts


def _subtitle(record: TrainingRecord) -> str:
    """Return one line on the network, its classes and bands."""
    model, data = record.config["model"], record.config["data"]
    classes, bands = data["classes"], ", ".join(map(str, data["bands"]))
    kinds = plural(len(classes), "class")
    date = record.story.get("date") or record.training.get("date")
    words = f"{model['architecture']} with {model['encoder']}: {kinds} ({data.get('task', 'multiclass')}) from {bands}"
    if date:
        words += f"; trained {date}"
    beginning = record.card.beginning if record.card is not None else None
    return words if beginning is None else f"{words}; begun from {beginning}"


def _settings(config: dict[str, Any]) -> list[str]:
    """Return the sections of a configuration as YAML, without absolute folders."""
    data = dict(config["data"])
    if Path(str(data.get("root", "."))).is_absolute():
        data["root"] = "."
    # Short lists and mappings stay on one line, as people write them.
    return [
        yaml.safe_dump({key: part}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=44)
        for key, part in {**config, "data": data}.items()
    ]


def _pictures(record: TrainingRecord, progress: OnProgress | None) -> tuple[dict[str, Any], str | None]:
    """Return panels of pictures, or one line on why there are none."""
    from geoseg.assessment.report.samples import Seen, augmentation
    from geoseg.datasets.opening import open_data
    from geoseg.datasets.splits import with_card
    from geoseg.models.model import Model

    assert record.model is not None
    assert record.card is not None
    try:
        config = record.resolved()
        model = Model.open(record.model)
        with _said_before():
            opened = open_data(config.data, config.data_root, model.card, skip_bad=True)
        splits = with_card(opened.splits, model.card)
        known = set(record.training["images"]["val"])
        pairs = [pair for pair in splits["val"] if pair.name in known]
        if not pairs:
            return {}, "none of the validation images is in the data any more"
        colors = [each.rgb for each in tables.classes_of(model.card)]
        seen = Seen(model=model, pairs=pairs, colors=colors)
        scores = record.story.get("scores", {}).get("val", {}).get("images", {})
        spread = float(record.story.get("input_spread", 1.0))
        return {
            "panels": seen.panels(scores, progress),
            "draws": augmentation(splits["train"][0], config, model, colors, spread=spread),
        }, None
    except (GeosegError, OSError) as error:
        return {}, " ".join(str(error).split())


@contextmanager
def _said_before() -> Iterator[None]:
    """Suppress log messages on opening data, which the training has already shown."""
    logger = logging.getLogger("geoseg")
    before = logger.level
    if logger.isEnabledFor(logging.INFO) and not logger.isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _drawn(chart: Chart) -> str:
    """Return a chart as markup."""
    from markupsafe import Markup

    return Markup(chart.svg())  # noqa: S704 - matplotlib and `Chart` escape what is text


_FILTERS: Final[dict[str, Callable[..., str]]] = {
    "compact": tables.compact, "score": tables.score, "percent": tables.percent, "svg": _drawn,
}  # fmt: skip
