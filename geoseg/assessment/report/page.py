"""The page itself: what is read, counted and drawn goes into one template."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from geoseg.assessment.report import tables
from geoseg.assessment.report.charts import Chart, charts_of, curves_png, range_chart, score_name
from geoseg.assessment.report.reading import Record, read_run
from geoseg.errors import GeosegError, OptionError
from geoseg.learning.monitor import Monitor
from geoseg.models.card import Card
from geoseg.storage.durable import write_bytes
from geoseg.storage.output import check_output

REPORT: Final = "report.html"
CURVES: Final = "curves.png"
_TEMPLATE: Final = "page.html.j2"
_STYLE: Final = "page.css"
_MOST_CLASSES: Final = 40
"""A confusion matrix of more classes is no longer read."""


def report(run: Path | str, output: Path | str | None = None) -> Path:
    """Write a report on a training: one HTML page that loads nothing, and its curves as ``curves.png`` beside it.

    The same run, data and machine give the same page. Without the data there are no pictures, and the page says
    so; of a run that still goes on it shows what there is so far.

    Parameters
    ----------
    run : path
        Folder of a run, or its model file.
    output : path, optional
        ``report.html`` in the run's folder by default. What is there is replaced.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError, ModelError
        If there is no run, or what it left is damaged.
    OptionError, OutputError
    """
    record = read_run(run)
    page = record.folder / REPORT if output is None else Path(output)
    if page.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"{page}: reports are written as HTML, expected a name that ends in .html")
    check_output(page)
    title = _title(record)
    charts = charts_of(record)
    text = _rendered({"title": title, "charts": charts, **_contents(record)})
    if charts:
        write_bytes(page.with_name(CURVES), curves_png(charts, title))
    write_bytes(page, text.encode())
    return page


def _title(record: Record) -> str:
    name = record.config["model"].get("name")
    return str(name or (record.card.name if record.card else record.folder.resolve().name))


def _contents(record: Record) -> dict[str, Any]:
    """Everything that the template is told, beside title and curves."""
    card, training = record.card, record.training
    metrics: Mapping[str, Any] = training.get("metrics", {})
    without = record.config["train"].get("score_without", ())
    pictures, missing = _pictures(record) if training else ({}, None)
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


def _matrices(record: Record, card: Card, split: str) -> list[tables.Matrix]:
    return [] if len(tables.classes_of(card)) > _MOST_CLASSES else tables.matrices(record, card, split)


def _facts(record: Record) -> list[tuple[str, str, str]]:
    """Return the figures at the head: what, how much, and a word on it."""
    facts = []
    metrics: Mapping[str, Any] = record.training.get("metrics", {})
    shown = Monitor(name="mean_iou") if record.monitor.name == "loss" else record.monitor
    for split, found in metrics.items():
        images = len(record.story.get("images", {}).get(split, [])) or len(record.training["images"][split])
        words = f"{tables.SPLITS[split].lower()}, {_plural(images, 'image')}"
        facts.append((score_name(shown.name), tables.score(shown.value(found)), words))
    epochs = record.config["train"]["epochs"]
    if record.best_epoch is not None:
        done = int(record.epochs[-1]["epoch"])
        state = f"of {epochs}" if record.stopped is None else f"stopped after {done} of {epochs}"
        if record.model is None:
            state = f"so far: {done} of {epochs} are done"
        facts.append(("Best epoch", str(record.best_epoch), state))
        seconds = float(record.epochs[-1]["seconds"])
        facts.append(
            ("Training time", tables.duration(seconds), f"{tables.duration(seconds / done)} an epoch")
        )
    return facts


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _subtitle(record: Record) -> str:
    """Say in one line what network tells what from what."""
    model, data = record.config["model"], record.config["data"]
    classes, bands = data["classes"], ", ".join(map(str, data["bands"]))
    kinds = _plural(len(classes), "class").replace("classs", "classes")
    date = record.story.get("date") or record.training.get("date")
    words = f"{model['architecture']} with {model['encoder']}: {kinds} ({data.get('task', 'multiclass')}) from {bands}"
    if date:
        words += f"; trained {date}"
    beginning = record.card.beginning if record.card is not None else None
    return words if beginning is None else f"{words}; begun from {beginning}"


def _settings(config: dict[str, Any]) -> list[str]:
    """Return the parts of a configuration as YAML, without the folders of this machine."""
    data = dict(config["data"])
    if Path(str(data.get("root", "."))).is_absolute():
        data["root"] = "."
    # Short lists and mappings stay on a line, as people write them.
    return [
        yaml.safe_dump({key: part}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=44)
        for key, part in {**config, "data": data}.items()
    ]


def _pictures(record: Record) -> tuple[dict[str, Any], str | None]:
    """Return panels of pictures, or why there are none, in one line."""
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
        return {
            "panels": seen.panels(scores),
            "draws": augmentation(splits["train"][0], config, model, colors),
        }, None
    except (GeosegError, OSError) as error:
        return {}, " ".join(str(error).split())


@contextmanager
def _said_before() -> Iterator[None]:
    """Leave out what is said while data is opened: the training that is reported on has said it."""
    logger = logging.getLogger("geoseg")
    before = logger.level
    if logger.isEnabledFor(logging.INFO) and not logger.isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _drawn(chart: Chart) -> str:
    """Return a chart as an element of the page."""
    from markupsafe import Markup

    return Markup(chart.svg())  # noqa: S704 - matplotlib and `Chart` escape what is text


def _rendered(contents: Mapping[str, Any]) -> str:
    from importlib.resources import files

    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    here = files(__package__)
    # Everything is escaped but what this package draws itself.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "compact": tables.compact, "score": tables.score, "percent": tables.percent,
        "svg": _drawn,
    }  # fmt: skip
    environment.globals |= {
        "splits": tables.SPLITS,
        "kinds": tables.KINDS,
        "style": Markup((here / _STYLE).read_text(encoding="utf-8")),  # noqa: S704 - ours
    }
    template = environment.from_string((here / _TEMPLATE).read_text(encoding="utf-8"))
    return template.render(contents)
