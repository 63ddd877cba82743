"""The page: what it says is what the run wrote, it runs nothing, and a real browser has nothing to say."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import geoseg
from geoseg.assessment.report import report
from geoseg.errors import DataError, OptionError, OutputError, OutputExistsError
from geoseg.models.card_file import read_card
from tests.assessment.report.runs import AWKWARD, NAMES, make_run
from tests.chromium import CHROMIUM, browser
from tests.conftest import skip_without


class Outline(HTMLParser):
    """What is in a page, as a browser would read it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self._cell: list[str] | None = None
        self.words: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell is not None:
            self._cell.append(data + " ")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def ids(self) -> set[str | None]:
        return {attributes.get("id") for _, attributes in self.tags} - {None}

    def table(self, *beginning: str) -> list[list[str]]:
        """The table one of whose rows begins like this."""
        return next(t for t in self.tables if any(row[: len(beginning)] == list(beginning) for row in t))


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(finished, output=tmp_path_factory.mktemp("page") / "report.html")


def test_a_whole_run_has_every_part(page: Path, finished: Path) -> None:
    outline = Outline(page)
    assert outline.ids >= {
        "curves", "classes", "confusion", "samples", "augmentation", "data", "configuration", "surroundings",
    }  # fmt: skip
    assert "Without pictures" not in outline.text
    # Loss, score, learning rate and range test.
    assert [svg["aria-label"] for svg in outline.all("svg")] == [
        "Loss", "Mean IoU", "Learning rate", "Learning-rate range test",
    ]  # fmt: skip
    assert page.stat().st_size < 3_000_000
    assert page.with_name("curves.png").read_bytes().startswith(b"\x89PNG")


def test_scores_by_class_are_those_of_the_card(page: Path, finished: Path) -> None:
    training = read_card(finished / "model.safetensors").training
    assert training is not None
    metrics = json.loads(json.dumps(training["metrics"]))
    rows = {row[0]: row[1:] for row in Outline(page).table("class")}
    for name in NAMES:
        expected = []
        for split in ("val", "test"):
            scores = [metrics[split][kind][name] for kind in ("iou", "dice", "precision", "recall")]
            expected.append([f"{score:.3f}" for score in scores])
        found = rows[name]
        assert [found[1:5], found[6:10]] == expected
    totals = {row[0]: row[1:] for row in Outline(page).table("score")}
    assert totals["Mean IoU"] == [f"{metrics[split]['mean_iou']:.3f}" for split in ("val", "test")]


def test_shares_and_confusion_are_counted_pixels(page: Path, finished: Path) -> None:
    """Labels are known: of image k the first k rows have none, and 27 + k columns are of the first class."""

    def pixels(*images: int) -> list[int]:
        return [
            sum((48 - k) * (27 + k) for k in images),
            sum((48 - k) * (64 - 27 - k) for k in images),
        ]

    rows = {row[0]: row[1:] for row in Outline(page).table("class")}
    for place, images in ((0, (1, 2)), (5, (3, 4)), (10, (5,))):
        counts = pixels(*images)
        for name, count in zip(NAMES, counts, strict=True):
            assert rows[name][place] == f"{100 * count / sum(counts):.1f} %"
    story = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    counts = np.array(story["scores"]["val"]["confusion"])
    assert counts.sum(axis=1).tolist() == pixels(3, 4)
    cells = re.findall(r'title="(\d+) pixels"', page.read_text(encoding="utf-8"))
    assert list(map(int, cells[:4])) == counts.ravel().tolist()


def test_names_are_text_and_nothing_is_run_or_asked_for(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    outline = Outline(page)
    assert not outline.all("script")
    assert AWKWARD in outline.text
    assert "<b>Küste</b>" in outline.text
    for tag, attributes in outline.tags:
        for key in ("src", "href", "xlink:href", "data", "poster"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_pictures_have_words_and_charts_names(page: Path) -> None:
    outline = Outline(page)
    images = outline.all("img")
    assert len(images) == 2 * 4 + 8 * 2, "two whole images, and a chip with seven draws of it"
    assert all(image["alt"] for image in images)
    assert all(svg["aria-label"] and svg["role"] == "img" for svg in outline.all("svg"))
    anchors = {str(a["href"])[1:] for a in outline.all("a")}
    assert anchors <= {str(i) for i in outline.ids}


def test_no_folder_of_this_machine_is_told(page: Path, finished: Path) -> None:
    assert str(finished.parent) not in page.read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_bytes(page: Path, finished: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    again = geoseg.report(
        finished / "model.safetensors",
        output=tmp_path / "again.html",
        progress=lambda *each: told.append(each),
    )
    assert told == [(step, len(told), "report") for step in range(1, len(told) + 1)]
    assert told
    assert again.read_bytes() == page.read_bytes()
    assert (tmp_path / "curves.png").read_bytes() == page.with_name("curves.png").read_bytes()


@pytest.mark.long
def test_without_the_data_one_line_says_so(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    story = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps(story | {"data_root": str(tmp_path / "gone")}))
    assert report(run) == run / "report.html"
    outline = Outline(run / "report.html")
    assert outline.text.count("Without pictures:") == 1
    assert not outline.all("img")
    assert outline.ids >= {"curves", "classes", "confusion", "data"}
    assert (run / "curves.png").exists()
    (run / "run.json").unlink()
    with pytest.raises(OutputExistsError, match=r"report.html: already exists; pass overwrite=True"):
        report(run)
    outline = Outline(report(run, overwrite=True))
    assert "did not write down" in outline.text
    assert outline.ids >= {"curves", "classes"}


@pytest.mark.parametrize("epochs", [0, 2])
def test_an_unfinished_run_shows_what_there_is(finished: Path, tmp_path: Path, epochs: int) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:epochs]) + lines[2][:40])
    (run / "model.safetensors").rename(run / "best.safetensors")
    (run / "journal.jsonl").write_text("{}\n")
    outline = Outline(report(run, overwrite=True))
    assert "has not ended" in outline.text
    assert ("curves" in outline.ids) == (epochs > 0)
    assert "classes" not in outline.ids
    assert "configuration" in outline.ids
    assert (run / "curves.png").exists() == (epochs > 0)
    if epochs:
        assert f"so far: {epochs} of 3 are done" in outline.text


@pytest.mark.long
def test_a_binary_run(tmp_path: Path) -> None:
    changes: dict[str, dict[str, object]] = {
        "data": {"task": "binary", "classes": {0: {"name": "rest"}, 1: {"name": "Dächer"}}},
        "train": {"epochs": 1, "learning_rate": 0.01},
    }
    outline = Outline(report(make_run(tmp_path, changes, codes=(0, 1))))
    rows = outline.table("class")
    assert [row[0] for row in rows[-2:]] == ["rest", "Dächer"]
    assert len(outline.all("svg")) == 3, "there was no range test"


@pytest.mark.long
def test_a_multilabel_run_has_a_matrix_for_each_class(tmp_path: Path) -> None:
    changes: dict[str, dict[str, object]] = {
        "data": {"task": "multilabel"},
        "train": {"epochs": 1, "learning_rate": 0.01},
    }
    page = report(make_run(tmp_path, changes))
    outline = Outline(page)
    matrices = [table for table in outline.tables if table[0] == ["label", "absent", "present"]]
    assert len(matrices) == 2 * 2
    # Both classes are known wherever one is: rows of a class sum to the same pixels.
    cells = list(map(int, re.findall(r'title="(\d+) pixels"', page.read_text(encoding="utf-8"))))
    assert sum(cells[:4]) == sum(cells[4:8]) == (48 - 3) * 64 + (48 - 4) * 64
    assert len(outline.all("img")) == 2 * 4 + 8 * 2


def test_what_cannot_be_reported_is_one_line(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"is not a run \(config.yaml: No such file or directory\)"):
        report(tmp_path / "empty")
    with pytest.raises(OptionError, match=r"expected a name that ends in .html"):
        report(finished, output=finished / "model.safetensors")
    with pytest.raises(OutputError, match="does not exist"):
        report(finished, output=tmp_path / "none" / "report.html")
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "metrics.jsonl").write_text("{\n")
    with pytest.raises(DataError, match="is damaged"):
        report(run)


def test_a_browser_loads_it_in_silence(page: Path, tmp_path: Path) -> None:
    skip_without("chromium", CHROMIUM is not None)
    with browser(tmp_path) as tab:
        for width, dark in ((1280, False), (400, True)):
            tab.open(page, width=width, dark=dark)
            tab.evaluate("Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode())))")
            assert tab.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
            assert tab.evaluate("document.documentElement.scrollWidth") == width, "nothing sticks out"
            paper, text = tab.evaluate(
                "(s => [s.backgroundColor, s.color].map(c => c.match(/\\d+/g).slice(0, 3).map(Number)))"
                "(getComputedStyle(document.body))"
            )
            assert contrast(paper, text) > 7
            assert (sum(paper) < sum(text)) == dark
        assert tab.complaints == []
        assert set(tab.requests) == {page.resolve().as_uri()}


def test_the_browser_sees_what_is_asked_for_and_said(tmp_path: Path) -> None:
    skip_without("chromium", CHROMIUM is not None)
    bad = tmp_path / "bad.html"
    bad.write_text("<img src=missing.png><script>console.error('loud'); nothing.there</script>")
    (tmp_path / "profile").mkdir()
    with browser(tmp_path / "profile") as tab:
        tab.open(bad)
        assert (tmp_path / "missing.png").resolve().as_uri() in tab.requests
        assert any("loud" in each for each in tab.complaints)
        assert any("nothing is not defined" in each for each in tab.complaints)


def contrast(*colors: list[int]) -> float:
    """Contrast ratio of two colours (WCAG 2.2)."""

    def luminance(color: list[int]) -> float:
        parts = [c / 255 for c in color]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted(map(luminance, colors))
    return (high + 0.05) / (low + 0.05)
