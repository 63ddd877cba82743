"""The page of training data: what it says, hostile names, and how a browser takes it."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from geoseg_cli.main import group
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import geoseg
from geoseg.assessment.training_data.page import drawn
from geoseg.assessment.training_data.tally import BINS, Histogram
from tests.assessment.training_data.made import (
    CLASSES,
    NAMES,
    clean_set,
    configured,
    image_of,
    labels_of,
    put_labels,
    write,
)
from tests.chromium import CHROMIUM, browser

HOSTILE = "<img src=x onerror=alert(1)>&'\""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Names of a class and of files that a page or a terminal would obey."""
    clean_set(tmp_path)
    put_labels(tmp_path, 3, labels_of(1))
    for kind, pixels in (("images", image_of(labels_of(1), 9)), ("labels", labels_of(1))):
        write(tmp_path / kind / "<b>x&\x1b[31m.tif", pixels, col=-500)
    return configured(
        tmp_path,
        classes=CLASSES | {1: {"name": HOSTILE, "color": "#2b8cbe"}},
        split={"train": [*NAMES[:4], "<b>x&\x1b[31m"], "val": NAMES[4:5]},
    )


def test_hostile_names_are_text_everywhere(hostile: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run = CliRunner().invoke(group, ["check", str(hostile), "-o", str(page), "-q"])
    assert run.exit_code == 3, run.output
    text = page.read_text()
    assert "<img src=x" not in text
    assert "<b>x" not in text
    assert "&lt;b&gt;x&amp;" in text
    assert "onerror=alert(1)&gt;" in text
    assert not re.search(r"[\x1b\u202e]", run.stdout)
    assert "<b>x&\\x1b[31m" in run.stdout
    printed = CliRunner().invoke(group, ["check", str(hostile), "--json", "-q"]).stdout
    assert not re.search(r"[\x1b\u202e]", printed)
    assert json.loads(printed)["classes"][0]["class"] == HOSTILE
    assert "<img" not in geoseg.check(hostile, progress=False)._repr_html_()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_has_nothing_to_complain_about(hostile: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    geoseg.check(hostile, output=page, progress=False)
    with browser(tmp_path / "profile") as tab:
        for width in (1280, 380):
            tab.open(page, width=width, dark=width == 380)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
        assert tab.evaluate("document.querySelectorAll('#findings li.error').length") == 1
        assert tab.evaluate("document.querySelectorAll('.pair').length") == 7
    assert tab.complaints == []
    assert [each for each in tab.requests if not each.startswith("file:")] == []


def test_a_page_of_damaged_files_shows_what_can_be_read(tmp_path: Path) -> None:
    config = clean_set(tmp_path)
    for path, length in (("images/p0.tif", 20_000), ("labels/p1.tif", 3_000), ("images/p2.tif", 0)):
        (tmp_path / path).write_bytes((tmp_path / path).read_bytes()[:length])
    page = tmp_path / "page.html"
    quality = geoseg.check(config, output=page, progress=False)
    assert {each.images[0] for each in quality.found if each.severity == "error"} >= {"p0", "p1", "p2"}
    text = page.read_text()
    assert text.count('<figure class="pair">') >= 3
    assert "Image p3" in text
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"")
    nothing = geoseg.check(config, output=page, overwrite=True, progress=False)
    assert nothing.exit_code == 3
    assert "none can be read" in page.read_text()
    json.dumps(nothing.to_dict(), allow_nan=False)
    assert list(nothing.lines())


numbers = hnp.arrays(
    st.sampled_from([np.uint8, np.int16, np.uint16, np.float32, np.float64]),
    st.integers(1, 200),
    elements=st.integers(0, 200),
)


@given(numbers, numbers, st.sampled_from([1.0, 0.25, 1e-3, 1e6]), st.sampled_from([0.0, -50.0, 1e4]))
def test_histograms_add_up_and_count_every_value(
    one: np.ndarray, other: np.ndarray, scale: float, base: float
) -> None:
    kind = one.dtype if one.dtype == other.dtype else np.dtype(np.float64)
    parts = [
        each.astype(kind) if kind.kind != "f" else (each * scale + base).astype(kind) for each in (one, other)
    ]
    whole, ways = Histogram(), [Histogram(), Histogram()]
    whole.add(np.concatenate(parts))
    for way, order in zip(ways, (parts, parts[::-1]), strict=True):
        for part in order:
            way.add(part)
    for way in ways:
        assert (way.exponent, way.first, way.counts.tolist()) == (
            whole.exponent,
            whole.first,
            whole.counts.tolist(),
        )
    values = np.concatenate(parts).astype(np.float64)
    edges = (whole.first + np.arange(len(whole.counts) + 1)) * whole.width
    naive = [int(((values >= low) & (values < high)).sum()) for low, high in itertools.pairwise(edges)]
    assert whole.counts.tolist() == naive
    assert sum(naive) == len(values)
    assert len(naive) <= BINS


def test_a_histogram_is_drawn_without_its_outliers() -> None:
    histogram = Histogram()
    histogram.add(np.array([100] * 5000 + [104] * 5000 + [60000], dtype=np.uint16))
    picture = drawn(histogram)
    assert picture is not None
    assert picture["high"] < 1000
    assert re.fullmatch(r"M0 60(V[\d.]+H[\d.]+)+V60Z", picture["path"])
    assert drawn(Histogram()) is None
