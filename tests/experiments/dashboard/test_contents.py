"""What the page of a sweep holds: scores as in the table, curves, confusion and pictures of what the trials kept."""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from geoseg_cli.main import group
from PIL import Image

from geoseg.errors import DataError
from geoseg.experiments.dashboard import write_dashboard
from geoseg.experiments.dashboard.contents import contents
from geoseg.experiments.dashboard.kept import confusion_of, pictures_of, reduced, samples_in
from geoseg.experiments.record import SweepRecord
from geoseg.experiments.table import RESULTS, SweepTable
from geoseg.models.model import Model
from tests.experiments.dashboard.sweeps import COLORS, GRID, HOSTILE, SCORE, planned, with_runs, write_sweep

ENDS = {
    "t0001": ("failed", "out of memory", 3), "t0002": ("pruned", "worse than half", 4),
    "t0003": ("running", "", 2), "t0004": ("waiting", "", 0),
}  # fmt: skip


def test_scores_are_those_of_the_epoch_that_the_model_is_from(tmp_path: Path) -> None:
    frame = write_sweep(tmp_path, planned(GRID, (1, 2)), 5, ENDS)
    found = contents(SweepTable.read(tmp_path))
    best = frame[frame["best"]].set_index("trial")
    assert len(found["trials"]) == 36
    for trial in found["trials"]:
        name = trial["trial"]
        assert trial["status"] == ENDS.get(name, ("finished",))[0]
        assert trial["reason"] == ENDS.get(name, ("", ""))[1]
        if name not in best.index:
            assert (trial["score"], trial["best"], trial["scores"]) == (None, None, [])
            continue
        assert trial["score"] == pytest.approx(best.at[name, SCORE], rel=1e-8)
        assert trial["best"] == best.at[name, "epoch"]
        assert trial["scores"][found["scores"].index("mean_iou")] == pytest.approx(
            best.at[name, "val/mean_iou"], rel=1e-5
        )
        assert trial["cpu"] == pytest.approx(frame.loc[frame["trial"] == name, "cpu_seconds"].max(), rel=1e-5)


def test_curves_are_the_rows_and_long_ones_keep_their_best_and_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = write_sweep(tmp_path, planned({"a": ["1"]}, (1, 2)), 50)
    whole = contents(SweepTable.read(tmp_path))
    for trial, (epochs, values, *_) in zip(whole["trials"], whole["points"], strict=True):
        rows = frame[frame["trial"] == trial["trial"]]
        assert epochs == list(rows["epoch"])
        np.testing.assert_allclose(values, rows[SCORE], rtol=1e-3)
    assert not whole["thinned"]
    monkeypatch.setattr("geoseg.experiments.dashboard.contents._POINTS", 20)
    thin = contents(SweepTable.read(tmp_path))
    assert thin["thinned"]
    for trial, (epochs, *_) in zip(thin["trials"], thin["points"], strict=True):
        assert len(epochs) <= 12
        assert {1, trial["best"], 50} <= set(epochs)


def test_json_has_no_nan_and_a_trial_of_nan_has_no_score(tmp_path: Path) -> None:
    frame = write_sweep(tmp_path, planned({"a": ["1", "2"]}, (1,)), 3)
    frame.loc[frame["trial"] == "t0001", [SCORE, "val/loss"]] = np.nan
    frame.loc[frame["trial"] == "t0002", "train/loss"] = np.inf
    frame.to_parquet(tmp_path / RESULTS)
    page = write_dashboard(tmp_path).read_text()
    assert "NaN" not in json_of(page)
    assert "Infinity" not in json_of(page)
    first, second = json.loads(json_of(page))["trials"]
    assert first["score"] is None
    assert second["score"] is not None


def json_of(page: str) -> str:
    """The inert JSON in a page."""
    opening = '<script type="application/json" id="data">'
    return page[page.index(opening) + len(opening) :].partition("</script>")[0]


def test_a_hostile_name_ends_no_script(tmp_path: Path) -> None:
    write_sweep(
        tmp_path, planned({HOSTILE: [HOSTILE, "2"]}, (1,)), 2, {"t0001": ("failed", HOSTILE, 1)}, name=HOSTILE
    )
    page = write_dashboard(tmp_path).read_text()
    assert "<img" not in page[: page.index("<script>")], "before the page's own scripts"
    assert json.loads(json_of(page))["name"] == HOSTILE


@pytest.mark.long
def test_confusion_and_pictures_come_from_run_folders(tmp_path: Path, model: Model) -> None:
    trials = planned({"a": ["1", "2"]}, (1, 2))
    write_sweep(tmp_path, trials, 3)
    with_runs(tmp_path, trials[:3], model, edge=300)
    found = contents(SweepTable.read(tmp_path))
    (matrix,) = found["confusion"]["t0002"]
    story = json.loads((tmp_path / "trials/t0002/run.json").read_text())
    assert matrix["counts"] == story["scores"]["val"]["confusion"]
    assert [name for name, _ in matrix["classes"]] == ["water", "forest", "town"]
    assert found["confusion"]["t0004"] == "its run folder holds no run.json"
    assert len(found["images"]) == 4
    assert set(found["predictions"]) == {"t0001", "t0002", "t0003"}
    for made in found["predictions"].values():
        for each in made:
            picture = opened(each["prediction"])
            assert max(picture.size) <= 192
            colors = {color for _, color in picture.convert("RGB").getcolors()}
            assert colors <= set(COLORS), "flat colours stay exact"
    assert found["images"][0]["place"] == "rows 0–9, columns 0–9"
    assert found["predictions"]["t0001"][0]["words"] == "mean IoU 0.500, accuracy 0.600"


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.long
def test_pictures_are_made_smaller_then_left_out_and_counted(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = planned({"a": ["1"]}, range(1, 5))
    with_runs(tmp_path, trials, model)
    reports = {each.trial: tmp_path / "trials" / each.trial / "report.html" for each in trials}
    whole = pictures_of(reports)
    size = len(json.dumps(whole))
    monkeypatch.setattr("geoseg.experiments.dashboard.kept._BYTES", size - 50)
    smaller = pictures_of(reports)
    assert max(opened(smaller["images"][0]["label"]).size) == 128
    assert smaller["left"] == 0
    monkeypatch.setattr("geoseg.experiments.dashboard.kept._BYTES", size // 5)
    some = pictures_of(reports)
    assert len(some["predictions"]) + some["left"] == 4
    assert 0 < some["left"] < 4
    assert len(json.dumps(some)) < size // 4


def test_a_report_without_pictures_or_of_another_kind_gives_none(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<section id='samples'><figure><figcaption><b>x</b></figcaption></section><p>no figure")
    assert samples_in(page, 0, 0) == ()
    assert pictures_of({"t0001": page}) == {"images": [], "predictions": {}, "left": 0}
    assert confusion_of(tmp_path) == "its run folder holds no run.json"
    (tmp_path / "run.json").write_text('{"scores": {}}')
    assert confusion_of(tmp_path) == "its run.json holds no confusion of the validation images"


@pytest.mark.long
def test_the_report_of_a_training_is_read_as_it_was_written(tmp_path: Path) -> None:
    from geoseg.assessment.report import report
    from geoseg.assessment.report.reading import read_run
    from geoseg.assessment.report.tables import matrices
    from tests.assessment.report.runs import NAMES, make_run

    run = make_run(tmp_path, {})
    page = run / "report.html"
    if not page.exists():
        report(run)
    samples = samples_in(page, 0, 0)
    assert sorted(each.name for each in samples) == ["c", "d"]
    for each in samples:
        assert opened(each.pictures["prediction"]).size == (64, 48)
        assert each.words.startswith("mean IoU ")
    record = read_run(run)
    assert record.card is not None
    (expected,) = matrices(record, record.card, "val")
    (found,) = confusion_of(run)
    assert found["counts"] == [list(row) for row in expected.counts]  # type: ignore[index]
    assert [name for name, _ in found["classes"]] == list(NAMES)  # type: ignore[index]


def test_without_the_library_the_page_has_no_charts_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_sweep(tmp_path, planned({"a": ["1"]}, (1,)), 2)
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with caplog.at_level(logging.WARNING):
        page = write_dashboard(tmp_path).read_text()
    assert "need the package vl-convert-python: pip install" in caplog.text
    assert "need the package vl-convert-python" in page
    assert len(page) < 200_000


def test_the_command_writes_what_python_writes(tmp_path: Path) -> None:
    write_sweep(tmp_path, planned({"a": ["1"]}, (1,)), 2)
    expected = write_dashboard(tmp_path).read_bytes()
    (tmp_path / "dashboard.html").write_text("old")
    done = CliRunner().invoke(group, ["report", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "dashboard.html" in done.output
    assert (tmp_path / "dashboard.html").read_bytes() == expected
    refused = CliRunner().invoke(group, ["report", str(tmp_path), "-o", str(tmp_path / "x.html")])
    assert refused.exit_code == 2
    assert "leave out -o" in refused.output


def test_a_folder_without_a_sweep_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no sweep"):
        write_dashboard(tmp_path)
    SweepRecord(name="x", created_by="", score=SCORE, goal="max", base={}).write(tmp_path)
    with pytest.raises(DataError, match="holds no sweep"):
        write_dashboard(tmp_path)


def test_photos_are_reduced_smoothly_and_small_pictures_stay(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(data, "webp")
    uri = f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
    assert opened(reduced(uri, 192)).size == (20, 10)
    assert opened(reduced(uri, 10)).size == (10, 5)
