"""What finished trials keep beside their scores: confusion in run.json, pictures of samples in report.html."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ModelError, plural

Json = dict[str, Any]
_IMAGES: Final = 4
"""Images of which the page shows predictions."""
_EDGES: Final = (192, 128, 96)
"""Largest edges of a picture, px: the first for which the pictures of all trials are small enough."""
_BYTES: Final = 2_200_000
"""Most that the pictures of all trials may take."""
_CLASSES: Final = 40
"""A confusion matrix of more classes is not shown, since nobody can read it."""
_PARTS: Final = ("image", "label", "prediction", "errors")


def confusion_of(run: Path) -> list[Json] | str:
    """Return the counts by (reference, prediction) on the validation images, or one line on why there are none.

    Where classes overlap, each has a matrix of its own, absent and present.

    Parameters
    ----------
    run : Path
        Folder of the finished trial.
    """
    from geoseg.learning.story import MODEL, STORY
    from geoseg.models.card_file import read_card

    try:
        story = json.loads((run / STORY).read_text(encoding="utf-8"))
        counts = story["scores"]["val"]["confusion"]
        card = read_card(run / story.get("model", MODEL))
    except OSError:
        return f"its run folder holds no {STORY}"
    except (ValueError, KeyError, TypeError, AttributeError, ModelError):
        return f"its {STORY} holds no confusion of the validation images"
    classes = [(card.classes[code].name, card.classes[code].color) for code in card.scored]
    if len(classes) > _CLASSES:
        return f"{plural(len(classes), 'class')} are too many for a matrix"
    if card.task != "multilabel":
        return [{"title": "", "classes": classes, "counts": counts}]
    return [
        {"title": name, "classes": [("absent", ""), ("present", color)], "counts": layer}
        for (name, color), layer in zip(classes, counts, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """A sample in a trial's report: its name and place in the image, and pictures as data URIs by what they show."""

    name: str
    place: str
    words: str
    pictures: Mapping[str, str]


def pictures_of(reports: Mapping[str, Path]) -> Json:
    """Return predictions of the same images by all trials, small enough for one page.

    The image and its label are kept once, each trial's prediction and errors as pictures of indexed colours.

    Parameters
    ----------
    reports : mapping of str to Path
        Report of each finished trial that has one.
    """
    found = {trial: samples for trial, path in reports.items() if (samples := _read(path))}
    counted = Counter((each.name, each.place) for samples in found.values() for each in samples)
    order = {key: at for at, key in enumerate(counted)}
    chosen = sorted(counted, key=lambda key: (-counted[key], order[key]))[:_IMAGES]
    for edge in _EDGES:
        made = _pictures(found, chosen, edge)
        if _size(made) <= _BYTES:
            return {**made, "left": 0}
    left = 0
    while made["predictions"] and _size(made) > _BYTES:
        made["predictions"].popitem()
        left += 1
    return {**made, "left": left}


def _size(made: Json) -> int:
    return len(json.dumps(made))


def _pictures(found: Mapping[str, tuple[Pictured, ...]], chosen: list[tuple[str, str]], edge: int) -> Json:
    images: dict[tuple[str, str], Json] = {}
    predictions: dict[str, list[Json | None]] = {}
    for trial, samples in found.items():
        by_key = {(each.name, each.place): each for each in samples}
        shown: list[Json | None] = []
        for key in chosen:
            each = by_key.get(key)
            if each is None:
                shown.append(None)
                continue
            if key not in images:
                small = {part: reduced(each.pictures[part], edge) for part in ("image", "label")}
                images[key] = {"name": each.name, "place": each.place, **small}
            parts = {part: reduced(each.pictures[part], edge) for part in ("prediction", "errors")}
            shown.append({"words": each.words, **parts})
        predictions[trial] = shown
    return {"images": [images[key] for key in chosen], "predictions": predictions}


@lru_cache(maxsize=4096)
def reduced(uri: str, edge: int) -> str:
    """Return a picture (data URI) reduced to an edge; flat colours stay indexed, and exact.

    Parameters
    ----------
    uri : str
        The picture.
    edge : int
        Its largest edge then, px.
    """
    from PIL import Image

    image: Image.Image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    share = min(1.0, edge / max(image.size))
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    photo = image.format == "WEBP"
    how = Image.Resampling.LANCZOS if photo else Image.Resampling.NEAREST
    data = io.BytesIO()
    if photo:
        image.resize(size, how).save(data, "webp", quality=70, method=4)
    else:
        kept = {"transparency": image.info["transparency"]} if "transparency" in image.info else {}
        image.resize(size, how).save(data, "png", optimize=True, **kept)
    kind = "webp" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"


def _read(path: Path) -> tuple[Pictured, ...]:
    stat = path.stat()
    return samples_in(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def samples_in(path: Path, changed: int, size: int) -> tuple[Pictured, ...]:  # noqa: ARG001 - key of the cache
    """Return the samples of the first panel of a training's report, with pictures of the largest edge.

    Parameters
    ----------
    path : Path
        The report.
    changed, size : int
        Its time of change and length, by which a report that was written again is read again.
    """
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return tuple(
        Pictured(
            name=each.name,
            place=each.place,
            words=each.words,
            pictures={part: reduced(uri, _EDGES[0]) for part, uri in each.pictures.items()},
        )
        for each in reader.samples
        if set(_PARTS) <= each.pictures.keys()
    )


class _Reader(HTMLParser):
    """Reads the section of samples in ``report/page.html.j2``."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: list[Pictured] = []
        self._inside, self._tag, self._uri = False, "", ""
        self._texts: dict[str, list[str]] = {}
        self._pictures: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a sample begins, its pictures, and what its texts are."""
        given = dict(attrs)
        if tag == "section":
            self._inside = given.get("id") == "samples"
        elif self._inside and tag == "figure":
            self._texts, self._pictures = {"b": [], "span": []}, {}
        elif self._inside and tag == "img":
            self._uri = given.get("src") or ""
        self._tag = tag
        if self._inside and tag in self._texts:
            self._texts[tag].append("")

    def handle_data(self, data: str) -> None:
        """Note texts."""
        if not self._inside:
            return
        if self._tag in self._texts:
            self._texts[self._tag][-1] += data
        elif self._tag == "small" and data.strip() in _PARTS:
            self._pictures[data.strip()] = self._uri

    def handle_endtag(self, tag: str) -> None:
        """Note where a sample ends."""
        self._tag = ""
        if self._inside and tag == "figure" and self._texts.get("b"):
            *place, overlap, accuracy = ["", "", *self._texts["span"]]
            self.samples.append(
                Pictured(
                    name=self._texts["b"][0],
                    place=place[-1] if place else "",
                    words=f"{overlap}, {accuracy}",
                    pictures=self._pictures,
                )
            )
        elif tag == "section":
            self._inside = False
