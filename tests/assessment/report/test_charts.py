"""Charts are well-formed, repeat themselves, name what they mark, and take the page's colours."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from geoseg.assessment.report.charts import Chart, Line, curves_png, score_name


def chart(title: str = "Loss", epochs: int = 5, **more: object) -> Chart:
    at = [float(i + 1) for i in range(epochs)]
    lines = (
        Line(name="training", ink="train", at=at, values=[1 / i for i in at]),
        Line(name="validation", ink="val", at=at, values=[None if i == 2 else 2 / i for i in at]),
    )
    return Chart(title=title, lines=lines, **more)  # type: ignore[arg-type]


def words(svg: str) -> list[str]:
    return [text for node in ET.fromstring(svg).iter() if (text := (node.text or "").strip())]


def test_a_chart_is_text_in_the_colours_of_the_page() -> None:
    svg = chart(best=3.0, stop=5.0).svg()
    assert {"best 3", "stopped 5", "epoch", "1", "5"} <= set(words(svg))
    for name in ("--train", "--val", "--best", "--quiet", "--rule"):
        assert f"var({name})" in svg
    assert "#0101" not in svg
    assert "DejaVu" not in svg, "the page says in what it is set"
    assert " id=" not in svg.replace("<clipPath id=", "").replace("<path id=", ""), (
        "ids would repeat in a page"
    )


def test_equal_charts_give_equal_bytes() -> None:
    assert chart(best=2.0).svg() == chart(best=2.0).svg()
    assert chart(best=2.0).svg() != chart(best=3.0).svg()
    assert curves_png([chart()], "a") == curves_png([chart()], "a")


@pytest.mark.parametrize("title", ["IoU of <script>", "a & b", "$x_1^{", 'Wälder "neu"', "100 % $"])
def test_titles_are_text(title: str) -> None:
    svg = chart(title).svg()
    assert ET.fromstring(svg).get("aria-label") == title
    assert "<script" not in svg
    assert curves_png([chart(title)], title).startswith(b"\x89PNG")


@pytest.mark.parametrize("epochs", [1, 2, 500])
def test_short_and_long_trainings(epochs: int) -> None:
    svg = chart(epochs=epochs, best=1.0, stop=float(epochs)).svg()
    assert "best 1" in words(svg)
    assert len(svg) < 60_000


def test_names_of_scores() -> None:
    assert score_name("mean_iou") == "Mean IoU"
    assert score_name("iou/Wald & Wiese") == "IoU of Wald & Wiese"
    assert score_name("per_image/mean_dice") == "Mean Dice, mean of images"
    assert score_name("accuracy") == "Accuracy"
