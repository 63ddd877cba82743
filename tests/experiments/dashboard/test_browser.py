"""The page in Chromium: its numbers are those of pandas and numpy; sort, filters, rectangles do what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from geoseg.experiments.dashboard import write_dashboard
from geoseg.experiments.record import TrialRecord
from geoseg.models.model import Model
from tests.chromium import CHROMIUM, Page, browser
from tests.conftest import skip_without
from tests.experiments.dashboard.sweeps import GRID, HOSTILE, SCORE, planned, with_runs, write_sweep

ENCODER, LOSS, NAME = "model.encoder", "train.loss.terms", f"a.{HOSTILE}"
ENDS = {
    "t0003": ("failed", f"out of memory {HOSTILE}", 3), "t0008": ("pruned", "worse than half", 4),
    "t0011": ("running", "", 2), "t0012": ("waiting", "", 0),
}  # fmt: skip
READY = "document.documentElement.dataset.ready !== undefined"
SETTLED = (
    "new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 60))"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, model: Model) -> tuple[Path, pd.DataFrame]:
    """A sweep of 24 trials, some not finished, names hostile; its page and one row a trial."""
    folder = tmp_path_factory.mktemp("sweep")
    grid = {ENCODER: GRID[ENCODER][:2], LOSS: ["ce", "ce + dice", HOSTILE], NAME: ["0.001", "0.01"]}
    trials = planned(grid, (1, 2))
    frame = write_sweep(folder, trials, 14, ENDS, name=HOSTILE)
    with_runs(folder, [each for each in trials if each.trial not in ENDS], model, edge=64)
    return write_dashboard(folder), per_trial(frame, trials)


def per_trial(frame: pd.DataFrame, trials: list[TrialRecord]) -> pd.DataFrame:
    """A row a trial: status, score at its best epoch, times, values and configuration."""
    last = frame.groupby("trial").last()
    best = frame[frame["best"]].set_index("trial")[SCORE]
    table = last[["status", "seed", "cpu_seconds", "seconds"]].assign(score=best.reindex(last.index))
    for path in trials[0].parameters:
        table[path] = [each.parameters[path] for each in trials]
    values = [list(each.parameters.values()) for each in trials]
    return table.assign(key=[json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in values])


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    skip_without("chromium", CHROMIUM is not None)
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(window: Page, made: tuple[Path, pd.DataFrame]) -> Page:
    """The page, freshly loaded."""
    window.complaints.clear()
    window.requests.clear()
    show(window, made[0])
    return window


def show(tab: Page, page: Path, *, width: int = 1400, dark: bool = False) -> None:
    tab.open(page, width=width, dark=dark)
    tab.evaluate(
        f"new Promise(done => {{ const look = () => {READY} ? done() : setTimeout(look, 20); look(); }})"
    )


def found(tab: Page, expression: str) -> Any:
    """The value of an expression over ``D``, what the page has of itself, once all is drawn."""
    return tab.evaluate(
        f"{SETTLED}.then(async () => {{ const D = window.geosegDashboard; return {expression}; }})"
    )


def rows(tab: Page) -> list[str]:
    return list(found(tab, "[...document.querySelectorAll('#table tbody tr')].map(row => row.dataset.row)"))


def drawn(tab: Page, chart: str, data: str) -> set[str]:
    """Trials in a data set of a chart."""
    return set(found(tab, f"(await D.Charts.views.get('{chart}')).view.data('{data}').map(row => row.trial)"))


def finished(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["status"] == "finished"]


def test_it_loads_in_silence_at_any_width_light_and_dark(tab: Page, made: tuple[Path, pd.DataFrame]) -> None:
    for width, dark in ((1400, False), (1400, True), (400, False), (400, True)):
        show(tab, made[0], width=width, dark=dark)
        assert tab.evaluate("document.documentElement.scrollWidth") == width, "nothing sticks out"
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert tab.evaluate("document.querySelectorAll('.plot svg').length") == 5
    assert tab.complaints == []
    assert set(tab.requests) == {made[0].resolve().as_uri()}


def test_hostile_names_are_text(tab: Page) -> None:
    assert tab.evaluate("document.querySelector('h1').textContent") == HOSTILE
    assert tab.evaluate("document.querySelectorAll('img[src=x], [onerror]').length") == 0
    texts = tab.evaluate("document.body.innerText")
    for place in (f"out of memory {HOSTILE}", f"image 0 {HOSTILE}"):
        assert place in texts.replace("\u200b", "")
    assert tab.complaints == []


def test_no_script_but_its_own_runs(tab: Page) -> None:
    tab.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); })()"
    )
    assert tab.evaluate("window.ran === undefined")
    # In a task of its own: what the test itself evaluates may call eval.
    tried = "try { (0, eval)('1'); done('ran'); } catch (error) { done(error.name); }"
    assert tab.evaluate(f"new Promise(done => setTimeout(() => {{ {tried} }}))") == "EvalError"


def test_means_and_ranges_are_those_of_pandas(tab: Page, made: tuple[Path, pd.DataFrame]) -> None:
    configs = found(tab, "D.Numbers.configurations(D.data.trials)")
    expected = finished(made[1]).groupby("key").agg(
        count=("score", "size"), mean=("score", "mean"), min=("score", "min"), max=("score", "max"),
        cpu=("cpu_seconds", "mean"), seconds=("seconds", "mean"),
    )  # fmt: skip
    assert {each["key"] for each in configs if each["count"]} == set(expected.index)
    for each in configs:
        if not each["count"]:
            continue
        for column in expected.columns:
            assert each[column] == pytest.approx(expected.at[each["key"], column], rel=1e-5), column
    shown = found(
        tab,
        "[...document.querySelectorAll('#table tbody tr')].map(row => [row.dataset.row, row.cells[1].textContent])",
    )
    for key, text in shown:
        assert text == (f"{expected.at[key, 'mean']:.4f}" if key in expected.index else "–")


def least_squares(
    table: pd.DataFrame, first: pd.Series, second: pd.Series
) -> tuple[dict[Any, float], float, int]:
    """Fit score = level of first + level of second by numpy: levels of first, squares that are left, degrees."""
    a, b = pd.get_dummies(first, dtype=float), pd.get_dummies(second, dtype=float)
    design = np.hstack([a, b])
    solution, *_ = np.linalg.lstsq(design, table["score"], rcond=None)
    left = float(((table["score"] - design @ solution) ** 2).sum())
    levels = solution[: a.shape[1]] + solution[a.shape[1] :] @ b.to_numpy().mean(axis=0)
    return dict(zip(a.columns, levels, strict=True)), left, len(table) - int(np.linalg.matrix_rank(design))


def test_noise_is_what_configuration_and_seed_leave(tab: Page, made: tuple[Path, pd.DataFrame]) -> None:
    table = finished(made[1])
    _, left, degrees = least_squares(table, table["key"], table["seed"])
    noise = found(tab, "D.Numbers.noise(D.data.trials)")
    assert noise["df"] == degrees
    assert noise["sd"] == pytest.approx(np.sqrt(left / degrees), rel=1e-6)
    quantiles = found(tab, "[1, 2, 7, 30, 31, 60, 400].map(D.Numbers.quantile)")
    np.testing.assert_allclose(quantiles, student.ppf(0.975, [1, 2, 7, 30, 31, 60, 400]), rtol=2e-3)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_effects_compare_at_equal_settings(tab: Page, made: tuple[Path, pd.DataFrame], place: int) -> None:
    table = finished(made[1])
    paths = [ENCODER, LOSS, NAME]
    others = table[[each for each in paths if each != paths[place]]].agg("|".join, axis=1) + table[
        "seed"
    ].astype(str)
    several = others.map(table.assign(other=others).groupby("other")[paths[place]].nunique()) > 1
    levels, *_ = least_squares(table[several], table.loc[several, paths[place]], others[several])
    noise = found(tab, "D.Numbers.noise(D.data.trials)")
    effect = found(tab, f"D.Numbers.effect(D.data.trials, {place}, D.Numbers.noise(D.data.trials), 'max')")
    assert effect["matched"]
    assert {each["value"]: each["level"] for each in effect["values"]} == pytest.approx(levels, rel=1e-6)
    assert effect["size"] == pytest.approx(max(levels.values()) - min(levels.values()), rel=1e-5)
    assert effect["best"]["value"] == max(levels, key=lambda value: levels[value])
    counts = table.loc[several, paths[place]].value_counts()
    pair = [counts[effect[end]["value"]] for end in ("best", "worst")]
    margin = student.ppf(0.975, noise["df"]) * noise["sd"] * np.sqrt(1 / pair[0] + 1 / pair[1])
    assert effect["margin"] == pytest.approx(margin, rel=1e-3)
    assert effect["within"] == (effect["size"] <= effect["margin"])
    verdict = found(tab, f"document.getElementById('verdict-{place}').textContent")
    assert ("within noise" if effect["within"] else "beyond noise") in verdict


def test_values_that_nothing_compares_have_no_effect(tab: Page) -> None:
    effect = found(
        tab,
        "D.Numbers.effect([['1', 'x', 0.5], ['2', 'y', 0.7]].map(([a, b, score]) => ({key: a, values: [a, b],"
        " seed: 1, fold: null, status: 'finished', score})), 0, {sd: 0.1, df: 3}, 'max')",
    )
    assert not effect["matched"]
    assert effect["size"] == pytest.approx(0.2)


def test_a_number_of_many_values_is_an_axis_and_filtered_between_two(window: Page, tmp_path: Path) -> None:
    rates = [f"{10**-power:.3g}" for power in np.linspace(2, 4, 14)]
    trials = planned({"train.learning_rate": rates}, (1,))
    write_sweep(tmp_path, trials, 2)
    window.complaints.clear()
    show(window, write_dashboard(tmp_path))
    assert drawn(window, "effect-0", "dots") == {each.trial for each in trials}
    verdict = found(window, "document.getElementById('verdict-0').textContent")
    assert "no two of them are compared" in verdict
    window.click("#rows-trials")
    window.evaluate(
        "(e => { e.value = '0.001'; e.dispatchEvent(new Event('change')); })"
        "(document.querySelector('[data-filter][aria-label$=largest]'))"
    )
    assert set(rows(window)) == {
        each.trial for each, rate in zip(trials, rates, strict=True) if float(rate) <= 0.001
    }
    assert window.complaints == []


def test_a_sweep_that_has_just_begun_says_that_there_is_nothing_yet(window: Page, tmp_path: Path) -> None:
    trials = planned({"a": ["1", "2"]}, (1,))
    write_sweep(tmp_path, trials, 1, {"t0001": ("waiting", "", 0), "t0002": ("running", "", 0)})
    window.complaints.clear()
    show(window, write_dashboard(tmp_path))
    text = window.evaluate("document.body.innerText")
    for words in ("not ended, 2 trials to go", "No epoch has ended yet", "No trial has finished"):
        assert words in text
    assert window.complaints == []


@pytest.mark.parametrize("goal", ["max", "min"])
def test_nothing_beats_the_pareto_line_in_both(tab: Page, goal: str) -> None:
    random = np.random.default_rng(1)
    points = [{"cost": float(c), "score": float(s)} for c, s in random.integers(0, 12, (40, 2))]
    line = found(tab, f"D.Numbers.pareto({json.dumps(points)}, '{goal}')")
    sign = 1 if goal == "max" else -1

    def beaten(point: dict[str, float]) -> bool:
        return any(
            other["cost"] <= point["cost"]
            and sign * other["score"] >= sign * point["score"]
            and other != point
            for other in points
        )

    expected = {(each["cost"], each["score"]) for each in points if not beaten(each)}
    assert [(each["cost"], each["score"]) for each in line] == sorted(expected)


def test_a_click_on_a_column_sorts_by_it(tab: Page, made: tuple[Path, pd.DataFrame]) -> None:
    tab.click("#rows-trials")
    assert rows(tab) == sorted(made[1].index)
    table = made[1]
    for column, by in (("cpu", "cpu_seconds"), ("score", "score")):
        for ascending in (column != "score", column == "score"):
            tab.click(f"[data-column='{column}']")
            known = table[table[by].notna()].sort_values(by, ascending=ascending, kind="stable")
            assert rows(tab) == [*known.index, *table.index[table[by].isna()]]
            said = tab.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')")
            assert said == ("ascending" if ascending else "descending")


def test_filters_act_on_everything(tab: Page, made: tuple[Path, pd.DataFrame]) -> None:
    table = made[1]
    tab.click("#rows-trials")
    tab.click(f"label:has(> [data-value='{GRID[ENCODER][0]}'])")
    kept = table[table[ENCODER] != GRID[ENCODER][0]]
    assert set(rows(tab)) == set(kept.index)
    assert drawn(tab, "curves-plot", "points") == set(kept.index[kept["score"].notna()])
    assert drawn(tab, "cost-plot", "trials") == set(finished(kept).index)
    assert drawn(tab, "effect-1", "dots") == set(finished(kept).index)
    unfinished = found(
        tab,
        "[...document.querySelectorAll('#unfinished-table tbody tr')].map(row => row.cells[0].textContent)",
    )
    assert set(unfinished) == set(kept.index[kept["status"].isin(["failed", "pruned"])])
    assert found(tab, "document.getElementById('config-A').options.length") == kept["key"].nunique()
    assert f"{len(kept)} of {len(table)} trials" in found(tab, "document.getElementById('shown').textContent")
    best = finished(kept).groupby("key")["score"].mean().max()
    assert f"{best:.4f}" in found(tab, "document.getElementById('facts').textContent")
    tab.evaluate(
        "(e => { e.value = 'seed 2 dice'; e.dispatchEvent(new Event('input')); })(document.getElementById('search'))"
    )
    assert set(rows(tab)) == set(kept.index[(kept["seed"] == 2) & kept[LOSS].str.contains("dice")])
    tab.click("#reset")
    assert set(rows(tab)) == set(table.index)
    tab.evaluate(
        "(e => { e.value = 'no such words'; e.dispatchEvent(new Event('input')); })(document.getElementById('search'))"
    )
    assert "Nothing passes the filters" in found(tab, "document.getElementById('table').textContent")
    assert tab.complaints == []


def corners(
    tab: Page, chart: str, x: tuple[float, float], y: tuple[float, float]
) -> list[tuple[float, float]]:
    """Places in the window of two points of a chart's axes."""
    tab.place(f"#{chart} svg")
    points = json.dumps(list(zip(x, y, strict=True)))
    places = tab.evaluate(
        f"geosegDashboard.Charts.views.get('{chart}').then(({{view}}) => {{"
        " const box = view.container().querySelector('svg').getBoundingClientRect(), [left, top] = view.origin();"
        f" return {points}.map(([x, y]) =>"
        " [box.x + left + view.scale('x')(x), box.y + top + view.scale('y')(y)]); })"
    )
    return [(left, top) for left, top in places]


def test_a_rectangle_in_cost_keeps_its_trials_everywhere(tab: Page, made: tuple[Path, pd.DataFrame]) -> None:
    table = finished(made[1])
    seconds, score = table["cpu_seconds"], table["score"]
    tab.click("#rows-trials")
    ends = (seconds.min() - 0.001, seconds.median()), (score.quantile(0.3), score.max() + 0.001)
    tab.drag(*corners(tab, "cost-plot", *ends))
    area = found(tab, "D.state.areas.cost")
    np.testing.assert_allclose([area["cost"], area["score"]], ends, rtol=0.01)
    inside = table[seconds.between(*area["cost"]) & score.between(*area["score"])]
    assert 0 < len(inside) < len(table)
    assert set(rows(tab)) == set(inside.index)
    assert drawn(tab, "curves-plot", "points") == set(inside.index)
    assert drawn(tab, "effect-0", "dots") == set(inside.index)
    assert drawn(tab, "cost-plot", "trials") == set(table.index), "others stay, faint"
    tab.click("#unbrush-cost")
    assert set(rows(tab)) == set(made[1].index)
    assert tab.complaints == []


def test_a_rectangle_in_the_curves_keeps_what_runs_through_it(
    tab: Page, made: tuple[Path, pd.DataFrame]
) -> None:
    tab.click("#rows-trials")
    tab.drag(*corners(tab, "curves-plot", (8.2, 8.8), (0.5, 0.67)))
    area = found(tab, "D.state.areas.curves")
    crossing = set()
    for trial, (epochs, values, *_) in found(
        tab, "D.data.trials.map(trial => [trial.trial, D.data.points[trial.at]])"
    ):
        at = np.linspace(*area["epoch"], 400)
        if epochs and epochs[-1] >= area["epoch"][1]:
            between = np.interp(at, epochs, values)
            if ((between >= area["value"][0]) & (between <= area["value"][1])).any():
                crossing.add(trial)
    assert 0 < len(crossing) < len(made[1])
    assert set(rows(tab)) == crossing


def test_a_curve_names_its_trial_and_marks_it_everywhere(tab: Page) -> None:
    epoch, value = found(tab, "[D.data.points[0][0][7], D.data.points[0][1][7]]")
    place, _ = corners(tab, "curves-plot", (epoch, epoch), (value, value))
    tab.mouse("mouseMoved", *place)
    text = found(tab, "document.getElementById('curves-readout').textContent")
    named = text.split(",")[0]
    assert named.startswith("t00")
    assert f"{GRID[ENCODER][0]}" in text
    key = found(tab, f"D.data.trials.find(trial => trial.trial === '{named}').key")
    assert found(tab, "document.querySelector('#table tr.hot').dataset.row") == key
    assert found(tab, "(await D.Charts.views.get('cost-plot')).view.signal('hot')") == named


def test_two_configurations_are_set_side_by_side(tab: Page, made: tuple[Path, pd.DataFrame]) -> None:
    table = finished(made[1])
    means = table.groupby("key")["score"].mean().sort_values(ascending=False)
    worst = means.index[-1]
    tab.evaluate(
        f"[...document.querySelectorAll('#table tr')].find(row => row.dataset.row === {json.dumps(worst)}).id = 'worst'"
    )
    tab.click("#worst [data-side=B]")
    assert found(tab, "[D.state.first, D.state.second]") == [means.index[0], worst]
    first = found(
        tab,
        "[...document.querySelector('#difference [aria-label=Scores] tbody tr').cells].map(cell => cell.textContent)",
    )
    assert first[1].startswith(f"{means.iloc[0]:.4f}")
    assert first[3] == f"−{means.iloc[0] - means.iloc[-1]:.4f}"
    differing = found(
        tab, "[...document.querySelectorAll('#settings tbody tr')].map(row => row.cells[0].textContent)"
    )
    values = [json.loads(means.index[0]), json.loads(worst)]
    assert differing == [
        path for path, one, other in zip([ENCODER, LOSS, NAME], *values, strict=True) if one != other
    ]
    losses = found(
        tab,
        "[...document.querySelectorAll('#difference tr')].find(r => r.textContent.startsWith('loss')).innerText",
    )
    assert ("another loss" in losses) == (LOSS in differing)
    trials = found(tab, "['A', 'B'].map(side => document.getElementById('trial-' + side).value)")
    shares = found(
        tab,
        "[...document.querySelectorAll('#confusions table')]"
        ".map(table => [...table.querySelectorAll('td')].map(cell => cell.title))",
    )
    for trial, cells in zip(trials, shares, strict=True):
        story = json.loads((made[0].parent / f"trials/{trial}/run.json").read_text())
        assert cells == [f"{count} pixels" for line in story["scores"]["val"]["confusion"] for count in line]
    assert found(tab, "document.querySelectorAll('#pictures img').length") == 4 * 6
    assert (
        found(tab, "document.querySelector('#sides a').getAttribute('href')")
        == f"trials/{trials[0]}/report.html"
    )
    assert tab.complaints == []
